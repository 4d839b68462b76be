"""Where a model places the pictures, and labels that their neighbours contradict (`project`)."""

from oahega_build.whole.report.section import Section

SECTION = Section("Embeddings and suspicious labels", "embeddings.html", lambda runs: runs.of("project"))

"""Faces cropped from videos and pictures (`collect`)."""

from oahega_build.whole.report.section import Section

SECTION = Section("Collected faces", "collected.html", lambda runs: runs.of("collect"))

"""The pictures: counts and near-copies (`overview`), how faces were cropped (`collect`), maps (`project`)."""

from __future__ import annotations

from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("overview")]


def _part(run: Run) -> Part:
    figures = run.metrics
    return Part(run, figures, [(part, *counts, sum(counts)) for part, counts in figures["counts"].items()])


SECTION = Section("Pictures", "dataset.html", _parts)
COLLECTED = Section("Collected faces", "collected.html", lambda runs: runs.of("collect"))
EMBEDDINGS = Section("Embeddings and suspicious labels", "embeddings.html", lambda runs: runs.of("project"))

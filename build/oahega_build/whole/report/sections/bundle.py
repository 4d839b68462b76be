"""What was put together for the devices (`bundle`)."""

from __future__ import annotations

from oahega_build.whole.report.cells import size
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("bundle")]


def _part(run: Run) -> Part:
    figures = run.metrics
    return Part(run, figures, [(name, size(count)) for name, count in figures["files"].items()])


SECTION = Section("The bundle", "bundle.html", _parts)

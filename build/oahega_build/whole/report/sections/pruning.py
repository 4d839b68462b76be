"""Models with fewer weights or channels: size and time against accuracy (`prune`)."""

from __future__ import annotations

from oahega_build.experiments import prune_plot
from oahega_build.whole.report.cells import size
from oahega_build.whole.report.pictures import all_drawn
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("prune")]


def _part(run: Run) -> Part:
    models = run.metrics["rows"]
    rows = [
        (m["name"], size(m["bytes"]), size(m["packed_bytes"]), m["milliseconds"], m["held_out_accuracy"])
        for m in models
    ]
    return Part(run, models, rows, all_drawn(prune_plot.panels(models)))


SECTION = Section("Size, time, pruning", "pruning.html", _parts)

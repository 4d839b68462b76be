"""What the whole chain decides over time (`evaluate-video`)."""

from __future__ import annotations

from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section

FIGURES = ("frame_accuracy", "event_f1", "flips_per_minute", "onset_s", "false_per_minute")


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("evaluate-video")]


def _part(run: Run) -> Part:
    figures = run.metrics
    rows = [
        (row["name"], *(row["figures"][key] for key in FIGURES), row["clip_flips_per_minute"])
        for row in figures["rows"]
        if row["level"] == "all"
    ]
    return Part(run, figures, rows)


SECTION = Section("Decisions over time", "decisions.html", _parts)

"""What the whole chain decides over time (`evaluate-video`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section

FIGURES = ("frame_accuracy", "event_f1", "flips_per_minute", "onset_s", "false_per_minute")


@dataclass(frozen=True, slots=True)
class Video(Part):
    """One run, with how reliable its published decisions are."""

    reliability: Sequence[Sequence[object]] = ()


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("evaluate-video")]


def _part(run: Run) -> Video:
    figures = run.metrics
    rows = [
        (row["name"], *(row["figures"][key] for key in FIGURES), row["clip_flips_per_minute"])
        for row in figures["rows"]
        if row["level"] == "all"
    ]
    told = [
        (name, of["decisions"], of["accuracy"], of["confidence"], of["calibration_error"])
        for name, of in figures.get("reliability", {}).items()
        if of is not None
    ]
    return Video(run, figures, rows, reliability=told)


SECTION = Section("Decisions over time", "decisions.html", _parts)

"""Several emotion models on the same pictures (`compare-emotion`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from oahega_build.whole.report.cells import interval, size
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section


def _parts(runs: Runs) -> list[Part]:
    return [_part(run) for run in runs.of("compare-emotion")]


def _part(run: Run) -> Part:
    figures = run.metrics
    models = sorted(figures["rows"], key=lambda model: -model["accuracy"]["value"])
    return Part(run, figures, [_row(model) for model in models])


def _row(model: Mapping[str, Any]) -> tuple[object, ...]:
    summary = (model["summary"][key] for key in ("balanced_accuracy", "ece"))
    work = model.get("multiply_adds")
    return (
        model["name"],
        interval(model["accuracy"]),
        *summary,
        size(model["bytes"]),
        model["milliseconds"],
        None if work is None else work / 1e6,
    )


SECTION = Section("Beside other models", "rivals.html", _parts)

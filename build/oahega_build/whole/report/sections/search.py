"""The search over hyper-parameters: Table 1 and figure 5 of the paper (`tune`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean
from typing import Any

from oahega_build.whole.report.cells import interval, short
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section

PLOTS = {
    "figure_5.svg": "Figure 5: held-out precision of every trial",
    "history.svg": "Objective, trial by trial",
    "importance.svg": "Importance of the hyper-parameters",
    "slice.svg": "Objective over each hyper-parameter",
}


@dataclass(frozen=True, slots=True)
class Search:
    """One search."""

    run: Run
    figures: Mapping[str, Any]
    labels: Sequence[str]
    rows: Sequence[Sequence[object]]
    """Of Table 1."""
    best: str
    plots: Sequence[tuple[Path, str]]
    """(file, caption)"""


def _searches(runs: Runs) -> list[Search]:
    return [_search(run) for run in runs.of("tune")]


def _search(run: Run) -> Search:
    figures = run.metrics
    labels = list(figures["table_1"][0]["classes"])
    values = figures["best"]["params"].items()
    return Search(
        run,
        figures,
        labels,
        [_row(trial, labels) for trial in figures["table_1"]],
        ", ".join(f"{name.replace('_', ' ')} {short(value)}" for name, value in values),
        [(run.folder / file, caption) for file, caption in PLOTS.items() if run.has(file)],
    )


def _row(trial: Mapping[str, Any], labels: Sequence[str]) -> tuple[object, ...]:
    precision = [trial["classes"][label]["precision"] for label in labels]
    return f"trial {trial['trial']}", *map(interval, precision), mean(value for value, _, _ in precision)


SECTION = Section("Search", "search.html", _searches)

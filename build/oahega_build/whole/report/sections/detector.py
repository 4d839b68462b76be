"""The detector beside others, its training, or where it was taken from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from oahega_build.whole.report.cells import Noted, size
from oahega_build.whole.report.pictures import drawn, panel, plot_epochs
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section

FIGURES = {
    "AP50": "AP50",
    "precision": "precision",
    "recall": "recall",
    "recall_at_0.1_false_alarms": "recall at 0.1 false alarms",
    "false_alarms_per_picture": "false alarms / picture",
}
"""Key in the files, and heading."""
TRAINED = dict(list(FIGURES.items())[:4])


@dataclass(frozen=True, slots=True)
class Table:
    """Heading and rows."""

    head: Sequence[str]
    rows: Sequence[Sequence[object]]


@dataclass(frozen=True, slots=True)
class Part:
    """What one run says."""

    run: Run
    title: str
    text: str
    tables: Sequence[Table]
    panels: Sequence[Markup] = ()
    curves: Path | None = None


def _parts(runs: Runs) -> list[Part]:
    return [
        *map(_evaluation, runs.of("evaluate-detector")),
        *map(_training, runs.of("train-detector")),
        *map(_taken, runs.of("detector")),
    ]


def _evaluation(run: Run) -> Part:
    figures = run.metrics
    ours = figures["detector"]
    first = next(iter(ours.values()))
    found = [
        (thing, name, of_all[thing])
        for thing in ours
        for name, of_all in {"ours": ours, **figures["rivals"]}.items()
        if thing in of_all
    ]
    sets, heights = list(first["by_set"]), list(first["recall_by_height"])
    tables = [
        Table(
            ("", "detector", *FIGURES.values()),
            [(thing, name, *(own.get(key) for key in FIGURES)) for thing, name, own in found],
        ),
        Table(
            ("recall by height", *heights),
            [(thing, *(_recall(ours[thing]["recall_by_height"][h]) for h in heights)) for thing in ours],
        ),
        Table(
            ("AP50 by set", "detector", *sets),
            [(thing, name, *(own["by_set"][part]["AP50"] for part in sets)) for thing, name, own in found],
        ),
        Table(("ms", *figures["speed_ms"]), [("", *figures["speed_ms"].values())]),
    ]
    curves = run.folder / "curves.png" if run.has("curves.png") else None
    return Part(run, f"{run.name}: ours beside others", "", tables, curves=curves)


def _recall(row: Mapping[str, Any]) -> Noted:
    return Noted(row["recall"], f"of {row['things']}")


def _training(run: Run) -> Part:
    metrics = run.metrics
    kinds = {"float": metrics["held_float"], "int8": metrics["held_int8"]}
    rows = [
        (thing, kind, *(own[thing][key] for key in TRAINED))
        for thing in kinds["int8"]
        for kind, own in kinds.items()
    ]
    text = f"{metrics['steps']} steps, {size(metrics['bytes'])} as int8."
    table = Table(("held-out", "", *TRAINED.values()), rows)
    return Part(run, run.name, text, [table], list(_curves(run)))


def _curves(run: Run) -> Iterator[Markup]:
    history = run.read_lines("history.jsonl")
    for key, value in history[-1].items():
        if isinstance(value, int | float) and key != "epoch":
            figure, axes = panel()
            plot_epochs(axes, history, key)
            axes.set(ylabel=key.replace("_", " "))
            yield drawn(figure)


def _taken(run: Run) -> Part:
    table = Table(("figure", "value"), list(_flat(run.metrics)))
    return Part(run, "", "Taken from a finished bundle; its own figures:", [table])


def _flat(figures: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in figures.items():
        name = f"{prefix}{key.replace('_', ' ')}"
        if isinstance(value, Mapping):
            yield from _flat(value, f"{name}, ")
        elif isinstance(value, int | float | str):
            yield name, value


SECTION = Section("Detector", "detector.html", _parts)

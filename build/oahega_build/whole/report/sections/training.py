"""How emotion models learned: curves of those that were trained, and the ways that `teach` compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup
from matplotlib import colormaps
from matplotlib.colors import to_hex

from oahega_build.whole.report.cells import Keyed, interval, size
from oahega_build.whole.report.pictures import drawn, panel, plot_epochs
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Part, Section

LOG = "log.jsonl"
HELD_OUT = (
    "held_out_accuracy_float",
    "held_out_accuracy",
    "held_out_balanced_accuracy",
    "held_out_ece",
)


@dataclass(frozen=True, slots=True)
class Trainings:
    """All of them together; the table's colours are those of the curves."""

    runs: Sequence[Run]
    rows: Sequence[Sequence[object]]
    panels: Sequence[Markup]


def _trainings(runs: Runs) -> list[Trainings]:
    trained = [run for run in runs.of("train-emotion", "distill") if run.has(LOG)]
    if not trained:
        return []
    palette = [to_hex(colour) for colour in colormaps["tab20"](range(20))]
    coloured = [(run, palette[i % len(palette)]) for i, run in enumerate(trained)]
    rows = [_row(run, colour) for run, colour in coloured]
    return [Trainings(trained, rows, [_curves(coloured, key) for key in ("loss", "accuracy")])]


def _row(run: Run, colour: str) -> tuple[object, ...]:
    metrics = run.metrics
    epochs = len(run.read_lines(LOG))
    return Keyed(run.title, colour), epochs, *(metrics[key] for key in HELD_OUT), size(metrics["bytes"])


def _curves(coloured: Sequence[tuple[Run, str]], key: str) -> Markup:
    figure, axes = panel()
    for run, colour in coloured:
        plot_epochs(axes, run.read_lines(LOG), key, colour)
    axes.set(ylabel=f"held-out {key}")
    return drawn(figure)


SECTION = Section("Training", "training.html", _trainings)


def _taught(runs: Runs) -> list[Part]:
    return [_compared(run) for run in runs.of("teach")]


def _compared(run: Run) -> Part:
    figures = run.metrics
    rows = [(row["way"], interval(row["balanced_accuracy"]), row["seconds"]) for row in figures["rows"]]
    return Part(run, figures, rows)


TAUGHT = Section("Taught", "taught.html", _taught)

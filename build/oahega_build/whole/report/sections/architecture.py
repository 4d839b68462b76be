"""Figure 6: the operators of the bundle's models, as the device runs them (`bundle`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from oahega_build.models.operators import Operator, counts, read_operators
from oahega_build.whole.report.cells import size
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section

COLOURS = {
    "CONV_2D": "#0b6bcb",
    "DEPTHWISE_CONV_2D": "#5aa7ee",
    "FULLY_CONNECTED": "#0b6bcb",
    "ADD": "#d98a00",
    "MEAN": "#8a5bc7",
    "CONCATENATION": "#d98a00",
}
OTHER = "#9aa5b0"


@dataclass(frozen=True, slots=True)
class Row:
    """An operator of the drawing."""

    name: str
    shape: str
    weights: int
    share: float
    """Of the largest operator's weights."""
    colour: str


@dataclass(frozen=True, slots=True)
class Model:
    """One file."""

    run: Run
    name: str
    counts: Sequence[Sequence[object]]
    """Rows of (operator, number, weights)."""
    operators: Sequence[Row]
    multiply_adds: float
    """Of one invocation, millions."""


def _models(runs: Runs) -> list[Model]:
    files = ((run, file) for run in runs.of("bundle") for file in sorted(run.folder.glob("bundle/*.tflite")))
    # A compiled model is one custom operator; only the compiler knows what is inside.
    return [_model(run, file) for run, file in files if not file.stem.endswith("_edgetpu")]


def _model(run: Run, file: Path) -> Model:
    operators = read_operators(file)
    largest = max(1, *(operator.weights for operator in operators))
    rows = [(name.lower(), n, size(weights)) for name, (n, weights) in counts(operators).items()]
    millions = sum(operator.multiply_adds for operator in operators) / 1e6
    return Model(run, file.name, rows, [_row(operator, largest) for operator in operators], millions)


def _row(operator: Operator, largest: int) -> Row:
    shape = "×".join(str(n) for n in operator.shape[1:]) or "1"
    colour = COLOURS.get(operator.name, OTHER)
    return Row(operator.name.lower(), shape, operator.weights, operator.weights / largest, colour)


SECTION = Section("Architecture", "architecture.html", _models)

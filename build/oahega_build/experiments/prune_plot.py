"""Plots of what pruning, quantization and width cost and save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

Row = Mapping[str, Any]
SIDES = (("packed_bytes", 1e-3, "kB after gzip"), ("milliseconds", 1.0, "ms per invocation"))
"""Figure of a row, factor to the unit of the axis, and title of the axis."""


def draw(rows: Sequence[Row], folder: Path) -> None:
    """Plot held-out accuracy over compressed size and over time, as `prune.svg` and `prune.png`."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    for axes, side in zip(figure.subplots(1, 2, sharey=True), SIDES, strict=True):
        _scatter(axes, rows, *side)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"prune.{ending}", dpi=120)


def panels(rows: Sequence[Row]) -> list[Figure]:
    """Plot the same as one figure per side."""
    figures = []
    for side in SIDES:
        figure = Figure(figsize=(4.6, 3.4), layout="constrained")
        _scatter(figure.subplots(), rows, *side)
        figures.append(figure)
    return figures


def _scatter(axes: Axes, rows: Sequence[Row], key: str, scale: float, title: str) -> None:
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        places = [row[key] * scale for row in of_kind]
        axes.plot(places, [row["held_out_accuracy"] for row in of_kind], "o", label=kind)
    for row in rows:
        axes.annotate(
            row["name"],
            (row[key] * scale, row["held_out_accuracy"]),
            fontsize=7,
            xytext=(4, 4),
            textcoords="offset points",
        )
    axes.margins(x=0.2, y=0.15)  # room for the names
    axes.set(xlabel=title, ylabel="held-out accuracy")
    axes.legend(fontsize=8)

"""The picture of what pruning, quantization and width cost and save."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure


def draw(rows: Sequence[Mapping[str, Any]], folder: Path) -> None:
    """Held-out accuracy over packed size, and over time; SVG and PNG."""
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, key, scale, title in (
        (left, "packed_bytes", 1e-3, "kB after gzip"),
        (right, "milliseconds", 1, "ms per invocation"),
    ):
        for kind in dict.fromkeys(row["kind"] for row in rows):
            of_kind = [row for row in rows if row["kind"] == kind]
            axes.plot(
                [row[key] * scale for row in of_kind],
                [row["held_out_accuracy"] for row in of_kind],
                "o",
                label=kind,
            )
        for row in rows:
            axes.annotate(
                row["name"],
                (row[key] * scale, row["held_out_accuracy"]),
                fontsize=7,
                xytext=(4, 4),
                textcoords="offset points",
            )
        axes.set_xlabel(title)
    left.set_ylabel("held-out accuracy")
    right.legend(fontsize=8)
    for ending in ("svg", "png"):
        figure.savefig(folder / f"prune.{ending}", dpi=120)

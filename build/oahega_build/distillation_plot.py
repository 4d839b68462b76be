"""Figures 7 and 8 of the paper: accuracy and loss of a student per epoch, with and without a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

Log = Sequence[Mapping[str, float]]
"""Held-out figures after each epoch."""


def draw(curves: Mapping[str, Sequence[Log]], folder: Path) -> None:
    """`folder/figures_7_8.svg` and `.png`."""
    for ending in ("svg", "png"):
        figures_7_8(curves).savefig(folder / f"figures_7_8.{ending}", dpi=120)


def figures_7_8(curves: Mapping[str, Sequence[Log]]) -> Figure:
    """Held-out accuracy and loss; of several seeds each thin, their mean thick.

    `curves`: name of a group to the logs of its runs.
    """
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots(1, 2)
    for axis, key in zip(axes, ("accuracy", "loss"), strict=True):
        for number, (name, logs) in enumerate(curves.items()):
            lines = [[line[key] for line in log] for log in logs]
            colour = f"C{number}"
            if len(lines) > 1:
                for values in lines:
                    axis.plot(range(1, len(values) + 1), values, color=colour, linewidth=0.7, alpha=0.6)
            common = min(map(len, lines))
            mean = np.mean([values[:common] for values in lines], axis=0)
            label = name if len(lines) == 1 else f"{name}, mean of {len(lines)}"
            axis.plot(range(1, common + 1), mean, color=colour, linewidth=2, label=label)
        axis.set(xlabel="epoch", ylabel=f"held-out {key}")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", fontsize=8, ncols=2)
    return figure

"""Figures 7 and 8 of the paper: accuracy and loss of a student per epoch, with and without a teacher."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Log = Sequence[Mapping[str, float]]
"""The held-out figures after each epoch of a run."""
FIGURES = {"figure_7": "accuracy", "figure_8": "loss"}


def draw(curves: Mapping[str, Sequence[Log]], folder: Path) -> None:
    """Write `figure_7` and `figure_8` to `folder`, each as SVG and PNG."""
    for name, key in FIGURES.items():
        figure = curve(curves, key)
        for ending in ("svg", "png"):
            figure.savefig(folder / f"{name}.{ending}", dpi=120)


def curve(curves: Mapping[str, Sequence[Log]], key: str) -> Figure:
    """Plot the held-out `key` by epoch: a thin line for each seed, a thick one for their mean.

    `curves`: the logs of the runs, by the name of their group.
    """
    figure = Figure(figsize=(4.6, 3.4), layout="constrained")
    axes = figure.subplots()
    for number, (name, logs) in enumerate(curves.items()):
        lines = [[line[key] for line in log] for log in logs]
        colour = f"C{number}"
        if len(lines) > 1:
            for values in lines:
                axes.plot(range(1, len(values) + 1), values, color=colour, linewidth=0.7, alpha=0.6)
        common = min(map(len, lines))
        mean = np.mean([values[:common] for values in lines], axis=0)
        label = name if len(lines) == 1 else f"{name}, mean of {len(lines)}"
        axes.plot(range(1, common + 1), mean, color=colour, linewidth=2, label=label)
    axes.set(xlabel="epoch", ylabel=f"held-out {key}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(fontsize=8)
    return figure

"""Plots of a search: figure 5 of the paper, history, importance, slices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullLocator

Trial = Mapping[str, Any]
_LOGARITHMIC = ("learning_rate", "l2")
ENDINGS = ("svg", "png")


def draw_all(found: Sequence[Trial], figures: Mapping[str, Any], folder: Path) -> None:
    """Write figure_5, history, slice and, if it could be computed, importance, each as SVG and PNG."""
    best = [row["trial"] for row in figures["table_1"]]
    _save(figure_5(found, best), folder / "figure_5")
    _save(history(found, figures["objective"]), folder / "history")
    _save(slices(found, figures["objective"]), folder / "slice")
    if figures["importance"]:
        _save(importances(figures["importance"]), folder / "importance")


def figure_5(found: Sequence[Trial], best: Sequence[int]) -> Figure:
    """Plot the held-out precision of every trial over its epochs, the best ones in colour."""
    figure = Figure(figsize=(5.6, 3.8), layout="constrained")
    axes = figure.subplots()
    for trial in found:
        epochs = [line["epoch"] for line in trial["log"]]
        precision = [line["precision"] for line in trial["log"]]
        named = trial["number"] in best
        style = {"linewidth": 1.8} if named else {"color": "#bbbbbb", "linewidth": 1}
        label = f"trial {trial['number']}" if named else None
        axes.plot(epochs, precision, marker="." if len(epochs) < 15 else None, label=label, **style)
        if trial["state"] == "PRUNED" and epochs:
            axes.plot(epochs[-1:], precision[-1:], "x", color="#888888")
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel("held-out precision, mean of classes")
    axes.legend(fontsize=8, ncols=2)
    return figure


def history(found: Sequence[Trial], objective: str) -> Figure:
    """Plot the objective by trial, and the best so far."""
    figure = Figure(figsize=(5.6, 3.2), layout="constrained")
    axes = figure.subplots()
    complete = [t for t in found if t["value"] is not None]
    numbers, values = [t["number"] for t in complete], [t["value"] for t in complete]
    better = min if objective == "loss" else max
    axes.plot(numbers, values, "o", label="trial")
    axes.step(
        numbers, [better(values[: i + 1]) for i in range(len(values))], where="post", label="best so far"
    )
    for trial in found:
        if trial["value"] is None:
            axes.axvline(trial["number"], color="#cccccc", linestyle=":", linewidth=1)
    axes.set_xlabel("trial (dotted: stopped early)")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylabel(f"held-out {objective}")
    axes.legend(fontsize=8)
    return figure


def slices(found: Sequence[Trial], objective: str) -> Figure:
    """Plot the objective over each hyper-parameter. The colour is the number of the trial."""
    complete = [t for t in found if t["value"] is not None]
    names = sorted(complete[0]["params"])
    columns = 3
    rows = -(-len(names) // columns)
    figure = Figure(figsize=(5.6, 1.9 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for i, axes in enumerate(grid.flat):
        if i >= len(names):
            axes.set_visible(False)
            continue
        _slice(axes, names[i], complete)
        if i % columns == 0:
            axes.set_ylabel(f"held-out {objective}", fontsize=8)
    return figure


def _slice(axes: Axes, name: str, complete: Sequence[Trial]) -> None:
    values = [t["params"][name] for t in complete]
    axes.scatter(
        values,
        [t["value"] for t in complete],
        c=[t["number"] for t in complete],
        cmap="viridis",
        s=22,
    )
    if name in _LOGARITHMIC:
        axes.set_xscale("log")
        # Matplotlib's own ticks overlap on a narrow logarithmic axis.
        axes.set_xticks([min(values), max(values)], [f"{min(values):.1e}", f"{max(values):.1e}"])
        axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelsize=7)
    axes.set_xlabel(name.replace("_", " "), fontsize=8)


def importances(found: Mapping[str, float]) -> Figure:
    """Draw horizontal bars, the most important on top."""
    figure = Figure(figsize=(5.6, 0.35 * len(found) + 0.9), layout="constrained")
    axes = figure.subplots()
    names = sorted(found, key=lambda name: found[name])
    axes.barh([name.replace("_", " ") for name in names], [found[name] for name in names])
    axes.set_xlabel("share of the objective's variance (fANOVA)")
    return figure


def _save(figure: Figure, path: Path) -> None:
    for ending in ENDINGS:
        figure.savefig(path.with_suffix(f".{ending}"), dpi=120)

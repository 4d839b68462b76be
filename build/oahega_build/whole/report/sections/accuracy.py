"""The figures of a model on pictures that chose nothing (`evaluate-emotion`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup
from matplotlib.figure import Figure

from oahega_build.whole.report.cells import interval
from oahega_build.whole.report.pictures import all_drawn, panel
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One model on one set of pictures."""

    run: Run
    model: str
    table_1: Sequence[Sequence[object]]
    panels: Sequence[Markup]
    conditions: Mapping[str, float]
    """Accuracy by face size and under corruptions."""


def _evaluations(runs: Runs) -> list[Evaluation]:
    return [_evaluation(run, runs) for run in runs.of("evaluate-emotion")]


def _evaluation(run: Run, runs: Runs) -> Evaluation:
    figures = run.metrics
    drawings = [_confusion(figures), _risk_coverage(figures)]
    if figures.get("reliability"):
        drawings.append(_reliability(figures))
    sizes = {f"{size} px": value for size, value in figures["accuracy_by_face_size"].items()}
    return Evaluation(
        run,
        _model(runs, figures["model"]),
        [_row(label, of_class) for label, of_class in figures["table_1"].items()],
        all_drawn(drawings),
        sizes | figures["accuracy_under"],
    )


def _row(label: str, figures: Mapping[str, Any]) -> tuple[object, ...]:
    return label, figures["pictures"], *(interval(figures[key]) for key in ("precision", "recall", "f1"))


def _model(runs: Runs, name: str) -> str:
    made_by = (run for run in runs.of("train-emotion", "distill", "quantize") if run.folder.name == name)
    return next((run.title for run in made_by), name)


def _confusion(figures: Mapping[str, Any]) -> Figure:
    labels, counts = figures["labels"], figures["confusion"]
    figure, axes = panel()
    shares = [[value / max(1, sum(row)) for value in row] for row in counts]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for i, row in enumerate(counts):
        for j, value in enumerate(row):
            if value:
                ink = "white" if shares[i][j] > 0.5 else "black"
                axes.text(j, i, str(value), ha="center", va="center", fontsize=8, color=ink)
    axes.set_xticks(range(len(labels)), labels, rotation=40, ha="right", fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set(xlabel="answered", ylabel="true")
    return figure


def _risk_coverage(figures: Mapping[str, Any]) -> Figure:
    points = figures["risk_coverage"]
    figure, axes = panel()
    axes.plot([p["coverage"] for p in points], [p["precision"] for p in points], "o-")
    for point in points:
        axes.annotate(
            f"≥ {point['threshold']:.2f}",
            (point["coverage"], point["precision"]),
            fontsize=7,
            xytext=(0, 6),
            textcoords="offset points",
            ha="center",
        )
    axes.margins(y=0.15)
    axes.set(xlabel="share of pictures answered", ylabel="share of answers that are right")
    low, high = axes.get_ylim()
    axes.set_ylim(low, min(high, 1.02))
    return figure


def _reliability(figures: Mapping[str, Any]) -> Figure:
    bins = figures["reliability"]
    most = max(b["pictures"] for b in bins)
    figure, axes = panel()
    axes.plot((0, 1), (0, 1), color="#c4ccd3", linewidth=1)
    axes.scatter(
        [b["confidence"] for b in bins],
        [b["accuracy"] for b in bins],
        s=[12 + 150 * b["pictures"] / most for b in bins],
    )
    axes.set(
        xlabel="confidence (area: number of pictures)",
        ylabel="share right",
        title=f"calibration error {figures['summary']['ece']:.3f}",
    )
    return figure


SECTION = Section("Accuracy", "accuracy.html", _evaluations)

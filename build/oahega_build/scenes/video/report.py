"""The table and the plot of `evaluate-video`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from oahega_build.scenes.video.comparison import ALL, OURS, PAPER_THRESHOLDS, Match, Row
from oahega_build.scenes.video.decisions import Told, said


def as_table(rows: Sequence[Row], matched: Sequence[Match], truth: float) -> str:
    """For a terminal."""
    head = (
        f"{'noise':<8}{'way':<38}{'frame F1':>9}{'event F1':>9}{'flips/min':>10}{'onset s':>8}"
        f"{'found':>7}{'mixed':>7}{'answered':>9}{'clips':>7}"
    )
    lines = [head, *(_line(row.level, row) for row in rows)]
    lines += [
        "",
        f"people change {truth:.1f} times a minute; `flips/min` counts these, too; `clips`: flips per minute "
        "on clips of real people; `mixed`: faces in frames that bear another person's track",
        "",
        "matched: ours with the fewest flips among those whose frame F1 is not lower and whose onset is not "
        "later (both hold faces; an unanswered face is an error)",
        *(_matched_line(match_) for match_ in matched),
    ]
    return "\n".join(lines)


def as_lines(told: Told) -> str:
    """How reliable published decisions are, for a terminal."""
    lines = ["published decisions: how many are right, beside the confidence that they are published with"]
    return "\n".join([*lines, *(f"{name}: {said(of)}" for name, of in told.items())])


def _line(level: str, row: Row) -> str:
    f = row.figures
    clip = "" if row.clip_flips_per_minute is None else f"{row.clip_flips_per_minute:.1f}"
    return (
        f"{level:<8}{row.name:<38}{f.frame_f1:>9.3f}{f.event_f1:>9.3f}{f.flips_per_minute:>10.1f}"
        f"{f.onset_s:>8.2f}{f.found:>7.2f}{f.mixed_frames:>7}{f.answered:>9.3f}{clip:>7}"
    )


def _matched_line(match_: Match) -> str:
    paper = f"the paper's {match_.paper.name}: {_point(match_.paper)}"
    if match_.ours is None:
        return f"{paper}; none of ours"
    return f"{paper}; ours {match_.ours.name}: {_point(match_.ours)}"


def _point(row: Row) -> str:
    f = row.figures
    return f"F1 {f.frame_f1:.3f}, {f.flips_per_minute:.1f} flips/min, onset {f.onset_s:.2f} s"


def draw(paper: Sequence[Row], mine: Sequence[Row], rows: Sequence[Row], truth: float, path: Path) -> None:
    """Frame F1 over flips per minute and over onset delay: up and to the left is better."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    steady, soon = figure.subplots(1, 2, sharey=True)
    single = next(row for row in rows if row.level == ALL and row.name == "single frame")
    chosen = next(row for row in rows if row.level == ALL and row.name == OURS)
    for axes, value in ((steady, "flips_per_minute"), (soon, "onset_s")):
        for threshold in PAPER_THRESHOLDS:
            points = [row for row in paper if row.name.endswith(f"threshold={threshold}")]
            _curve(axes, points, value, f"the paper's mean, threshold {threshold}", "s--")
        _curve(axes, mine, value, "ours", "o-")
        axes.plot(getattr(single.figures, value), single.figures.frame_f1, "k*", ms=12, label="single frame")
        axes.plot(
            getattr(chosen.figures, value),
            chosen.figures.frame_f1,
            "o",
            ms=14,
            mfc="none",
            mec="k",
            label="default",
        )
        axes.grid(alpha=0.3)
    steady.axvline(truth, color="grey", lw=1, ls=":", label="changes that are real")
    steady.set(xlabel="label flips per minute", ylabel="frame macro F1")
    soon.set(xlabel="median onset delay, s")
    steady.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _curve(axes: Any, rows: Sequence[Row], value: str, label: str, style: str) -> None:
    points = [(getattr(row.figures, value), row.figures.frame_f1, row.name.split()[0]) for row in rows]
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], style, ms=4, label=label)
    for x, y, name in points:
        if np.isfinite(x):
            axes.annotate(
                name.removeprefix("N="), (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points"
            )

"""Anchor shapes from the data: one per rung of a ladder of heights, for each label its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import RecipeError
from oahega_edge.manifest import Anchor, AnchorLevel

CELLS = 3.75
"""An anchor stands on the finest map of which it covers fewer than so many cells (root of its area)."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """Where to look for the anchors of a label."""

    label: str
    heights: tuple[float, ...]
    """Ascending edges of the rungs, pixels of the detector's input."""
    shapes: int = 1
    """Anchors per rung: 2 splits its boxes at their median aspect (standing and sitting persons)."""


def anchors_from_boxes(
    sizes: Mapping[str, NDArray[np.floating]], ladders: Sequence[Ladder], strides: Sequence[int]
) -> tuple[AnchorLevel, ...]:
    """Anchors on their maps, finest first. `sizes`: label -> (n, 2) widths and heights in input pixels.

    A rung takes the median width and height of its boxes; an empty one takes its middle height and the
    label's median aspect. Raises RecipeError when a map is left without anchors.
    """
    anchors = [
        Anchor(label=ladder.label, width=round(float(w), 1), height=round(float(h), 1))
        for ladder in ladders
        for w, h in _rungs(sizes[ladder.label], ladder)
    ]
    by_stride: dict[int, list[Anchor]] = {stride: [] for stride in strides}
    for anchor in anchors:
        by_stride[_stride_of(anchor, strides)].append(anchor)
    empty = [stride for stride, members in by_stride.items() if not members]
    if empty:
        raise RecipeError(f"no anchor falls on the maps of stride {empty}; widen the ladders' heights")
    return tuple(AnchorLevel(stride=stride, anchors=tuple(members)) for stride, members in by_stride.items())


def _rungs(sizes: NDArray[np.floating], ladder: Ladder) -> list[tuple[float, float]]:
    if len(sizes) == 0:
        raise RecipeError(
            f"the data has no boxes of the label {ladder.label}; there is nothing to learn it from"
        )
    aspects = sizes[:, 0] / sizes[:, 1]
    found = []
    for low, high in zip(ladder.heights[:-1], ladder.heights[1:], strict=True):
        inside = (sizes[:, 1] >= low) & (sizes[:, 1] < high)
        for part in _split(sizes[inside], aspects[inside], ladder.shapes):
            if len(part):
                found.append((float(np.median(part[:, 0])), float(np.median(part[:, 1]))))
            else:
                height = float(np.sqrt(low * high))
                found.append((height * float(np.median(aspects)), height))
    return list(dict.fromkeys(found))


def _split(
    sizes: NDArray[np.floating], aspects: NDArray[np.floating], shapes: int
) -> list[NDArray[np.floating]]:
    if shapes == 1 or len(sizes) == 0:
        return [sizes]
    edges = np.quantile(aspects, np.linspace(0, 1, shapes + 1)[1:-1])
    group = np.searchsorted(edges, aspects)
    return [sizes[group == i] for i in range(shapes)]


def _stride_of(anchor: Anchor, strides: Sequence[int]) -> int:
    size = float(np.sqrt(anchor.width * anchor.height))
    return next((stride for stride in strides if size < CELLS * stride), strides[-1])

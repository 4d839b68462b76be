"""Anchor shapes from the data: each label has a ladder of heights, and each rung of it an anchor or more."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import RecipeError
from oahega_edge.manifest import Anchor, AnchorLevel

CELLS = 3.75
"""An anchor is placed on the finest map on which the square root of its area is below this many cells."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """The heights between which a label gets its anchors."""

    label: str
    heights: tuple[float, ...]
    """Ascending bounds of the rungs, in pixels of the detector's input."""
    shapes: int = 1
    """Anchors per rung: 2 splits its boxes at their median aspect (standing and sitting persons)."""
    strides: tuple[int, ...] = ()
    """The stride of the map for the anchors of each rung; empty: the size of the anchor decides."""

    def __post_init__(self) -> None:
        if self.strides and len(self.strides) != len(self.heights) - 1:
            rungs = len(self.heights) - 1
            raise ValueError(f"the ladder of {self.label} has {rungs} rungs, but {len(self.strides)} strides")


def anchors_from_boxes(
    sizes: Mapping[str, NDArray[np.floating]], ladders: Sequence[Ladder], strides: Sequence[int]
) -> tuple[AnchorLevel, ...]:
    """Anchors on their maps, finest first. `sizes`: label -> (n, 2) widths and heights in input pixels.

    An anchor has the median width and height of the boxes of its rung; an empty rung gives its middle height
    and the label's median aspect. Raises RecipeError when a map is left without anchors.
    """
    by_stride: dict[int, list[Anchor]] = {stride: [] for stride in strides}
    for ladder in ladders:
        for rung, width, height in _rungs(sizes[ladder.label], ladder):
            anchor = Anchor(label=ladder.label, width=round(width, 1), height=round(height, 1))
            stride = ladder.strides[rung] if ladder.strides else _stride_of(anchor, strides)
            if stride not in by_stride:
                raise RecipeError(f"the ladder of {ladder.label} names stride {stride}; there are {strides}")
            by_stride[stride].append(anchor)
    empty = [stride for stride, members in by_stride.items() if not members]
    if empty:
        raise RecipeError(f"no anchor falls on the maps of stride {empty}; widen the ladders' heights")
    return tuple(AnchorLevel(stride=stride, anchors=tuple(members)) for stride, members in by_stride.items())


def _rungs(sizes: NDArray[np.floating], ladder: Ladder) -> list[tuple[int, float, float]]:
    """(number of the rung, width, height) of each anchor, without duplicates."""
    if len(sizes) == 0:
        raise RecipeError(
            f"the data has no boxes of the label {ladder.label}; there is nothing to learn it from"
        )
    aspects = sizes[:, 0] / sizes[:, 1]
    found = []
    for rung, (low, high) in enumerate(itertools.pairwise(ladder.heights)):
        inside = (sizes[:, 1] >= low) & (sizes[:, 1] < high)
        for part in _split(sizes[inside], aspects[inside], ladder.shapes):
            if len(part):
                found.append((rung, float(np.median(part[:, 0])), float(np.median(part[:, 1]))))
            else:
                height = float(np.sqrt(low * high))
                found.append((rung, height * float(np.median(aspects)), height))
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

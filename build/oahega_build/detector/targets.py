"""Targets of an example, for every anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from oahega_edge.chain.detection import anchor_boxes, anchor_labels, encode_boxes
from oahega_edge.manifest import InputTensor, SsdDecoder

POSITIVE, NEGATIVE, IGNORED = 1, 0, -1
"""The values of `Targets.kind`."""


@dataclass(frozen=True, slots=True, eq=False)
class Boxes:
    """The boxes of one picture in arrays."""

    edges: NDArray[np.float64]
    """Left, top, right and bottom (n, 4), in the unit of the owner."""
    labels: NDArray[np.intp]
    """Indices (n,) in the list of labels."""
    ignore: NDArray[np.bool_]
    """Whether each box (n,) is an ignore region."""

    @classmethod
    def none(cls) -> Boxes:
        """An empty set of boxes."""
        return cls(np.zeros((0, 4)), np.zeros(0, np.intp), np.zeros(0, bool))

    @classmethod
    def of(cls, edges: ArrayLike, label: int, *, ignore: bool) -> Boxes:
        """The boxes of one label."""
        rows = np.asarray(edges, np.float64).reshape(-1, 4)
        return cls(rows, np.full(len(rows), label, np.intp), np.full(len(rows), ignore))

    @classmethod
    def joined(cls, parts: Sequence[Boxes]) -> Boxes:
        """The boxes of several parts together."""
        if not parts:
            return cls.none()
        return cls(
            np.concatenate([p.edges for p in parts]),
            np.concatenate([p.labels for p in parts]),
            np.concatenate([p.ignore for p in parts]),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The targets of one example."""

    kind: NDArray[np.int8]
    """POSITIVE, NEGATIVE or IGNORED for each anchor (N,)."""
    offsets: NDArray[np.float32]
    """Offsets dy, dx, dh, dw (N, 4); zeros except for positives."""


def areas(edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Areas (n,) of boxes (n, 4) given as left, top, right, bottom."""
    sides = np.maximum(edges[:, 2:] - edges[:, :2], 0)
    return np.asarray(np.prod(sides, axis=1), np.float64)


@dataclass(frozen=True, slots=True)
class Matching:
    """Rules that assign anchors to boxes; the values are intersections over union."""

    positive: float = 0.5
    negative: float = 0.4
    """An anchor below this is background; between the two values it is ignored."""
    best: int = 4
    """Minimum number of anchors that are assigned to each box."""
    best_least: float = 0.25
    """Minimum IoU of these anchors with the box; the best one is always assigned."""
    ignored: float = 0.5
    """An anchor is ignored if at least this share of it is inside an ignore region."""


class Matcher:
    """Computes the targets of all anchors from the boxes of an example."""

    def __init__(
        self, input_: InputTensor, decoder: SsdDecoder, labels: Sequence[str], matching: Matching
    ) -> None:
        self._anchors = anchor_boxes(input_, decoder)
        half = self._anchors[:, 2:] / 2
        edges = np.concatenate([self._anchors[:, :2] - half, self._anchors[:, :2] + half], axis=1)
        self._edges = np.ascontiguousarray(edges.T, np.float32)
        self._inner = np.clip(self._edges, 0, 1)
        names = np.array(anchor_labels(input_, decoder))
        self._members = [np.flatnonzero(names == label) for label in labels]
        self._decoder = decoder
        self._how = matching

    def __call__(self, boxes: Boxes) -> Targets:
        """The targets for `boxes`, whose edges are in units of the input."""
        kind = np.full(len(self._anchors), NEGATIVE, np.int8)
        offsets = np.zeros((len(self._anchors), 4), np.float32)
        for number, members in enumerate(self._members):
            of_label = boxes.labels == number
            regions = boxes.edges[of_label & boxes.ignore]
            if len(regions):
                kind[members[self._inside(members, regions)]] = IGNORED
            things = boxes.edges[of_label & ~boxes.ignore]
            if len(things) and len(members):
                self._match(members, things, kind, offsets)
        return Targets(kind, offsets)

    def _inside(self, members: NDArray[np.intp], regions: NDArray[np.float64]) -> NDArray[np.bool_]:
        anchors = self._inner[:, members]
        least = self._how.ignored * (anchors[2] - anchors[0]) * (anchors[3] - anchors[1])
        inside = np.zeros(len(members), bool)
        for region in regions:
            inside |= _shared(region, anchors) > least
        return inside

    def _overlap(self, members: NDArray[np.intp], things: NDArray[np.float64]) -> NDArray[np.float32]:
        """Intersection over union, row by row, because rows that fit the cache are many times as fast."""
        anchors = self._edges[:, members]
        sizes = (anchors[2] - anchors[0]) * (anchors[3] - anchors[1])
        overlap = np.empty((len(things), len(members)), np.float32)
        for row, thing in zip(overlap, things, strict=True):
            shared = _shared(thing, anchors)
            np.divide(shared, sizes + np.float32(areas(thing[None])[0]) - shared, out=row)
        return overlap

    def _match(
        self,
        members: NDArray[np.intp],
        things: NDArray[np.float64],
        kind: NDArray[np.int8],
        offsets: NDArray[np.float32],
    ) -> None:
        overlap = self._overlap(members, things)
        owner = overlap.argmax(axis=0)
        best = overlap.max(axis=0)
        undecided = (best >= self._how.negative) & (best < self._how.positive)
        kind[members[undecided]] = IGNORED
        positive = best >= self._how.positive
        # Boxes that fit no anchor well still get their best ones. The largest come first, so that a small box
        # keeps its anchors beside a large neighbour.
        for i in np.argsort(-areas(things)):
            count = min(self._how.best, len(members))
            nearest = np.argpartition(-overlap[i], count - 1)[:count]
            order = nearest[np.argsort(-overlap[i, nearest])]
            taken = order[(overlap[i, order] >= self._how.best_least) | (np.arange(len(order)) == 0)]
            own = taken[~positive[taken] | (overlap[i, taken] >= best[taken]) | (taken == order[0])]
            owner[own] = i
            positive[own] = True
        chosen = members[positive]
        kind[chosen] = POSITIVE
        offsets[chosen] = encode_boxes(things[owner[positive]], self._anchors[chosen], self._decoder)


def _shared(box: NDArray[np.float64], anchors: NDArray[np.float32]) -> NDArray[np.float32]:
    """The area that a box shares with each of the anchors (4, n)."""
    left, top, right, bottom = box.astype(np.float32)
    width = np.minimum(anchors[2], right) - np.maximum(anchors[0], left)
    height = np.minimum(anchors[3], bottom) - np.maximum(anchors[1], top)
    return np.asarray(np.maximum(width, 0) * np.maximum(height, 0), np.float32)

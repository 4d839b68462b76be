"""Counts of faces by quantity, bin and time of day, and how far two such counts are shifted to each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oahega_edge.drift.look import BINS, QUANTITIES, Look, binned, values_of

SLOTS = 8
"""Parts of a day. Morning is compared with mornings."""
KNOWN = 20
"""Faces from which a part of the day is known."""

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]
_ROWS = np.arange(len(QUANTITIES))


@dataclass(slots=True)
class Tally:
    """Faces counted; the same face is counted once in every quantity."""

    labels: int
    """How many expressions there are."""
    bins: Counts = field(init=False)
    """(slots, quantities, bins)"""
    shown: Counts = field(init=False)
    """(slots, labels): faces by their likeliest expression."""

    def __post_init__(self) -> None:
        self.bins = np.zeros((SLOTS, len(QUANTITIES), BINS), np.int64)
        self.shown = np.zeros((SLOTS, self.labels), np.int64)

    @property
    def faces(self) -> int:
        """All of them."""
        return int(self.shown.sum())

    def add(self, looks: Sequence[Look], hour: int) -> None:
        """Count faces seen at this hour of the day."""
        if looks:
            scores, measured = values_of(looks)
            slots = np.full(len(looks), hour * SLOTS // 24)
            self.count(slots, binned(scores, measured), scores.argmax(axis=1))

    def count(self, slots: Counts, places: Counts, shown: Counts) -> None:
        """Count faces by slot (faces,), bins (faces, quantities) and label (faces,)."""
        np.add.at(self.bins, (slots[:, None], _ROWS, places), 1)
        np.add.at(self.shown, (slots, shown), 1)

    def include(self, other: Tally, slots: NDArray[np.bool_] | None = None) -> None:
        """Add another tally, of all parts of the day or of some."""
        chosen = slice(None) if slots is None else slots
        self.bins[chosen] += other.bins[chosen]
        self.shown[chosen] += other.shown[chosen]

    def middles(self) -> tuple[int, ...]:
        """Median bin of each quantity."""
        below = np.cumsum(self.bins.sum(axis=0), axis=1)
        return tuple(int(place) for place in (below < self.faces / 2).sum(axis=1))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Which parts of the day it knows (slots,)."""
        return np.asarray(self.shown.sum(axis=1) >= KNOWN)


@dataclass(frozen=True, slots=True)
class Shift:
    """From one tally to another, for each quantity and then for each label."""

    delta: Floats
    """Cliff's delta (rows,): chance that a face of the second has the greater value, less the opposite."""
    variance: Floats
    """Of `delta` over all ways to deal the same faces out to the two tallies (rows,)."""
    faces: int
    """Of the second tally, in parts of the day that the first one knows."""


def shift(base: Tally, block: Tally) -> Shift:
    """How far `block` lies from `base`, like compared with like: each part of the day with itself.

    Cliff's delta is the statistic of Mann and Whitney (1947), 2U/nm - 1. Its variance under permutation is
    known in closed form, ties included, so nothing is drawn.
    """
    used = base.known & (block.shown.sum(axis=1) > 0)
    first, second = _rows(base)[used], _rows(block)[used]
    n, m = first[:, 0].sum(axis=-1), second[:, 0].sum(axis=-1)
    if not used.any():
        rows = _rows(base).shape[1]
        return Shift(np.zeros(rows), np.full(rows, np.inf), 0)
    below = np.cumsum(first, axis=-1) - first / 2
    delta = 2 * (second * below).sum(axis=-1) / (n * m)[:, None] - 1
    both, together = first + second, (n + m)[:, None]
    ties = (both**3 - both).sum(axis=-1) / (together**3 - together)
    variance = (together + 1) * (1 - ties) / (3 * (n * m)[:, None])
    weight = (m / m.sum())[:, None]
    return Shift((weight * delta).sum(axis=0), (weight**2 * variance).sum(axis=0), int(m.sum()))


def _rows(tally: Tally) -> Floats:
    """(slots, quantities + labels, bins): a label is a quantity of two values, shown or not."""
    faces = tally.shown.sum(axis=1, keepdims=True)
    labels = np.zeros((SLOTS, tally.labels, BINS))
    labels[..., 0], labels[..., 1] = faces - tally.shown, tally.shown
    return np.concatenate([tally.bins.astype(np.float64), labels], axis=1)

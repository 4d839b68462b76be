"""Days of faces against the first days with a bundle: learned first, then judged once a day. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache

import numpy as np

from oahega_edge.drift.look import QUANTITIES, Look
from oahega_edge.drift.tally import Floats, Shift, Tally, shift

LEARNED_FACES, LEARNED_BLOCKS = 1000, 7
"""A week at least, because weekends differ."""
LEAST_FACES = 100
"""Of a block: a day, or as many days as it takes."""
QUIET_BLOCKS, LATE_BLOCKS = 60, 7
"""So many quiet blocks say how much days differ; each counts only a week later, so that a slow fault does not
teach that it is usual."""
USUAL_SPREAD, USUAL_BLOCKS = 0.07, 6
"""Standard deviation of Cliff's delta between days that is assumed before any is seen, and how many blocks
that assumption weighs (docs/decisions/0050-drift.md)."""
FALSE_ALARMS = 1 / 1000
"""Chance of a false alarm in one block, over all quantities, if days differ as those before."""
CALM = 0.5
"""Share of the limit below which an alarm ends."""


@dataclass(frozen=True, slots=True)
class Drifted:
    """One quantity in the last block that was judged."""

    delta: float
    """Cliff's delta, -1 to 1: above 0, its values are greater than in the first days."""
    limit: float
    """Of its size."""
    since: date | None
    """First day of the block that began the alarm; None: no alarm."""


@dataclass(slots=True)
class Drift:
    """What is kept of a device's faces, and what it says."""

    labels: int
    base: Tally = field(init=False)
    """The first days."""
    block: Tally = field(init=False)
    """The present day."""
    blocks: int = 0
    """In `base`."""
    began: date | None = None
    """First day of `block`; None while it holds no face."""
    day: date | None = None
    """Last day of `block`."""
    quiet: list[Floats] = field(default_factory=list)
    """Differences of quiet blocks to the base, as if the base were known exactly; newest last."""
    late: list[Floats] = field(default_factory=list)
    """The same, of the last blocks, which do not count yet."""
    alarms: dict[int, date] = field(default_factory=dict)
    """Since when, by row: quantities, then labels."""
    last: tuple[Floats, Floats] | None = None
    """Delta and limit of each row, of the last block that was judged."""
    middles: tuple[int, ...] = ()
    """Median bin of each quantity in that block."""

    def __post_init__(self) -> None:
        self.base, self.block = Tally(self.labels), Tally(self.labels)

    @property
    def is_learning(self) -> bool:
        """The first days are not over."""
        return self.base.faces < LEARNED_FACES or self.blocks < LEARNED_BLOCKS

    def saw(self, looks: Sequence[Look], now: datetime) -> None:
        """Count faces that ended; `now` in the device's own time zone."""
        self.due(now)
        if looks:
            self.block.add(looks, now.hour)
            self.began, self.day = self.began or now.date(), now.date()

    def due(self, now: datetime) -> None:
        """End the block when its last day is over and it has enough faces."""
        if self.day not in (None, now.date()) and self.block.faces >= LEAST_FACES:
            self.close()

    def close(self) -> None:
        """Learn from the block, or judge it, and begin another one."""
        assert self.began is not None
        found = shift(self.base, self.block)
        if self.is_learning:
            if found.faces:
                self.quiet.append(self._settled(found))
            self.base.include(self.block)
            self.blocks += 1
        else:
            if found.faces >= LEAST_FACES / 2:
                self._judge(found, self.began)
            self.base.include(self.block, ~self.base.known)
        self.block, self.began, self.day = Tally(self.labels), None, None

    def quantities(self) -> dict[str, Drifted]:
        """What the last judged block says; of the labels, the nearest to its limit, alarms first."""
        if self.last is None:
            return {}
        delta, limit = self.last
        count = len(QUANTITIES)
        alarmed = [row for row in self.alarms if row >= count]
        worst = max(alarmed or range(count, len(delta)), key=lambda row: abs(delta[row]) / limit[row])
        rows = {**dict(zip(QUANTITIES, range(count), strict=True)), "labels": worst}
        return {
            name: Drifted(float(delta[row]), float(limit[row]), self.alarms.get(row))
            for name, row in rows.items()
        }

    def _judge(self, found: Shift, began: date) -> None:
        limit = self._limit(found)
        size = np.abs(found.delta)
        self.last, self.middles = (found.delta, limit), self.block.middles()
        self.alarms = {row: since for row, since in self.alarms.items() if size[row] >= CALM * limit[row]}
        beyond = {int(row): began for row in np.flatnonzero(size > limit)}
        self.alarms = {**beyond, **self.alarms}
        if self.alarms:
            self.late.clear()
            return
        self.late.append(self._settled(found))
        if len(self.late) > LATE_BLOCKS:
            self.quiet = [*self.quiet, self.late.pop(0)][-QUIET_BLOCKS:]

    def _settled(self, found: Shift) -> Floats:
        """The difference without the part that is due to the base being of a few days only."""
        return np.asarray(found.delta / np.sqrt(1 + 1 / max(1, self.blocks)))

    def _limit(self, found: Shift) -> Floats:
        """Of |delta|, from how much quiet days differ and from what chance does with so many faces."""
        squares = np.square(self.quiet).sum(axis=0) if self.quiet else 0.0
        weight = USUAL_BLOCKS + len(self.quiet)
        between = (USUAL_BLOCKS * USUAL_SPREAD**2 + squares) / weight
        scale = np.sqrt((1 + 1 / self.blocks) * np.maximum(between, found.variance))
        chance = FALSE_ALARMS / (len(QUANTITIES) + 1)
        factor = np.full(len(scale), t_quantile(chance, weight))
        factor[len(QUANTITIES) :] = t_quantile(chance / self.labels, weight)
        return np.asarray(factor * scale)


@cache
def t_quantile(chance: float, freedom: int) -> float:
    """The size that Student's t exceeds, in either direction, with this chance.

    With t = sqrt(freedom) tan(angle) its density is a power of the cosine (Abramowitz and Stegun 26.7.3).
    """
    angles = np.linspace(np.pi / 2, 0, 20001)
    density = np.cos(angles) ** (freedom - 1)
    tail = np.cumsum(density) - density / 2
    angle = angles[np.searchsorted(tail / tail[-1], chance)]
    return float(np.sqrt(freedom) * np.tan(angle))

"""Days of faces against the first days with a bundle: learned first, then judged once a day. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import cache
from statistics import NormalDist

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
USUAL_BLOCKS = 6
"""So many blocks the assumed spread weighs."""
ALIKE = 0.3
"""Correlation of a day with the day before that is assumed before any is seen."""
FALSE_ALARMS = 1 / 1000
"""Chance of a false alarm in one block, over all quantities, if days differ as those before."""
CALM = 0.5
"""Share of the limit below which an alarm ends."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How a block is judged (docs/decisions/0060-drift-by-a-window.md says what these were chosen on)."""

    spread: float = 0.06
    """Standard deviation of Cliff's delta between days that is assumed before any is seen."""
    light_spread: float = 0.10
    """The same of brightness, which differs most from day to day."""
    follow: float = 0.6
    """Share of the last quiet day's difference that is expected again; 0: only the first days count."""
    is_stretched: bool = True
    """Whether differences are judged as `stretched`."""


RULE = Rule()


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
    rule: Rule = RULE
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
    calm: Floats | None = None
    """The same, of the last block without an alarm; None before the first."""
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
                self.calm = self._settled(found)
                self.quiet.append(self.calm)
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
        value = self._value(found)
        limit = np.where(value > 0, *self._limits(found))
        size = np.abs(value)
        self.last, self.middles = (self._delta(value), self._delta(limit)), self.block.middles()
        self.alarms = {row: since for row, since in self.alarms.items() if size[row] >= CALM * limit[row]}
        beyond = {int(row): began for row in np.flatnonzero(size > limit)}
        self.alarms = {**beyond, **self.alarms}
        if self.alarms:
            self.late.clear()
            return
        self.calm = self._settled(found)
        self.late.append(self.calm)
        if len(self.late) > LATE_BLOCKS:
            self.quiet = [*self.quiet, self.late.pop(0)][-QUIET_BLOCKS:]

    def _settled(self, found: Shift) -> Floats:
        """The difference without the part that is due to the base being of a few days only."""
        return np.asarray(self._value(found) / np.sqrt(1 + 1 / max(1, self.blocks)))

    def _value(self, found: Shift) -> Floats:
        return stretched(found.delta, found.faces) if self.rule.is_stretched else found.delta

    def _delta(self, value: Floats) -> Floats:
        return relaxed(value) if self.rule.is_stretched else value

    def _limits(self, found: Shift) -> tuple[Floats, Floats]:
        """Above and below 0: of the difference to the first days, and of that to what the last quiet day lets
        expect, whichever is nearer.
        """
        unit = STRETCH if self.rule.is_stretched else 1.0
        variance, usual = found.variance * unit**2, self._usual() * unit
        follow = self.rule.follow
        chance = FALSE_ALARMS / 2 if follow else FALSE_ALARMS
        far = self._limit(self.quiet, usual**2, variance, chance) * np.sqrt(1 + 1 / self.blocks)
        if not follow or self.calm is None:
            return far, far
        known = np.array([*self.quiet, *self.late])
        steps = known[1:] - follow * known[:-1]
        usual_step = (1 + follow**2 - 2 * follow * ALIKE) * usual**2
        step = self._limit(steps, usual_step, (1 + follow**2) * variance, chance)
        expected = follow * self.calm
        nearest = CALM * far
        return np.clip(step + expected, nearest, far), np.clip(step - expected, nearest, far)

    def _usual(self) -> Floats:
        usual = np.full(len(QUANTITIES) + self.labels, self.rule.spread)
        usual[QUANTITIES.index("brightness")] = self.rule.light_spread
        return usual

    def _limit(
        self, known: Sequence[Floats] | Floats, usual: Floats, variance: Floats, chance: float
    ) -> Floats:
        """Of what quiet blocks do by themselves: `usual` is its assumed variance, `variance` that of chance
        with so many faces.
        """
        squares = np.square(known).sum(axis=0) if len(known) else 0.0
        weight = USUAL_BLOCKS + len(known)
        scale = np.sqrt(np.maximum((USUAL_BLOCKS * usual + squares) / weight, variance))
        each = chance / (len(QUANTITIES) + 1)
        factor = np.full(len(scale), t_quantile(each, weight))
        factor[len(QUANTITIES) :] = t_quantile(each / self.labels, weight)
        return np.asarray(factor * scale)


_NORMAL = NormalDist()
STRETCH = float(np.sqrt(np.pi))
"""Slope of `stretched` at 0."""


def stretched(delta: Floats, faces: int) -> Floats:
    """Cliff's delta as a distance of two normal distributions of one width, in standard deviations.

    Delta ends at 1: where days differ by as much as half of their faces, no limit below 1 would be left.
    """
    end = 1 - 1 / max(2, faces)
    inside = np.clip(delta, -end, end)
    return np.array([2**0.5 * _NORMAL.inv_cdf((1 + float(each)) / 2) for each in inside])


def relaxed(value: Floats) -> Floats:
    """Cliff's delta again."""
    return np.array([2 * _NORMAL.cdf(float(each) / 2**0.5) - 1 for each in value])


@cache
def t_quantile(chance: float, freedom: int) -> float:
    """The size that Student's t exceeds, in either direction, with this chance.

    With t = sqrt(freedom) tan(angle) its density is a power of the cosine (Abramowitz and Stegun 26.7.3).
    """
    angles = np.linspace(np.pi / 2, 0, 501)
    density = np.cos(angles) ** (freedom - 1)
    tail = np.cumsum(density) - density / 2
    angle = np.interp(chance, tail / tail[-1], angles)
    return float(np.sqrt(freedom) * np.tan(angle))

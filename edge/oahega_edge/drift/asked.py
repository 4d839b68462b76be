"""Expressions that people showed on request: how many were read right, and whether it becomes worse.

The only check that has labels. A round is the newest days that together have a dozen faces. It is compared
with all faces before it, expression by expression, by the exact conditional test of Mantel and Haenszel:
chance that so few or fewer of the round would be right if it were drawn from all faces together.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from math import comb, sqrt
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_edge.errors import plain
from oahega_edge.files import read_file, replace_file

_log = logging.getLogger(__name__)

FILE = "asked.json"
LARGEST = 1 << 20
"""Bytes."""
ROUND, MONTH = 12, timedelta(30)
"""A dozen faces a month; a round is no longer than a month either."""
FALSE_ALARMS = 0.01
"""Chance of a false alarm in one round, at most; the test is exact."""
MOST_DAYS = 400
Z = 1.96
"""For intervals of 95 %."""

Counts = Mapping[str, tuple[int, int]]
"""Faces by the expression that was asked for: how many, and how many of these were read right."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rounds say."""

    faces: int
    """Of the newest round."""
    right: int
    since: date | None
    """First day of that round; None before the first face."""
    last: date | None
    due: int
    """Faces that are still to be asked for in this month."""
    before: int
    """Faces of the rounds before."""
    before_right: int
    chance: float | None
    """Of so few right ones if nothing has changed; None while there are too few faces to say."""

    @property
    def is_worse(self) -> bool:
        """Whether fewer are right than chance explains."""
        return self.chance is not None and self.chance < FALSE_ALARMS

    @property
    def interval(self) -> tuple[float, float] | None:
        """Of the share of right ones in the newest round, 95 % (Wilson 1927)."""
        if not self.faces:
            return None
        share, n = self.right / self.faces, self.faces
        middle = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
        half = Z * sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
        return max(0.0, middle - half), min(1.0, middle + half)


def judged(days: Mapping[date, Counts], today: date) -> Asked:
    """What these days of faces say today. Days in the future are of a clock that was wrong: they count among
    the earlier ones, so that no later round waits for them to pass.
    """
    past = [day for day in days if day <= today]
    newest = max(past, default=today)
    chosen: list[date] = []
    for day in sorted(past, reverse=True):
        if newest - day >= MONTH or sum(_total(days[one]) for one in chosen) >= ROUND:
            break
        chosen.append(day)
    now = _sum(days[day] for day in chosen)
    before = _sum(counts for day, counts in days.items() if day not in chosen)
    recent = sum(_total(days[day]) for day in past if today - day < MONTH)
    enough = min(_total(now), _total(before)) >= ROUND
    return Asked(
        faces=_total(now),
        right=_right(now),
        since=min(chosen, default=None),
        last=max(chosen, default=None),
        due=max(0, ROUND - recent),
        before=_total(before),
        before_right=_right(before),
        chance=chance_of(now, before) if enough else None,
    )


def chance_of(now: Counts, before: Counts) -> float:
    """Chance that no more of `now` are right, if the right ones fall on both by chance, label by label."""
    share: NDArray[np.floating] = np.ones(1)
    for label, (faces, right) in now.items():
        others, others_right = before.get(label, (0, 0))
        share = np.convolve(share, _drawn(faces, others, right + others_right))
    return float(min(1.0, share[: _right(now) + 1].sum()))


def _drawn(faces: int, others: int, right: int) -> NDArray[np.float64]:
    """Chance of 0, 1, ... right ones among `faces`, when `right` of all are (hypergeometric)."""
    ways = [
        comb(faces, k) * comb(others, right - k) if 0 <= right - k <= others else 0 for k in range(faces + 1)
    ]
    return np.array([way / comb(faces + others, right) for way in ways])


class AskedRecord:
    """The rounds of one site, whatever bundle was in use. Any thread may call."""

    def __init__(self, folder: Path | None, today: Callable[[], date]) -> None:
        """`folder`: the state folder; None: in memory. `today` in the device's time zone."""
        self._file = None if folder is None else folder / FILE
        self._today = today
        self._lock = threading.Lock()
        self._days = self._read()
        self._found: tuple[date, Mapping[date, Counts], Asked] | None = None

    def add(self, label: str, *, right: bool) -> None:
        """Count one face."""
        with self._lock:
            today = self._today()
            asked, read = self._days.get(today, {}).get(label, (0, 0))
            counts = {**self._days.get(today, {}), label: (asked + 1, read + right)}
            days = {**self._days, today: counts}
            self._days = {day: days[day] for day in sorted(days)[-MOST_DAYS:]}
            self._write()

    def forget(self) -> None:
        """Begin anew, with another place or after a change that is meant to be."""
        with self._lock:
            self._days = {}
            self._write()

    def judged(self, today: date) -> Asked:
        """What is said today; it is worked out once a day and after each face."""
        days, found = self._days, self._found
        if found is None or found[0] != today or found[1] is not days:
            found = self._found = today, days, judged(days, today)
        return found[2]

    def _read(self) -> dict[date, Counts]:
        if self._file is None:
            return {}
        try:
            return _days_of(read_file(self._file, LARGEST))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be used (%s); rounds begin anew", self._file, plain(error))
            return {}

    def _write(self) -> None:
        if self._file is None:
            return
        kept = {day.isoformat(): counts for day, counts in self._days.items()}
        try:
            replace_file(self._file, json.dumps(kept) + "\n")
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s); this round is lost at a restart", self._file, error.strerror
            )


def _days_of(text: bytes) -> dict[date, Counts]:
    """ValueError for what `_write` has not written."""
    try:
        return {
            date.fromisoformat(day): {str(label): _pair(pair) for label, pair in counts.items()}
            for day, counts in json.loads(text).items()
        }
    except (TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"it is damaged: {error!r}") from error


def _pair(pair: list[int]) -> tuple[int, int]:
    asked, right = pair
    if type(asked) is not int or type(right) is not int or not 0 <= right <= asked <= LARGEST:
        raise ValueError(f"it is damaged: {pair!r} are no counts")
    return asked, right


def _sum(days: Iterable[Counts]) -> Counts:
    together: dict[str, tuple[int, int]] = {}
    for counts in days:
        for label, (asked, right) in counts.items():
            before = together.get(label, (0, 0))
            together[label] = before[0] + asked, before[1] + right
    return together


def _total(counts: Counts) -> int:
    return sum(asked for asked, _ in counts.values())


def _right(counts: Counts) -> int:
    return sum(right for _, right in counts.values())

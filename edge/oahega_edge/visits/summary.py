"""Many visits together: what happened in front of the camera in an interval, and never a single person's."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from oahega_edge.visits.visit import Visit

LENGTHS = (2, 5, 10, 30, 60, 300)
"""Seconds at which one class of visit lengths ends and the next begins."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The visits that ended in an interval."""

    start: datetime
    end: datetime
    visits: int
    lengths: tuple[int, ...]
    """Visits by length: shorter than the first of LENGTHS, ..., at least the last; one more than LENGTHS."""
    shares: Mapping[str, float]
    """Share of the time in which faces were read, by label; they sum to 1, or there are none."""
    dominant: Mapping[str, int]
    """Visits by the label that held longest; those that were never read are in none."""
    people: int
    """Most people at once."""


class SummaryTally:
    """Adds up visits until there are enough of them."""

    _people: int

    def __init__(self, interval: float, least: int, now: datetime, at: float) -> None:
        """`interval`: seconds; `least`: visits below which a summary waits for the next interval, so that it
        never describes a single person; `now` in UTC and `at` in monotonic seconds: the present moment.
        """
        self._interval = interval
        self._least = least
        self._begin(now, at)

    def add(self, visits: Iterable[Visit], people: int) -> None:
        """What one frame brought."""
        self._people = max(self._people, people)
        for visit in visits:
            self._lengths[bisect_right(LENGTHS, visit.seen)] += 1
            for label, share in visit.shares.items():
                self._held[label] += share * visit.read
            if visit.dominant is not None:
                self._dominant[visit.dominant] += 1

    def due(self, now: datetime, at: float) -> Summary | None:
        """The summary of the interval that has ended, if one has and holds enough visits."""
        visits = sum(self._lengths)
        if at - self._at < self._interval or visits < self._least:
            return None
        read = sum(self._held.values())
        shares = {label: held / read for label, held in sorted(self._held.items())} if read else {}
        dominant = dict(sorted(self._dominant.items()))
        made = Summary(self._start, now, visits, tuple(self._lengths), shares, dominant, self._people)
        self._begin(now, at)
        return made

    def _begin(self, now: datetime, at: float) -> None:
        self._start, self._at = now, at
        self._lengths = [0] * (len(LENGTHS) + 1)
        self._held: defaultdict[str, float] = defaultdict(float)
        self._dominant: Counter[str] = Counter()
        self._people = 0

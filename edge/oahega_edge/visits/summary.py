"""Many visits together: what happened in front of the camera in an interval, and never a single person's."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime

from oahega_edge.visits.visit import Visit

LENGTHS = (2, 5, 10, 30, 60, 300)
"""Seconds at which one class of visit lengths ends and the next begins."""


@dataclass(frozen=True, slots=True)
class Tally:
    """How many visits, and how many of them by the label that held longest."""

    visits: int = 0
    dominant: Mapping[str, int] = field(default_factory=dict)
    """Visits by label; those that were never read are in none."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The visits that ended in an interval."""

    start: datetime
    end: datetime
    all: Tally
    lengths: tuple[int, ...]
    """Visits by length: shorter than the first of LENGTHS, ..., at least the last; one more than LENGTHS."""
    seen: float
    """Seconds of all visits together."""
    read: float
    """Seconds of these in which a label held."""
    shares: Mapping[str, float]
    """Share of `read` by label; they sum to 1, or there are none."""
    people: int
    """Most people at once."""
    shown: Mapping[str, Tally]
    """By what the screen showed as a visit ended; empty where too few visits would stand beside a content."""
    today: Tally
    """All summaries of this calendar day so far, this one included."""


class SummaryTally:
    """Adds up visits until there are enough of them."""

    def __init__(self, interval: float, least: int, now: datetime, at: float) -> None:
        """`interval`: seconds; `least`: visits below which a summary waits for the next interval, so that it
        never describes a single person; `now`, in the time zone whose days count, and `at` in monotonic
        seconds: the present moment.
        """
        self._interval = interval
        self._least = least
        self._day: date = now.date()
        self._today: _Count = _Count()
        self._people = 0
        self._begin(now, at)

    def add(self, visits: Iterable[Visit], people: int, showing: str | None = None) -> None:
        """What one frame brought, while the screen showed this."""
        self._people = max(self._people, people)
        for visit in visits:
            self._all.add(visit)
            if showing is not None:
                self._shown[showing].add(visit)
            self._lengths[bisect_right(LENGTHS, visit.seen)] += 1
            self._seen += visit.seen
            for label, share in visit.shares.items():
                self._held[label] += share * visit.read

    def due(self, now: datetime, at: float) -> Summary | None:
        """The summary of the interval that has ended, if one has and holds enough visits."""
        if at - self._at < self._interval or self._all.visits < self._least:
            return None
        return self._close(now, at)

    def last(self, now: datetime, at: float) -> Summary | None:
        """The summary of the interval that is cut short, if it holds any visit and enough of them."""
        return self._close(now, at) if self._all.visits >= max(1, self._least) else None

    def _close(self, now: datetime, at: float) -> Summary:
        if now.date() != self._day:
            self._day, self._today = now.date(), _Count()
        self._today.join(self._all)
        read = sum(self._held.values())
        made = Summary(
            start=self._start,
            end=now.astimezone(UTC),
            all=self._all.tally(),
            lengths=tuple(self._lengths),
            seen=self._seen,
            read=read,
            shares={label: held / read for label, held in sorted(self._held.items())} if read else {},
            people=self._people,
            shown=self._disclosed(),
            today=self._today.tally(),
        )
        self._begin(now, at)
        return made

    def _disclosed(self) -> dict[str, Tally]:
        """All or nothing: what is left out could be found as the difference from the sum."""
        beside = self._all.visits - sum(count.visits for count in self._shown.values())
        groups = [count.visits for count in self._shown.values()] + [beside] * (beside > 0)
        if any(visits < self._least for visits in groups):
            return {}
        return {content: count.tally() for content, count in sorted(self._shown.items())}

    def _begin(self, now: datetime, at: float) -> None:
        self._start, self._at = now.astimezone(UTC), at
        self._all = _Count()
        self._shown: defaultdict[str, _Count] = defaultdict(_Count)
        self._lengths = [0] * (len(LENGTHS) + 1)
        self._seen = 0.0
        self._held: defaultdict[str, float] = defaultdict(float)
        self._people = 0


class _Count:
    """A tally that grows."""

    def __init__(self) -> None:
        self.visits = 0
        self._dominant: Counter[str] = Counter()

    def add(self, visit: Visit) -> None:
        self.visits += 1
        if visit.dominant is not None:
            self._dominant[visit.dominant] += 1

    def join(self, other: _Count) -> None:
        self.visits += other.visits
        self._dominant.update(other._dominant)

    def tally(self) -> Tally:
        return Tally(self.visits, dict(sorted(self._dominant.items())))

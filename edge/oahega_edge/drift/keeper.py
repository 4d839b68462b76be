"""The watch on drift of a running device: its record on the disk, and what it says now."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import groupby
from math import floor
from pathlib import Path
from typing import Protocol

from oahega_edge.drift.asked import Asked, AskedRecord
from oahega_edge.drift.drift import Drift, Drifted
from oahega_edge.drift.folder import RecordFolder
from oahega_edge.drift.look import QUANTITIES, Look
from oahega_edge.drift.record import days_to_text, from_text, with_today
from oahega_edge.drift.tally import Tally, shift
from oahega_edge.drift.words import asked_problem, problem
from oahega_edge.errors import plain

_log = logging.getLogger(__name__)

FOLDER = "drift"
FACES_A_WRITE = 10
"""The file changes by so many faces at once at least: two copies of it do not show what one face was like."""
FACES_AT_FIRST, FACES_AT_ONCE = 50, 150
"""So many are counted together and written: one by one, between frames, each takes many times as long. A
device that somebody unplugs every evening keeps what it saw, if it saw as many as are written first."""
HOUR_S = 3600.0
WRITE_S = 10.0
"""Seconds for which a stop waits for the disk."""

Reference = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Report:
    """What is said of drift."""

    is_learning: bool
    learned: int
    """Faces of the first days."""
    quantities: Mapping[str, Drifted]
    asked: Asked
    problem: str | None

    @property
    def since(self) -> date | None:
        """When the oldest drift began."""
        begun = [one.since for one in self.quantities.values()]
        begun += [self.asked.since if self.asked.is_worse else None]
        return min(filter(None, begun), default=None)


class Watch(Protocol):
    """Learns what faces look like and says when that changes."""

    def use(self, key: str, labels: int, reference: Reference | None) -> None:
        """From now on, faces are seen with this."""
        ...

    def saw(self, looks: Sequence[Look]) -> None:
        """Count faces that ended."""
        ...

    def asked(self, label: str, *, right: bool) -> None:
        """Count a face that showed an expression on request, and whether it was read right."""
        ...

    def keep(self) -> None:
        """The device stops: keep what was counted."""
        ...

    def reset(self) -> None:
        """Learn anew."""
        ...

    def report(self) -> Report | None:
        """What is said now; None where nothing is watched. Ask often: it judges a day that is over."""
        ...

    def distances(self, faces: Tally) -> Mapping[str, float]:
        """Of each quantity of these faces to the first days; empty where those are not known."""
        ...


class NoWatch:
    """Used where the settings switch it off."""

    def use(self, key: str, labels: int, reference: Reference | None) -> None:
        """Ignored."""

    def saw(self, looks: Sequence[Look]) -> None:
        """Ignored."""

    def asked(self, label: str, *, right: bool) -> None:
        """Ignored."""

    def keep(self) -> None:
        """There is nothing to keep."""

    def reset(self) -> None:
        """There is nothing to forget."""

    def report(self) -> None:
        """Nothing is watched."""

    def distances(self, faces: Tally) -> Mapping[str, float]:
        """Nothing is known."""
        return {}


class DriftWatch:
    """Counts the faces of one device. Any thread may call."""

    def __init__(self, folder: Path | None, wall: Callable[[], datetime], clock: Callable[[], float]) -> None:
        """`folder`: where the state is kept; None: in memory. `wall`: now, in the device's time zone; `clock`
        in monotonic seconds.
        """
        self._records = RecordFolder(None if folder is None else folder / FOLDER)
        self._wall = wall
        self._clock = clock
        self._asked = AskedRecord(folder, lambda: wall().date())
        self._lock = threading.Lock()
        self._key = ""
        self._drift = Drift(1)
        self._reference: Reference | None = None
        self._waiting: deque[tuple[float, Look]] = deque()
        """Faces that are not counted yet, with the time at which they ended; oldest first. A deque: they
        are appended without the lock.
        """
        self._unwritten, self._enough = 0, FACES_AT_FIRST
        """Faces that were counted since the last write, and how many make the next one."""
        self._said: tuple[dict[int, date], bool] = {}, False
        self._reported: tuple[Tally, Report] | None = None
        """The report, and the block at that time: a day that is closed leaves another block."""
        self._days: tuple[Tally, str] | None = None
        """The same of `days_to_text`."""

    def use(self, key: str, labels: int, reference: Reference | None) -> None:
        """From now on, faces are seen with this. `key`: hexadecimal digest of all that changes figures."""
        if key == self._key:
            return
        if self._key:
            self.keep()
        with self._lock:
            self._key, self._reference = key, reference
            self._unwritten, self._enough = 0, FACES_AT_FIRST
            self._drift = self._read(key, labels)
            self._said = self._alarms(self._wall())

    def saw(self, looks: Sequence[Look]) -> None:
        """Count faces that ended. It never waits for the disk."""
        now = self._clock()
        for look in looks:
            self._waiting.append((now, look))
        if self._unwritten + len(self._waiting) >= self._enough:
            with self._lock:
                self._count(self._wall())
                if self._unwritten >= self._enough:  # unless another thread has just written
                    self._write()

    def asked(self, label: str, *, right: bool) -> None:
        """Count a face that showed an expression on request."""
        self._asked.add(label, right=right)

    def keep(self) -> None:
        """Write what was counted, if it is enough that nothing is shown of a single face, and wait for it."""
        with self._lock:
            now = self._wall()
            self._count(now)
            self._judge(now)
            if self._unwritten >= FACES_A_WRITE:
                self._write()
        if not self.settle(WRITE_S):
            _log.warning(
                "%s is not written after %g seconds; faces since it was written last are lost",
                self._records.file(self._key),
                WRITE_S,
            )

    def settle(self, seconds: float) -> bool:
        """Wait until the disk has what was written, at most so long; whether it has."""
        return self._records.settle(seconds)

    def reset(self) -> None:
        """Learn the first days anew, from the next face on."""
        self._asked.forget()
        with self._lock:
            self._drift = Drift(self._drift.labels)
            self._waiting.clear()
            self._write()

    @property
    def counted(self) -> int:
        """Faces of the present day."""
        with self._lock:
            return self._drift.block.faces + len(self._waiting)

    def report(self) -> Report:
        """What is said now, after judging a day that is over."""
        with self._lock:
            now = self._wall()
            if self._waiting and self._waiting[0][0] < self._hour_began(now):
                self._count(now)
            return self._judge(now)

    def distances(self, faces: Tally) -> Mapping[str, float]:
        """Cliff's delta of each quantity of these faces to the first days; empty while those are learned."""
        with self._lock:
            drift = self._drift
            if drift.is_learning or faces.labels != drift.labels:
                return {}
            found = shift(drift.base, faces)
        return dict(zip(QUANTITIES, found.delta.tolist(), strict=False)) if found.faces else {}

    def _count(self, now: datetime) -> None:
        """Each face counts for the hour in which it ended, by the clock as it stands `now`: a board that has
        found the time meanwhile is believed.
        """
        began = self._hour_began(now)
        waiting = [self._waiting.popleft() for _ in range(len(self._waiting))]
        for hours, faces in groupby(waiting, lambda face: floor((face[0] - began) / HOUR_S)):
            self._drift.saw([look for _, look in faces], now + timedelta(hours=hours))
        self._unwritten += len(waiting)

    def _hour_began(self, now: datetime) -> float:
        """In the monotonic clock."""
        return self._clock() - 60 * now.minute - now.second

    def _judge(self, now: datetime) -> Report:
        """Judge a day that is over; what is said then, which is worked out when it may have changed."""
        drift = self._drift
        drift.due(now)
        asked = self._asked.judged(now.date())
        known = self._reported
        if known is None or known[0] is not drift.block or known[1].asked is not asked:
            known = self._reported = drift.block, self._made(asked)
            if self._alarms(now) != self._said:
                self._said = self._alarms(now)
                self._log(known[1].problem)
        return known[1]

    def _made(self, asked: Asked) -> Report:
        drift = self._drift
        found = drift.quantities()
        said = asked_problem(asked) or problem(found, drift.middles, self._reference)
        return Report(drift.is_learning, drift.base.faces, found, asked, said)

    def _alarms(self, now: datetime) -> tuple[dict[int, date], bool]:
        """What is said in the log when it changes."""
        return self._drift.alarms, self._asked.judged(now.date()).is_worse

    def _log(self, said: str | None) -> None:
        if said is None:
            _log.info("faces are as in the first days again")
        else:
            _log.warning("faces are not as in the first days: %s", said)

    def _read(self, key: str, labels: int) -> Drift:
        try:
            kept = self._records.read(key)
            return Drift(labels) if kept is None else from_text(kept, key, labels)
        except (OSError, ValueError) as error:
            file = self._records.file(key)
            _log.warning("%s cannot be used (%s); the first days are learned anew", file, plain(error))
            return Drift(labels)

    def _write(self) -> None:
        drift, known = self._drift, self._days
        self._unwritten, self._enough = 0, FACES_AT_ONCE
        if known is None or known[0] is not drift.block:
            known = self._days = drift.block, days_to_text(drift, self._key)
        self._records.write(self._key, with_today(known[1], drift))

"""The watch on drift of a running device: its record on the disk, and what it says now."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from oahega_edge.drift.asked import Asked, AskedRecord
from oahega_edge.drift.drift import Drift, Drifted
from oahega_edge.drift.look import QUANTITIES, Look
from oahega_edge.drift.record import LARGEST, from_text, to_text
from oahega_edge.drift.tally import Tally, shift
from oahega_edge.drift.words import asked_problem, problem
from oahega_edge.errors import plain
from oahega_edge.files import read_file, replace_file

_log = logging.getLogger(__name__)

FOLDER = "drift"
MOST_RECORDS = 3
"""Of the bundles and settings used last: one that is rolled back finds its first days again."""
FACES_A_WRITE = 10
"""The file changes by so many faces at once at least: two copies of it do not show what one face was like."""
FACES_AT_ONCE = 50
"""So many are counted together: one by one, between frames, each takes several times as long."""
LOOK_S = 10.0
"""Seconds between two looks at what is due: the calendar takes longer than all else in a frame."""
FACES_IN_MEMORY = 100
"""After so many it is written while the device runs; with fewer, writing would cost more than counting."""

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

    def due(self) -> None:
        """Do what is due besides faces."""
        ...

    def keep(self) -> None:
        """The device stops: keep what was counted."""
        ...

    def reset(self) -> None:
        """Learn anew."""
        ...

    def report(self) -> Report | None:
        """What is said now; None where nothing is watched."""
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

    def due(self) -> None:
        """Nothing ever is."""

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
    """Counts the faces of one device. `asked`, `reset` and `report` may be called from any thread."""

    def __init__(self, folder: Path | None, wall: Callable[[], datetime], clock: Callable[[], float]) -> None:
        """`folder`: where the state is kept; None: in memory. `wall`: now, in the device's time zone; `clock`
        in monotonic seconds.
        """
        self._folder = None if folder is None else folder / FOLDER
        self._wall = wall
        self._clock = clock
        self._look_at = self._hour_ends = -math.inf
        self._asked = AskedRecord(folder, lambda: wall().date())
        self._key = ""
        self._drift = Drift(1)
        self._reference: Reference | None = None
        self._unwritten = 0
        self._is_tidy = False
        self._waiting: list[Look] = []
        self._waiting_since = wall()
        self._asked_to_reset = False
        self._said: tuple[dict[int, date], bool] = {}, False
        self._refused: str | None = None

    def use(self, key: str, labels: int, reference: Reference | None) -> None:
        """From now on, faces are seen with this. `key`: hexadecimal digest of all that changes figures."""
        if key == self._key:
            return
        if self._key:
            self.keep()
        self._key, self._reference, self._unwritten = key, reference, 0
        self._is_tidy = False
        self._drift = self._read(key, labels)
        self._said = self._alarms()

    def saw(self, looks: Sequence[Look]) -> None:
        """Count faces that ended. It never waits for the disk."""
        if not looks:
            return
        if self._clock() >= self._hour_ends:
            self._count_before(self._wall())
        self._waiting.extend(looks)
        if len(self._waiting) >= FACES_AT_ONCE:
            self._count()

    def asked(self, label: str, *, right: bool) -> None:
        """Count a face that showed an expression on request."""
        self._asked.add(label, right=right)

    def due(self) -> None:
        """Judge a day that is over, say what it brought, and write what was counted, if it is much; once in
        LOOK_S seconds, however often it is called.
        """
        now = self._clock()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            self._look()

    def _look(self) -> None:
        if self._asked_to_reset:
            self._asked_to_reset, self._drift = False, Drift(self._drift.labels)
            self._waiting.clear()
            self._asked.forget()
            self._write()
        now = self._wall()
        self._count_before(now)
        self._drift.due(now)
        if self._alarms() != self._said:
            self._say()
        if self._unwritten >= FACES_IN_MEMORY:
            self._write()

    def keep(self) -> None:
        """Write what was counted, if it is enough that nothing is shown of a single face."""
        self._count()
        self._look()
        if self._unwritten >= FACES_A_WRITE:
            self._write()

    def reset(self) -> None:
        """Learn the first days anew, from the next frame on."""
        self._asked_to_reset, self._look_at = True, -math.inf

    @property
    def counted(self) -> int:
        """Faces of the present day."""
        return self._drift.block.faces + len(self._waiting)

    def report(self) -> Report:
        """What is said now."""
        drift, asked = self._drift, self._asked.judged()
        found = drift.quantities()
        said = asked_problem(asked) or problem(found, drift.middles, self._reference)
        return Report(drift.is_learning, drift.base.faces, found, asked, said)

    def distances(self, faces: Tally) -> Mapping[str, float]:
        """Cliff's delta of each quantity of these faces to the first days; empty while those are learned."""
        drift = self._drift
        if drift.is_learning or faces.labels != drift.labels:
            return {}
        found = shift(drift.base, faces)
        return dict(zip(QUANTITIES, found.delta.tolist(), strict=False)) if found.faces else {}

    def _count_before(self, now: datetime) -> None:
        """Count what waits if its hour is over: a face counts for the part of the day in which it ended."""
        since = self._waiting_since
        if now.hour != since.hour or now.date() != since.date():
            self._count()
            self._waiting_since = now
        self._hour_ends = self._clock() + 3600 - (60 * now.minute + now.second)

    def _count(self) -> None:
        if self._waiting:
            looks, self._waiting = self._waiting, []
            self._drift.saw(looks, self._waiting_since)
            self._unwritten += len(looks)

    def _alarms(self) -> tuple[dict[int, date], bool]:
        return self._drift.alarms, self._asked.judged().is_worse

    def _say(self) -> None:
        """When a day is judged, and when a round of asked expressions ends."""
        self._said = self._alarms()
        said = self.report().problem
        if said is None:
            _log.info("faces are as in the first days again")
        else:
            _log.warning("faces are not as in the first days: %s", said)

    def _read(self, key: str, labels: int) -> Drift:
        file = self._file()
        if file is None:
            return Drift(labels)
        try:
            return from_text(read_file(file, LARGEST), key, labels)
        except FileNotFoundError:
            pass
        except (OSError, ValueError) as error:
            _log.warning("%s cannot be used (%s); the first days are learned anew", file, plain(error))
        return Drift(labels)

    def _write(self) -> None:
        """Whole or not at all; a disk that refuses is said once."""
        self._unwritten = 0
        file = self._file()
        if file is None:
            return
        try:
            file.parent.mkdir(exist_ok=True)
            replace_file(file, to_text(self._drift, self._key))
            if not self._is_tidy:
                _keep_newest(file.parent)
                self._is_tidy = True
        except OSError as error:
            if self._refused != error.strerror:
                _log.warning(
                    "%s cannot be written (%s); what is counted is lost at a restart", file, error.strerror
                )
            self._refused = error.strerror
        else:
            self._refused = None

    def _file(self) -> Path | None:
        return None if self._folder is None else self._folder / f"{self._key[:16]}.json"


def _keep_newest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    for old in files[:-MOST_RECORDS]:
        old.unlink(missing_ok=True)

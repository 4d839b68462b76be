"""An event or a summary on its way, and when it set out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from oahega_edge.contract.events import Event
from oahega_edge.contract.summary import Report, read_report

LATEST = 1e11
"""Seconds; as a date the year 5138. A clock that says more is wrong."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on the wall clock and on one that is never set (a Pi without network starts in the past)."""

    wall: float
    """Seconds since 1970."""
    steady: float
    """Seconds since the board started."""
    origin: str
    """Which start of the board; steady times of two starts cannot be compared."""

    def since(self, earlier: Instant) -> float:
        """Seconds from `earlier` to here, never negative."""
        if self.origin == earlier.origin:
            return max(0.0, self.steady - earlier.steady)
        return max(0.0, self.wall - earlier.wall)


def device_clock() -> Callable[[], Instant]:
    """The clocks of this machine."""
    try:
        origin = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        origin = f"process-{os.getpid()}-{time.time()}"
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return lambda: Instant(time.time(), time.clock_gettime(clock), origin)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event or summary on its way."""

    key: int
    """Rises with every event, also over restarts."""
    event: Report
    since: Instant
    """When it was handed over."""

    @property
    def face(self) -> str:
        """Whose latest event the policy `latest` keeps; every summary is kept."""
        owner = self.event.track if isinstance(self.event, Event) else self.event.id
        return f"{self.event.boot_id}/{owner}"


Row = tuple[int, object, object, object, object]
"""Key, wall, steady, origin and the event's JSON as a file holds them: not to be trusted."""


def instant_of(wall: object, steady: object, origin: object) -> Instant | None:
    """The moment of a row, None where it is none."""
    if not (isinstance(wall, int | float) and isinstance(steady, int | float) and isinstance(origin, str)):
        return None
    if not (0 <= wall <= LATEST and 0 <= steady <= LATEST):
        return None
    return Instant(float(wall), float(steady), origin)


def waiting_of(row: Row) -> Waiting | None:
    """The event of a row, None where there is none in it; one without a moment sets out when it was made."""
    key, wall, steady, origin, text = row
    if not isinstance(text, str):
        return None
    try:
        event = read_report(text)
    except ValidationError:
        return None
    since = instant_of(wall, steady, origin) or Instant(event.time.timestamp(), 0.0, "")
    return Waiting(key, event, since)

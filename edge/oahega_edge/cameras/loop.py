"""A file played for ever in real time: a camera for soak and fleet tests that needs no device."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraError, CameraStalled, EndOfSource

LONGEST_LAG = 1.0
"""Seconds behind from which frames are no longer decoded to be dropped: the clip pauses instead."""
LONE_PICTURE_SECONDS = 0.2


def _now() -> datetime:
    return datetime.now(UTC)


class LoopedFile(Camera):
    """Plays a file source at its own pace; a late reader gets the frame that is due and misses the rest."""

    live = True

    def __init__(
        self,
        source: Camera,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        utc_now: Callable[[], datetime] = _now,
    ) -> None:
        self._source = source
        self._clock = clock
        self._sleep = sleep
        self._utc_now = utc_now
        self._is_open = False
        self.dropped = 0
        """Frames that were due and replaced before they were read."""

    def __enter__(self) -> Self:
        self._source.__enter__()
        self._is_open = True
        self._begin = self._clock()
        self._last_clip_time: float | None = None
        self._interval = LONE_PICTURE_SECONDS
        self._count = -1
        self._coming: Frame | None = None
        self.dropped = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_open = False
        self._source.__exit__(kind, error, trace)

    def read(self, timeout: float) -> Frame:
        """The frame that is due; waits for the next one when that was read already."""
        if not self._is_open:
            raise CameraError("the looped file is not open; use it in a `with` block")
        now = self._clock()
        frame = self._coming or self._decode()
        self._coming = None
        if now - frame.captured_at > LONGEST_LAG:
            frame = self._pause(frame, now)
        while frame.captured_at <= now:
            self._coming = self._decode()
            if self._coming.captured_at > now:
                return self._timed(frame)
            frame, self._coming = self._coming, None
            self.dropped += 1
        if frame.captured_at > now + timeout:
            self._coming = frame
            self._sleep(timeout)
            raise CameraStalled(
                f"the looped file has no frame within {timeout:g} s; wait longer than its interval"
            )
        self._sleep(frame.captured_at - now)
        return self._timed(frame)

    def _decode(self) -> Frame:
        """The next frame of the endless clip; `captured_at` is when it is due on our clock."""
        try:
            frame = self._source.read(0)
        except EndOfSource:
            frame = self._restart()
        if self._last_clip_time is not None:
            self._interval = frame.captured_at - self._last_clip_time
        self._last_clip_time = frame.captured_at
        self._count += 1
        return dataclasses.replace(frame, captured_at=self._begin + frame.captured_at, sequence=self._count)

    def _restart(self) -> Frame:
        self._begin += (self._last_clip_time or 0.0) + self._interval
        self._last_clip_time = None
        self._source.__exit__(None, None, None)
        self._source.__enter__()
        return self._source.read(0)

    def _pause(self, frame: Frame, now: float) -> Frame:
        """Restart the clip's clock after a pause of the reader, so that `frame` is due now."""
        lag = now - frame.captured_at
        missed = int(lag / self._interval)
        self._begin += lag
        self._count += missed
        self.dropped += missed
        return dataclasses.replace(frame, captured_at=now, sequence=self._count)

    def _timed(self, frame: Frame) -> Frame:
        age = self._clock() - frame.captured_at
        return dataclasses.replace(frame, taken_at=self._utc_now() - timedelta(seconds=age))

"""A video file or an animation (GIF, WebP, PNG), read in lock step with the clip's own time.

The FFmpeg inside OpenCV's wheels decodes GIF as well, with each frame's own duration (the same times
in 4.8 and 4.14, where `cv2.imread` differs).
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

from oahega_edge.cameras.capture import as_rgb, open_capture
from oahega_edge.cameras.containers import is_cut_off
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.decoding import Animation
from oahega_edge.endings import BARE_STREAMS, ending, is_picture
from oahega_edge.errors import CameraError, EndOfSource
from oahega_edge.text import is_text

USUAL_FPS = 25.0


class VideoFile(Camera):
    """Every frame of a file, once, in order."""

    live = False

    def __init__(self, path: Path, *, fps: float | None = None, started_at: datetime | None = None) -> None:
        """`fps`: for files that state no times; `started_at`: UTC of the clip's second 0, default now."""
        self._path = path
        self._stated_fps = fps
        self._started_at = started_at
        self._capture: cv2.VideoCapture | Animation | None = None

    def __enter__(self) -> Self:
        self.__exit__(None, None, None)
        _refuse_non_file(self._path)
        capture = _opened(self._path)
        if capture is None:
            raise CameraError(
                f"video {self._path} cannot be read: not a video that FFmpeg knows, or cut off; "
                "try another player on it, or copy it again"
            )
        self._capture = capture
        fps = self._stated_fps or _sane_fps(capture) or USUAL_FPS
        self._clock = _ClipClock(fps, has_times=ending(self._path) not in BARE_STREAMS)
        self._expected = _sane_count(capture)
        self._sequence = -1
        self._start = self._started_at or datetime.now(UTC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._capture is not None:
            self._capture.release()
            self._capture = None

    def read(self, timeout: float) -> Frame:
        """The next frame; the file waits for the reader, so `timeout` has no meaning here."""
        if self._capture is None:
            raise CameraError(f"video {self._path} is not open; use it in a `with` block")
        ok, bgr = self._capture.read()
        if not ok:
            self._raise_end()
        self._sequence += 1
        seconds = self._clock.next(self._capture.get(cv2.CAP_PROP_POS_MSEC) / 1000)
        return Frame(as_rgb(bgr), seconds, self._start + timedelta(seconds=seconds), self._sequence)

    def _raise_end(self) -> None:
        frames = self._sequence + 1
        if frames == 0:
            raise CameraError(
                f"video {self._path} holds no frame that can be decoded ({_codec(self._capture)}); copy it "
                "again, or convert it: ffmpeg -i OLD -c:v libx264 NEW.mp4"
            )
        # Of a GIF, which states no count, FFmpeg counts the frames that are there.
        has_all = 0 < self._expected <= frames and ending(self._path) != ".gif"
        if not has_all and is_cut_off(self._path):
            raise CameraError(
                f"video {self._path} is cut off: it ends after {frames} frames "
                f"({self._clock.seconds:.1f} s); copy it again"
            )
        raise EndOfSource(f"{self._path} has ended after {frames} frames")


def _opened(path: Path) -> cv2.VideoCapture | Animation | None:
    if is_picture(path):
        return Animation(path)
    return open_capture(str(path.absolute()), cv2.CAP_FFMPEG)  # `10:30.avi` would be a protocol


class _ClipClock:
    """The container's time per frame from 0, or frame number over fps where it has none."""

    def __init__(self, fps: float, *, has_times: bool) -> None:
        self._has_times = has_times
        self._interval = 1 / fps
        self.seconds = -1.0
        self._first = 0.0

    def next(self, position: float) -> float:
        if self.seconds < 0:
            self._first = position if math.isfinite(position) else 0.0
            self.seconds = 0.0
            return 0.0
        seconds = position - self._first
        if not self._has_times or not self.seconds < seconds < self.seconds + 3600:
            seconds = self.seconds + self._interval
        self.seconds = seconds
        return seconds


def _refuse_non_file(path: Path) -> None:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise CameraError(
            f"video {path} cannot be opened: {error.strerror}; give the path of a file"
        ) from error
    if not is_text(str(path)):
        raise CameraError(f"video {path} has a name that is not UTF-8; rename it")
    if path.is_dir():
        raise CameraError(f"video {path} is a folder; give a file, or a folder that holds pictures")
    if path.is_file() and size == 0:
        raise CameraError(f"video {path} is empty (0 bytes); copy it again")


def _sane_fps(capture: cv2.VideoCapture | Animation) -> float | None:
    fps = capture.get(cv2.CAP_PROP_FPS)
    return fps if math.isfinite(fps) and 0.01 <= fps <= 1000 else None


def _codec(capture: cv2.VideoCapture | Animation | None) -> str:
    code = 0 if capture is None else int(capture.get(cv2.CAP_PROP_FOURCC)) & 0xFFFFFFFF
    name = code.to_bytes(4, "little").decode("latin-1").strip("\0 ")
    return f"codec {name}" if name.isprintable() and name else "unknown codec"


def _sane_count(capture: cv2.VideoCapture | Animation) -> float:
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    return count if math.isfinite(count) and 0 < count < 1e9 else 0.0

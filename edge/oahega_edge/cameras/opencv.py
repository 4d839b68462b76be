"""USB cameras (V4L2) and network streams (RTSP, HTTP) through OpenCV."""

from __future__ import annotations

import itertools
import logging
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import cv2

from oahega_edge.cameras.capture import as_rgb, open_capture
from oahega_edge.cameras.port import Camera
from oahega_edge.cameras.usb import UsbPorts
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraError, CameraStalled
from oahega_edge.secret import shown

OPEN_SECONDS = 10.0
"""How long opening may take; RTSP cameras answer within 1-3 s."""
READ_SECONDS = 5.0
"""How long FFmpeg waits for a network stream's next byte before the device counts as gone."""
CLOSE_SECONDS = 2.0
"""How long closing waits for the thread before it leaves it to end by itself."""

Item = TypeVar("Item")
log = logging.getLogger(__name__)


class OpenCvCamera(Camera):
    """A live camera read by its own thread into a one-slot mailbox; `apart.py` runs it in a process.

    The thread opens, reads and releases the capture alone: releasing it under a running `read` crashes,
    and either call may hang in a driver.
    """

    live = True

    def __init__(
        self,
        source: str | int,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        open_seconds: float = OPEN_SECONDS,
        read_seconds: float = READ_SECONDS,
        ports: UsbPorts | None = None,
    ) -> None:
        """`source`: a V4L2 number, a /dev/ path, or a URL; size and rate are requests, for V4L2 only."""
        self._ports = ports or UsbPorts()
        self._source = source
        self._wishes = (width, height, fps)
        self._open_seconds = open_seconds
        self._read_seconds = read_seconds
        self._reader: _Reader | None = None

    @property
    def name(self) -> str:
        """The source as it may be shown, for logs."""
        return shown(str(self._source))

    @property
    def dropped(self) -> int:
        """Frames that came since opening and were replaced before they were read."""
        return 0 if self._reader is None else self._reader.frames.dropped

    def __enter__(self) -> Self:
        self.__exit__(None, None, None)
        self._reader = _Reader(self._open, self.name)
        if not self._reader.opened.wait(self._open_seconds):
            self._close()
            raise CameraError(
                f"camera {self.name} did not open within {self._open_seconds:g} s; {self._remedy()}"
            )
        if self._reader.capture_failed:
            self._close()
            raise CameraError(f"camera {self.name} cannot be opened; {self._remedy()}")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self, timeout: float) -> Frame:
        """The newest frame not yet read. Raises CameraStalled, or CameraError when the device is gone."""
        if self._reader is None:
            raise CameraError(f"camera {self.name} is not open; use it in a `with` block")
        try:
            grabbed = self._reader.frames.take(timeout)
        except TimeoutError:
            raise CameraStalled(
                f"camera {self.name} gave no frame within {timeout:g} s; check its cable and power"
            ) from None
        return Frame(as_rgb(grabbed.bgr), grabbed.captured_at, grabbed.taken_at, grabbed.sequence)

    def reset(self) -> None:
        """Reset the camera's USB port; to be called between close and open. Nothing for a stream."""
        if not self._is_stream:
            self._ports.reset(self._source)

    @property
    def _is_stream(self) -> bool:
        return isinstance(self._source, str) and "://" in self._source

    def _close(self) -> None:
        if self._reader is not None:
            self._reader.stop()
            self._reader = None

    def _open(self) -> cv2.VideoCapture | None:
        if self._is_stream:
            return self._open_stream(str(self._source))
        capture = open_capture(self._source, cv2.CAP_V4L2)
        if capture is not None:
            self._wish(capture)
        return capture

    def _open_stream(self, url: str) -> cv2.VideoCapture | None:
        # Over UDP each lost packet tears a frame; measuring the frame rate of a slow camera takes minutes.
        # FFmpeg takes options only through this variable.
        os.environ.setdefault("OPENCV_FFMPEG_CAPTURE_OPTIONS", "rtsp_transport;tcp|fpsprobesize;0")
        return open_capture(url, cv2.CAP_FFMPEG, self._timeouts())

    def _timeouts(self) -> Sequence[int]:
        return (
            cv2.CAP_PROP_OPEN_TIMEOUT_MSEC,
            round(self._open_seconds * 1000),
            cv2.CAP_PROP_READ_TIMEOUT_MSEC,
            round(self._read_seconds * 1000),
        )

    def _wish(self, capture: cv2.VideoCapture) -> None:
        """Drivers round these or ignore them; what comes is what the frames say."""
        width, height, fps = self._wishes
        # Raw YUYV at more than 640x480 exceeds USB 2: without MJPG such cameras fall to 5-10 fps.
        capture.set(cv2.CAP_PROP_FOURCC, cv2.VideoWriter.fourcc(*"MJPG"))
        for prop, value in (
            (cv2.CAP_PROP_FRAME_WIDTH, width),
            (cv2.CAP_PROP_FRAME_HEIGHT, height),
            (cv2.CAP_PROP_FPS, fps),
            (cv2.CAP_PROP_BUFFERSIZE, 2),
        ):
            if value is not None:
                capture.set(prop, value)

    def _remedy(self) -> str:
        if self._is_stream:
            return (
                "check the address, the user and password in it, and that the camera answers on the network"
            )
        return (
            "check that it is plugged in (`ls /dev/video*`), that no other program uses it, and that this "
            "user is in the group `video`"
        )


@dataclass(frozen=True, slots=True)
class _Grabbed:
    """A frame before its colours are put in order: dropped ones never are."""

    bgr: Any
    captured_at: float
    taken_at: datetime
    sequence: int


class _Reader:
    """The thread of one opened capture."""

    def __init__(self, open_: Callable[[], cv2.VideoCapture | None], name: str) -> None:
        self.frames: Latest[_Grabbed] = Latest()
        self.opened = threading.Event()
        self.capture_failed = False
        self._open = open_
        self._name = name
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"camera {name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end and wait a moment; a thread that hangs in a driver is left behind."""
        self._stopping.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("camera %s does not answer; its thread ends by itself when it does", self._name)

    def _run(self) -> None:
        capture = self._open()
        self.capture_failed = capture is None
        self.opened.set()
        if capture is None:
            return
        try:
            self._read_until_stopped(capture)
        finally:
            capture.release()

    def _read_until_stopped(self, capture: cv2.VideoCapture) -> None:
        for sequence in itertools.count():
            if self._stopping.is_set():
                return
            if not capture.grab():
                self.frames.fail(
                    CameraError(f"camera {self._name} is gone or its stream ended; check its cable and power")
                )
                return
            captured_at, taken_at = time.monotonic(), datetime.now(UTC)
            bgr = _decoded(capture)
            if bgr is not None:
                self.frames.put(_Grabbed(bgr, captured_at, taken_at, sequence))


def stream_timeouts(stall_s: float) -> tuple[float, float]:
    """Seconds that opening and reading may take, so that a camera may be silent for `stall_s` seconds."""
    return max(OPEN_SECONDS, 2 * stall_s), max(READ_SECONDS, stall_s + 1)


def _decoded(capture: cv2.VideoCapture) -> Any:
    """The grabbed frame as BGR, or None: USB cameras send a broken JPEG now and then."""
    try:
        ok, bgr = capture.retrieve()
    except cv2.error:
        return None
    return bgr if ok else None


class Latest(Generic[Item]):
    """A mailbox with one slot, for one writer thread and one reader thread: the reader gets the newest item.

    Not a queue: at 30 frames per second and 120 ms per inference the slot's frame is 17 ms old on average,
    a queue's is seconds old and growing.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._item: Item | None = None
        self._error: Exception | None = None
        self._dropped = 0

    @property
    def dropped(self) -> int:
        """Items that were overwritten unread."""
        with self._changed:
            return self._dropped

    def put(self, item: Item) -> None:
        """Replace what is there."""
        with self._changed:
            self._dropped += self._item is not None
            self._item = item
            self._changed.notify()

    def fail(self, error: Exception) -> None:
        """Nothing will come any more; `take` raises `error` once the last item is taken."""
        with self._changed:
            self._error = error
            self._changed.notify()

    def take(self, timeout: float) -> Item:
        """The newest item, once. Raises TimeoutError after `timeout` seconds, or what `fail` was given."""
        with self._changed:
            self._changed.wait_for(lambda: self._item is not None or self._error is not None, timeout)
            if self._item is not None:
                item, self._item = self._item, None
                return item
            if self._error is not None:
                raise self._error.with_traceback(None)  # raised at each call: it must not grow
            raise TimeoutError

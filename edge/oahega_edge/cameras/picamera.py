"""The Raspberry Pi's own camera through picamera2.

picamera2 keeps the newest completed request by itself, so this adapter needs no thread to read.
It comes from Raspberry Pi OS (apt), not from the package index, and is imported when a camera is opened.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import cv2
import numpy as np

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.errors import CameraError, CameraStalled

USUAL_SIZE = (1280, 720)
USUAL_FPS = 30.0
OVERVIEW_LONGER_SIDE = 640
"""Pixels of the low-resolution stream: finds faces of 1/20 of the picture's height on it."""
BUFFERS = 4
SETTLE_SECONDS = 2.0
"""Exposure and white balance need about this long after a start."""
CLOSE_SECONDS = 5.0
LONGEST_FRAME_US = 100_000
"""In the dark the camera may go down to 10 frames per second to gain light."""
AE_CONVERGED = 2
"""`AeState` of libcamera 0.5 and later; older ones say `AeLocked`."""

log = logging.getLogger(__name__)


class PiCamera(Camera):
    """Main stream for the crops, low-resolution stream for the detector, both of the same view."""

    live = True

    def __init__(
        self,
        number: int = 0,
        *,
        width: int | None = None,
        height: int | None = None,
        fps: float | None = None,
        module: Any = None,
        clock: Callable[[], float] = time.monotonic,
        settle_seconds: float = SETTLE_SECONDS,
        close_seconds: float = CLOSE_SECONDS,
    ) -> None:
        """`number`: as `rpicam-hello --list-cameras` counts; `module`: picamera2, imported when None."""
        self._number = number
        self._size = _even(width or USUAL_SIZE[0], height or USUAL_SIZE[1])
        self._fps = fps or USUAL_FPS
        self._module = module
        self._clock = clock
        self._settle_seconds = settle_seconds
        self._close_seconds = close_seconds
        self._device: Any = None

    @property
    def name(self) -> str:
        """For logs and errors."""
        return f"picamera:{self._number}"

    def __enter__(self) -> Self:
        self.__exit__(None, None, None)
        module = self._module = self._module or _import_picamera2()
        try:
            self._refuse_absent(module.Picamera2.global_camera_info())
            self._device = module.Picamera2(self._number)
            self._device.configure(self._configuration(self._device))
            self._formats = self._device.camera_configuration()
            self._device.start(show_preview=False)
        except (RuntimeError, OSError, LookupError, ValueError) as error:
            self._close()
            raise CameraError(
                f"camera {self.name} cannot be opened ({error}); check that no other program uses it "
                "and its ribbon cable"
            ) from error
        self._sequence = -1
        self._last_sensor_ns: int | None = None
        try:
            self._settle()
        except CameraError:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def read(self, timeout: float) -> Frame:
        """The newest frame not yet read. Raises CameraStalled when the sensor delivers nothing."""
        if self._device is None:
            raise CameraError(f"camera {self.name} is not open; use it in a `with` block")
        request = self._capture(timeout)
        try:
            metadata = request.get_metadata()
            pixels = to_rgb(request.make_array("main"), self._formats["main"])
            overview = None
            if self._formats.get("lores") is not None:
                overview = to_rgb(request.make_array("lores"), self._formats["lores"])
        except (RuntimeError, ValueError) as error:
            raise CameraError(f"camera {self.name} gave a broken frame ({error}); reopen it") from error
        finally:
            request.release()
        self._count(metadata)
        captured_at, taken_at = self._times(metadata)
        return Frame(pixels, captured_at, taken_at, self._sequence, overview)

    def reset(self) -> None:
        """Let libcamera enumerate its devices anew; to be called between close and open."""
        if self._module is not None and hasattr(self._module.Picamera2, "_cm"):
            self._module.Picamera2._cm.reset()

    def _refuse_absent(self, known: list[dict[str, Any]]) -> None:
        if self._number >= len(known):
            raise CameraError(
                f"camera {self.name} is not there, libcamera sees {len(known)}; check the ribbon cable and "
                "`rpicam-hello --list-cameras`"
            )

    def _configuration(self, device: Any) -> Any:
        shortest = round(1e6 / self._fps)
        controls = {}
        if "FrameDurationLimits" in device.camera_controls:  # USB cameras have none
            controls["FrameDurationLimits"] = (shortest, max(shortest, LONGEST_FRAME_US))
        lores = _overview_size(self._size)
        return device.create_video_configuration(
            # libcamera names channels from the highest byte down: BGR888 is red, green, blue in memory.
            main={"format": "BGR888", "size": self._size},
            lores=None if lores is None else {"format": "YUV420", "size": lores},
            controls=controls,
            buffer_count=BUFFERS,
            queue=True,
            display=None,
            encode=None,
        )

    def _capture(self, timeout: float) -> Any:
        try:
            # 0 would mean "do not wait, give me a job".
            return self._device.capture_request(wait=max(timeout, 0.001))
        except (TimeoutError, CancelledError):
            # The job would stay queued, take a buffer later and never give it back.
            self._device.cancel_all_and_flush()
            raise CameraStalled(
                f"camera {self.name} gave no frame within {timeout:g} s; check the ribbon cable and power"
            ) from None
        except RuntimeError as error:
            raise CameraError(f"camera {self.name} failed ({error}); reopen it") from error

    def _settle(self) -> None:
        """Discard frames until exposure holds, at most for the settling time."""
        until = self._clock() + self._settle_seconds
        while self._clock() < until:
            # A cold sensor may take a second for its first frame, whatever the settling time is.
            request = self._capture(max(1.0, until - self._clock()))
            try:
                metadata = request.get_metadata()
            finally:
                request.release()
            if metadata.get("AeLocked") or metadata.get("AeState") == AE_CONVERGED:
                return

    def _count(self, metadata: Mapping[str, Any]) -> None:
        """One more, or as many as the sensor made since the last frame that was read."""
        stamp, duration = metadata.get("SensorTimestamp"), metadata.get("FrameDuration")
        steps = 1
        if stamp and duration and self._last_sensor_ns is not None:
            steps = max(1, round((stamp - self._last_sensor_ns) / (duration * 1000)))
        self._last_sensor_ns = stamp
        self._sequence += steps

    def _times(self, metadata: Mapping[str, Any]) -> tuple[float, datetime]:
        """SensorTimestamp is nanoseconds of the monotonic clock at the first row's exposure."""
        now, utc = self._clock(), datetime.now(UTC)
        stamp = metadata.get("SensorTimestamp")
        age = now - stamp / 1e9 if stamp else 0.0
        if not 0 <= age < 10:  # another clock: some drivers count suspended time as well
            age = 0.0
        return now - age, utc - timedelta(seconds=age)

    def _close(self) -> None:
        """Never raises and never blocks for long: `stop` hangs when the sensor's cable came off."""
        if self._device is None:
            return
        device, self._device = self._device, None
        thread = threading.Thread(
            target=_shut, args=(device, self.name), name=f"close {self.name}", daemon=True
        )
        thread.start()
        thread.join(self._close_seconds)
        if thread.is_alive():
            log.warning("camera %s hangs while it is closed and is left behind", self.name)


def to_rgb(array: Any, stream: Mapping[str, Any]) -> Pixels:
    """`make_array` of a stream with its configuration -> height x width x 3 RGB in one memory block.

    YUV420 comes as (height * 3/2, stride): rows are padded to the hardware's stride, so the picture is
    cut to its width after the conversion.
    """
    width, height = stream["size"]
    match stream["format"]:
        case "BGR888":
            rgb = array
        case "RGB888":
            rgb = cv2.cvtColor(array, cv2.COLOR_BGR2RGB)
        case "XBGR8888":
            rgb = cv2.cvtColor(array, cv2.COLOR_RGBA2RGB)
        case "XRGB8888":
            rgb = cv2.cvtColor(array, cv2.COLOR_BGRA2RGB)
        case "YUV420":
            rgb = cv2.cvtColor(array, cv2.COLOR_YUV2RGB_I420)
        case "YVU420":
            rgb = cv2.cvtColor(array, cv2.COLOR_YUV2RGB_YV12)
        case "YUYV":
            rgb = cv2.cvtColor(array, cv2.COLOR_YUV2RGB_YUYV)
        case "MJPEG":  # picamera2 has decoded it to RGB
            rgb = array
        case other:
            raise CameraError(
                f"the camera delivers {other}, which is not supported; open it as /dev/video0 instead"
            )
    return np.ascontiguousarray(rgb[:height, :width], np.uint8)


def _shut(device: Any, name: str) -> None:
    for step in (device.cancel_all_and_flush, device.stop, device.close):
        try:
            step()
        except Exception as error:  # whatever it is: there is nothing to do but to go on closing
            log.debug("closing camera %s: %s", name, error)


def _overview_size(size: tuple[int, int]) -> tuple[int, int] | None:
    """The same aspect with OVERVIEW_LONGER_SIDE, or None when the main stream is no larger."""
    longer = max(size)
    if longer <= OVERVIEW_LONGER_SIDE:
        return None
    return _even(size[0] * OVERVIEW_LONGER_SIDE // longer, size[1] * OVERVIEW_LONGER_SIDE // longer)


def _even(width: int, height: int) -> tuple[int, int]:
    return max(2, width - width % 2), max(2, height - height % 2)


def _import_picamera2() -> Any:
    try:
        import picamera2
    except ImportError as error:
        raise CameraError(
            f"picamera2 cannot be imported ({error}); on Raspberry Pi OS: "
            "`sudo apt install python3-picamera2`, and make the venv with --system-site-packages"
        ) from error
    return picamera2

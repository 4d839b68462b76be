"""A `picamera2` for machines without a Raspberry Pi: the parts of its interface that the adapter uses.

`fake_picamera2(...)` makes a fresh module object. It keeps what the real one does and people trip over:

* format names read from the highest byte: an array of "RGB888" is blue, green, red in memory;
* rows of YUV420 are padded to a stride that is a multiple of 64 bytes, filled with rubbish here;
* `wait=` in seconds raises TimeoutError, `wait=0` and `wait=False` give a job; a job that timed out stays
  queued until `cancel_all_and_flush`;
* a request that is not released keeps one of `buffer_count` buffers, and without buffers there are no frames;
* the newest completed request is kept (`queue=True`), older ones are recycled;
* sizes are made even; an unknown control, a second opening, a wrong format are RuntimeErrors.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Scene = Callable[[int], NDArray[np.uint8]]
"""Frame number -> height x width x 3 RGB, of any size."""


@dataclass
class Sensor:
    """The hardware behind the fake module; tests turn its knobs while the adapter runs."""

    scene: Scene
    frame_seconds: float = 0.01
    cameras: int = 1
    settles_after: int = 3
    """Frames until AeLocked."""
    delivered_format: str | None = None
    """What libcamera adjusts the main stream's format to; None grants the wish."""
    stalled: bool = False
    """The sensor sends nothing."""
    fails_to_start: bool = False
    stalls_until_reset: bool = False
    """After a stall the device stays dead until the camera manager is reset."""
    stop_hangs_for: float = 0.0
    """Seconds that `stop` blocks."""
    in_use: bool = False
    resets: int = 0
    calls: list[str] = field(default_factory=list)

    def frame_number(self, now: float, started_at: float) -> int:
        """How many frames are complete since the start."""
        return int((now - started_at) / self.frame_seconds)


def fake_picamera2(sensor: Sensor) -> Any:
    """A module object with its own `Picamera2` class for this sensor."""

    class Bound(Picamera2):
        _sensor = sensor
        _cm = CameraManager(sensor)

    return SimpleNamespace(Picamera2=Bound)


class CameraManager:
    def __init__(self, sensor: Sensor) -> None:
        self._sensor = sensor

    def reset(self) -> None:
        if self._sensor.in_use:
            raise RuntimeError("the manager is reset while a camera is open")
        self._sensor.resets += 1
        if self._sensor.stalls_until_reset:
            self._sensor.stalled = False


class Picamera2:
    _sensor: Sensor
    _cm: CameraManager

    @classmethod
    def global_camera_info(cls) -> list[dict[str, Any]]:
        return [{"Model": "imx000", "Num": i, "Id": f"/base/{i}"} for i in range(cls._sensor.cameras)]

    def __init__(self, camera_num: int = 0) -> None:
        if self._sensor.in_use:
            raise RuntimeError("Camera __init__ sequence did not complete.")
        self.global_camera_info()[camera_num]
        self._sensor.in_use = True
        self._is_open = True
        self._started_at: float | None = None
        self._seen = -1
        self._held = 0
        self._jobs = 0
        self._config: dict[str, Any] | None = None
        self.camera_controls = {"FrameDurationLimits": (100, 1_000_000, 33_333), "AeEnable": (0, 1, 1)}

    def create_video_configuration(
        self,
        main: dict[str, Any],
        lores: dict[str, Any] | None = None,
        controls: dict[str, Any] | None = None,
        buffer_count: int = 6,
        queue: bool = True,
        display: str | None = "main",
        encode: str | None = "main",
    ) -> dict[str, Any]:
        streams = {"main": dict(main), "lores": None if lores is None else dict(lores)}
        for stream in streams.values():
            if stream is not None:
                width, height = stream["size"]
                stream["size"] = (width - width % 2, height - height % 2)
        return {**streams, "controls": dict(controls or {}), "buffer_count": buffer_count, "queue": queue}

    def configure(self, config: dict[str, Any]) -> None:
        unknown = set(config["controls"]) - set(self.camera_controls)
        if unknown:
            raise RuntimeError(f"Control {unknown.pop()} is not advertised by libcamera")
        main, lores = dict(config["main"]), config["lores"]
        main["format"] = self._sensor.delivered_format or main["format"]
        if main["format"] not in _BYTES_PER_PIXEL:
            raise RuntimeError(f"Bad format {main['format']} in stream main")
        main["stride"] = _aligned(main["size"][0] * _BYTES_PER_PIXEL[main["format"]])
        if lores is not None:
            lores = dict(lores)
            if lores["format"] != "YUV420":
                raise RuntimeError("lores stream must be YUV")
            if lores["size"][0] > main["size"][0] or lores["size"][1] > main["size"][1]:
                raise RuntimeError("lores stream dimensions may not exceed main stream")
            lores["stride"] = _aligned(lores["size"][0])
        self._config = {**config, "main": main, "lores": lores}

    def camera_configuration(self) -> dict[str, Any]:
        assert self._config is not None
        return self._config

    def start(self, config: Any = None, show_preview: bool | None = False) -> None:
        if self._config is None:
            raise RuntimeError("Camera has not been configured")
        if self._sensor.fails_to_start:
            raise RuntimeError("Failed to start camera: Cannot allocate memory")
        self._started_at = time.monotonic()

    def capture_request(self, wait: float | bool | None = None, flush: bool | None = None) -> Any:
        if not wait and wait is not None:
            return SimpleNamespace(get_result=lambda timeout=None: self.capture_request(timeout))
        deadline = time.monotonic() + (1e9 if wait is None or wait is True else float(wait))
        self._jobs += 1
        while True:
            number = self._newest()
            if number > self._seen:
                break
            if time.monotonic() >= deadline:
                raise TimeoutError
            time.sleep(0.001)
        self._jobs -= 1
        self._seen = number
        self._held += 1
        return CompletedRequest(self, number)

    def _newest(self) -> int:
        """The newest completed frame's number, or one that was seen already when none can be made."""
        assert self._config is not None
        # A job left behind by a timeout takes a buffer and never gives it back.
        free = self._config["buffer_count"] - self._held - self._jobs + 1
        if self._started_at is None or self._sensor.stalled or free <= 0:
            return -1
        return self._sensor.frame_number(time.monotonic(), self._started_at) - 1

    def cancel_all_and_flush(self) -> None:
        self._sensor.calls.append("cancel_all_and_flush")
        self._jobs = 0

    def stop(self) -> None:
        self._sensor.calls.append("stop")
        time.sleep(self._sensor.stop_hangs_for)
        self._started_at = None

    def close(self) -> None:
        self._sensor.calls.append("close")
        if self._is_open:
            self._is_open = False
            self._sensor.in_use = False


class CompletedRequest:
    def __init__(self, camera: Picamera2, number: int) -> None:
        self._camera: Picamera2 | None = camera
        self._config = camera.camera_configuration()
        self._sensor = camera._sensor
        self._number = number
        assert camera._started_at is not None
        self._exposed_at = camera._started_at + number * self._sensor.frame_seconds

    def get_metadata(self) -> dict[str, Any]:
        return {
            "SensorTimestamp": round(self._exposed_at * 1e9),
            "FrameDuration": round(self._sensor.frame_seconds * 1e6),
            "AeLocked": self._number >= self._sensor.settles_after,
        }

    def make_array(self, name: str) -> NDArray[np.uint8]:
        assert self._camera is not None, "the request was released"
        stream = self._config[name]
        if stream is None:
            raise RuntimeError(f"Stream {name!r} is not defined")
        rgb = cv2.resize(self._sensor.scene(self._number), stream["size"], interpolation=cv2.INTER_AREA)
        return in_memory(np.asarray(rgb, np.uint8), stream)

    def release(self) -> None:
        assert self._camera is not None, "the request was released twice"
        self._camera._held -= 1
        self._camera = None


_BYTES_PER_PIXEL = {"RGB888": 3, "BGR888": 3, "XRGB8888": 4, "XBGR8888": 4, "YUV420": 1, "YUYV": 2, "NV12": 1}


def _aligned(bytes_per_row: int) -> int:
    return -(-bytes_per_row // 64) * 64


def in_memory(rgb: NDArray[np.uint8], stream: dict[str, Any]) -> NDArray[np.uint8]:
    """As picamera2's `make_array`: RGB formats cut to their width, YUV420 with its padding."""
    match stream["format"]:
        case "BGR888":
            return rgb
        case "RGB888":
            return np.ascontiguousarray(rgb[:, :, ::-1])
        case "XBGR8888":
            return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)
        case "XRGB8888":
            return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2BGRA), np.uint8)
        case "YUV420":
            return _padded(rgb, stream["stride"])
        case other:
            raise RuntimeError(f"Format {other} not supported")


def _padded(rgb: NDArray[np.uint8], stride: int) -> NDArray[np.uint8]:
    """I420 planes with rows of `stride` (luma) and `stride` / 2 (chroma) bytes, as (height * 3/2, stride)."""
    height, width = rgb.shape[:2]
    planes = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8).reshape(-1)
    luma = planes[: height * width].reshape(height, width)
    chroma = planes[height * width :].reshape(height, width // 2)  # both planes, one above the other
    rubbish = np.arange(height * 3 // 2 * stride, dtype=np.uint32).astype(np.uint8)
    result = rubbish.reshape(height * 3 // 2, stride).copy()
    result[:height, :width] = luma
    result[height:].reshape(height, stride // 2)[:, : width // 2] = chroma
    return result

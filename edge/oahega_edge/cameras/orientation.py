"""How the camera hangs: the picture turned, mirrored and cut to the part that matters."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, Self

import cv2
import numpy as np

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.errors import CameraError

EVERYTHING = Box(0.0, 0.0, 1.0, 1.0)
Rotation = Literal[0, 90, 180, 270]
_TURNS = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}


@dataclass(frozen=True, slots=True)
class Orientation:
    """Applied in this order: rotate, mirror, cut. All that follows, boxes too, is in output orientation."""

    rotate: Rotation = 0
    """Degrees clockwise by which the picture is turned."""
    mirror: bool = False
    """Left and right swapped, as in a mirror."""
    roi: Box | None = None
    """The part kept, in unit coordinates of the turned and mirrored picture; None keeps all."""

    def __post_init__(self) -> None:
        if self.rotate not in (0, 90, 180, 270):
            raise ValueError(f"rotate must be 0, 90, 180 or 270 degrees, got {self.rotate}")
        if self.roi is not None and self.roi.clipped() != self.roi:
            raise ValueError(f"roi must lie inside 0..1, got {self.roi}")

    def __call__(self, frame: Frame) -> Frame:
        """The frame as people see it."""
        if self == Orientation():
            return frame
        overview = None if frame.overview is None else orient(frame.overview, self)
        return dataclasses.replace(frame, pixels=orient(frame.pixels, self), overview=overview)


def orient(pixels: Pixels, orientation: Orientation) -> Pixels:
    """Turn, mirror and cut one picture; the result may be a view of the input."""
    if orientation.rotate:
        pixels = np.asarray(cv2.rotate(pixels, _TURNS[orientation.rotate]), np.uint8)
    if orientation.mirror:
        pixels = np.asarray(cv2.flip(pixels, 1), np.uint8)
    return pixels if orientation.roi is None else _cut(pixels, orientation.roi)


def _cut(pixels: Pixels, roi: Box) -> Pixels:
    height, width = pixels.shape[:2]
    left, top = min(round(roi.left * width), width - 1), min(round(roi.top * height), height - 1)
    right, bottom = max(round(roi.right * width), left + 1), max(round(roi.bottom * height), top + 1)
    return np.ascontiguousarray(pixels[top:bottom, left:right])


class Oriented(Camera):
    """A camera whose frames come oriented; only frames that are read are turned."""

    def __init__(self, camera: Camera, orientation: Orientation) -> None:
        self._camera = camera
        self._orientation = orientation
        self.live = camera.live

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.__exit__(kind, error, trace)

    def read(self, timeout: float) -> Frame:
        """As the camera inside."""
        return self._orientation(self._camera.read(timeout))

    def abort(self) -> None:
        """See `Camera.abort`."""
        self._camera.abort()

    def reset(self) -> None:
        """As the camera inside."""
        self._camera.reset()


def oriented(camera: Camera, *, rotate: int, mirror: bool, roi: Box | None) -> Camera:
    """`camera` itself when nothing is to be done, else wrapped. Raises CameraError for impossible values."""
    if roi == EVERYTHING:
        roi = None
    try:
        orientation = Orientation(rotate, mirror, roi)  # type: ignore[arg-type]  # checked there
    except ValueError as error:
        raise CameraError(f"{error}; correct camera.rotate and camera.roi in the settings") from error
    return camera if orientation == Orientation() else Oriented(camera, orientation)

"""The camera's picture for whoever mounts the device: for a few minutes, and never after a mute."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence

import cv2

from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box

LONGEST_MIN = 60.0
LARGEST_SIDE = 640
"""Pixels of the picture that is shown."""
QUALITY = 60
LARGEST_TEXT = 150_000
"""Characters of one picture; the kernel takes a packet of about 200 kB."""


class Mounting:
    """Whether the picture may be shown. Any thread may ask and open."""

    def __init__(self, clock: Callable[[], float], mutes: Callable[[], int]) -> None:
        """`clock`: monotonic seconds; `mutes`: how often the device has been muted so far."""
        self._clock = clock
        self._mutes = mutes
        self._until = float("-inf")
        self._opened_at_mute = 0

    @property
    def is_open(self) -> bool:
        """Until the time is over or the device is muted, also for a moment."""
        return self._clock() < self._until and self._mutes() == self._opened_at_mute

    def open(self, minutes: object) -> None:
        """From now on for so long; 0 ends it. ValueError for what is no such time."""
        if (
            isinstance(minutes, bool)
            or not isinstance(minutes, int | float)
            or not 0 <= minutes <= LONGEST_MIN
        ):
            raise ValueError(f"minutes {minutes!r}: expected a number from 0 to {LONGEST_MIN:g}")
        self._opened_at_mute = self._mutes()
        self._until = self._clock() + 60 * minutes


def picture(frame: Frame, masks: Sequence[Box] = ()) -> str | None:
    """A small JPEG of the frame in base64, masked regions black; None where it would be too large."""
    view = frame.view
    shrink = min(1.0, LARGEST_SIDE / max(view.shape[:2]))
    size = max(1, round(view.shape[1] * shrink)), max(1, round(view.shape[0] * shrink))
    small = cv2.cvtColor(cv2.resize(view, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2BGR)
    height, width = small.shape[:2]
    for mask in masks:
        small[
            int(mask.top * height) : round(mask.bottom * height),
            int(mask.left * width) : round(mask.right * width),
        ] = 0
    done, jpeg = cv2.imencode(".jpg", small, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    text = base64.b64encode(jpeg.tobytes()).decode() if done else ""
    return text if 0 < len(text) <= LARGEST_TEXT else None

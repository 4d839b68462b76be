"""Picture quality: figures for mounting the camera, faults for the recovery."""

from __future__ import annotations

from enum import StrEnum

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Frame, Pixels

BLUR_SIZE = (320, 240)
"""Pictures are brought to this size first, so that figures of different cameras compare."""
BLACK_BELOW = 8
"""0..255; almost every value of a covered or dead sensor is lower, a dark room's noise is brighter."""
BLACK_SHARE = 0.99
FROZEN_AFTER = 10.0
"""Seconds. H.264 streams of a still scene may repeat a frame exactly until their next key frame."""
TORN_SHARE = 0.08
"""Least height of a broken band, of the frame's; one macroblock row of 16 of 240 lines is 0.07."""
TORN_TOLERANCE = 2
"""Largest difference from row to row inside a broken band, 0..255; JPEG's rounding, no sensor's noise."""


class Problem(StrEnum):
    """What can be wrong with a frame."""

    BLACK = "black"
    """Nothing to see: covered, unplugged behind a converter, or no light at all."""
    FROZEN = "frozen"
    """The same pixels for too long: the driver repeats its last buffer."""
    TORN = "torn"
    """The lower part was not decoded: packets or bytes were lost."""


def brightness(pixels: Pixels) -> float:
    """Mean Rec. 601 luma, 0..255; 60 to 190 is good for faces."""
    red, green, blue = pixels[::4, ::4].reshape(-1, 3).mean(axis=0)
    return float(0.299 * red + 0.587 * green + 0.114 * blue)


def sharpness(pixels: Pixels, size: tuple[int, int] = BLUR_SIZE) -> float:
    """Variance of the Laplacian of the grey picture at `size`: at 320x240, below about 50 it is blurred.

    Pech-Pacheco et al., Diatom autofocusing in brightfield microscopy, ICPR 2000.
    """
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(small, cv2.COLOR_RGB2GRAY)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def is_black(pixels: Pixels) -> bool:
    """Almost every pixel is darker than any lit scene's."""
    sample = pixels[::16, ::16]
    return int(np.count_nonzero(sample < BLACK_BELOW)) >= BLACK_SHARE * sample.size


def is_torn(pixels: Pixels) -> bool:
    """The rows at the bottom repeat one another while the rest of the picture does not.

    A decoder that loses data leaves grey (JPEG), green (H.264 in YUV zeros), or the last good row
    drawn out to the bottom; a sensor never gives two equal rows. Black and white bands do not count:
    letterbox bars and overexposed tables are whole.
    """
    height = pixels.shape[0]
    least = max(2, round(height * TORN_SHARE))
    if height < 2 * least:
        return False
    sample = pixels[:, :: max(1, pixels.shape[1] // 160)]
    if _rows_differ(sample[height - least :]) or not _rows_differ(sample[: height - least]):
        return False
    last = sample[-1]
    return not (int(last.max()) < 24 or int(last.min()) > 240)


def _rows_differ(rows: NDArray[np.uint8]) -> bool:
    steps = np.abs(np.diff(rows.astype(np.int16), axis=0))
    return int(steps.max(initial=0)) > TORN_TOLERANCE


class FrameWatch:
    """Looks at each frame of a live camera.

    For live cameras only: files, drawn pictures and screens may repeat a frame or a row by right.
    """

    def __init__(self, frozen_after: float = FROZEN_AFTER) -> None:
        """`frozen_after`: seconds of exactly equal pixels that make a picture frozen."""
        self._frozen_after = frozen_after
        self._rows: NDArray[np.uint8] | None = None
        self._since = 0.0

    def see(self, frame: Frame, now: float) -> frozenset[Problem]:
        """What is wrong with this frame; `now` in monotonic seconds. Empty when all is well."""
        problems = set()
        if is_black(frame.pixels):
            problems.add(Problem.BLACK)  # a covered sensor may well give exact zeros: that is not frozen
            self._rows = None
            return frozenset(problems)
        if self._is_frozen(frame.pixels, now):
            problems.add(Problem.FROZEN)
        if is_torn(frame.pixels):
            problems.add(Problem.TORN)
        return frozenset(problems)

    def _is_frozen(self, pixels: Pixels, now: float) -> bool:
        rows = pixels[::8]  # noise is everywhere, so every eighth row tells as much as all
        if self._rows is None or not np.array_equal(rows, self._rows):
            self._rows = rows.copy()
            self._since = now
        return now - self._since > self._frozen_after

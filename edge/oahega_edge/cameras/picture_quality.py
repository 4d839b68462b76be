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
TORN_AT_MOST = 1.0
"""Seconds. What stays in the same place for longer belongs to the scene: a caption, a desk, a bezel."""
SAME_PLACE = 0.05
"""Of the frame's height; a compressed picture of one and the same band varies by less."""
REPLACED = 10.0
"""Mean difference, 0..255, from which a band shows something else than the picture before."""
GREY = 128
"""What JPEG decoders write for blocks that they did not get."""
FILL_TOLERANCE = 4
DETAIL = 24
"""Range of values along a row, 0..255, from which a row that was drawn out cannot be an even surface."""


class Problem(StrEnum):
    """What can be wrong with a frame."""

    BLACK = "black"
    """Nothing to see: covered, unplugged behind a converter, or no light at all."""
    FROZEN = "frozen"
    """The same pixels for too long: the driver repeats its last buffer."""
    TORN = "torn"
    """The lower part has just been lost: packets or bytes did not reach the decoder."""


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


def filled_rows(pixels: Pixels) -> int:
    """Rows at the bottom that look as decoders leave them when data is lost; 0 when there are too few.

    They leave grey (JPEG), green (H.264: zeros in YUV), or the last good row drawn out to the bottom. An even
    surface of another colour is not counted: letterbox bars, captions, desks and bezels are whole.
    """
    sample = _columns(pixels)
    least = max(2, round(len(sample) * TORN_SHARE))
    if len(_breaks(sample[-least:])) or not _is_fill(sample[-1]):
        return 0  # nearly every picture ends here, before all of its rows are compared
    breaks = _breaks(sample)
    # Rows that are equal from top to bottom are a test card.
    return len(sample) - 1 - int(breaks[-1]) if len(breaks) else 0


def _breaks(rows: Pixels) -> NDArray[np.intp]:
    """Where a row differs from the one below it."""
    steps = np.abs(np.diff(rows.astype(np.int16), axis=0)).max(axis=(1, 2), initial=0)
    return np.flatnonzero(steps > TORN_TOLERANCE)


def _columns(pixels: Pixels) -> Pixels:
    """Some 160 columns; what a decoder loses, it loses across the whole width."""
    return pixels[:, :: max(1, pixels.shape[1] // 160)]


def _is_fill(row: Pixels) -> bool:
    """Grey, the green of YUV zeros (its strength depends on the colour matrix), or a row with detail."""
    darkest, brightest = row.min(axis=0).astype(int), row.max(axis=0).astype(int)
    is_grey = darkest.min() >= GREY - FILL_TOLERANCE and brightest.max() <= GREY + FILL_TOLERANCE
    red, green, blue = brightest
    is_green = max(red, blue) <= FILL_TOLERANCE and darkest[1] >= 60 and green <= 170
    return bool(is_grey or is_green or (brightest - darkest).max() >= DETAIL)


class FrameWatch:
    """Looks at each frame of a live camera.

    For live cameras only: files, drawn pictures and screens may repeat a frame or a row by right.
    """

    def __init__(self, frozen_after: float = FROZEN_AFTER) -> None:
        """`frozen_after`: seconds of exactly equal pixels that make a picture frozen."""
        self._frozen_after = frozen_after
        self._rows: NDArray[np.uint8] | None = None
        self._since = 0.0
        self._whole: Pixels | None = None
        self._band = 0
        self._band_since = 0.0

    def see(self, frame: Frame, now: float) -> frozenset[Problem]:
        """What is wrong with this frame; `now` in monotonic seconds. Empty when all is well."""
        problems = set()
        if is_black(frame.pixels):
            problems.add(Problem.BLACK)  # a covered sensor may well give exact zeros: that is not frozen
            self._rows = None
            return frozenset(problems)
        if self._is_frozen(frame.pixels, now):
            problems.add(Problem.FROZEN)
        if self._is_torn(frame.pixels, now):
            problems.add(Problem.TORN)
        return frozenset(problems)

    def _is_torn(self, pixels: Pixels, now: float) -> bool:
        """Whether a decoder's fill has just replaced what was there; one that was or stays there has not."""
        band = filled_rows(pixels)
        sample = _columns(pixels)
        if not (band and self._is_replaced(sample, band)):
            band = 0
        if not band or abs(band - self._band) > SAME_PLACE * len(sample):
            self._band, self._band_since = band, now
        if band and now - self._band_since < TORN_AT_MOST:
            return True
        self._whole, self._band = sample.copy(), 0
        return False

    def _is_replaced(self, sample: Pixels, band: int) -> bool:
        """Whether the lowest `band` rows differ from the last whole picture's; there must have been one."""
        if self._whole is None or self._whole.shape != sample.shape:
            return False
        change = cv2.absdiff(sample[-band:], self._whole[-band:])
        return float(np.asarray(change).mean()) >= REPLACED

    def _is_frozen(self, pixels: Pixels, now: float) -> bool:
        rows = pixels[::8]  # noise is everywhere, so every eighth row tells as much as all
        if self._rows is None or not np.array_equal(rows, self._rows):
            self._rows = rows.copy()
            self._since = now
        return now - self._since > self._frozen_after

"""The motion gate: the detector can rest while no face is tracked and the scene has not changed.

A frame is compared with the last one that the detector saw, never with the one before: what changes too
slowly to differ from frame to frame (a turning head, a person behind glass) adds up until
it is seen.
"""

from __future__ import annotations

from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Frame

CELLS = (40, 30)
"""The picture is compared at this size: a cell is 16 px of 640x480, the least face that is read is 28 px."""
SAMPLED_WIDTH = 160
"""A cell is the mean of 16 sampled pixels; reading all of them would cost more than it is worth."""
LEAST_CHANGE = 3.0
"""Grey levels of one cell's mean; half of what a pale face at dusk differs from its background."""
NOISE = 6.0
"""A changed cell differs by more than this multiple of the noise that all cells show."""
MOST_CHANGE = 10.0
"""Grey levels; a larger difference is a change whatever the noise."""
SPARSE = 2
"""Step between the rows and columns of cells that light and noise are read from; 300 cells are enough."""
MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to standard deviation of a normal distribution."""


class Gate(Protocol):
    """Decides whether the detector must look at a frame while no face is tracked."""

    def is_still(self, frame: Frame) -> bool:
        """Whether the detector's last look at the empty scene still holds."""
        ...

    def looked(self, frame: Frame) -> None:
        """The detector has looked at this frame."""
        ...

    def forget(self) -> None:
        """The camera was closed, so the next frame must be looked at."""
        ...


class OpenGate:
    """Every frame is looked at."""

    def is_still(self, frame: Frame) -> bool:
        """Never."""
        return False

    def looked(self, frame: Frame) -> None:
        """Not remembered."""

    def forget(self) -> None:
        """Nothing to forget."""


class MotionGate:
    """A frame is still while it matches, cell by cell, the last one that the detector saw."""

    def __init__(self, look_every: float) -> None:
        """`look_every`: seconds after which the detector looks at a still scene as well."""
        self._look_every = look_every
        self._cells: NDArray[np.float32] | None = None
        self._looked_at = 0.0

    def is_still(self, frame: Frame) -> bool:
        """Whether this frame differs from the last one looked at by noise only."""
        if self._cells is None or not 0 <= frame.captured_at - self._looked_at < self._look_every:
            return False
        return not _differs(_cells(frame), self._cells)

    def looked(self, frame: Frame) -> None:
        """Compare with this frame from now on."""
        self._cells = _cells(frame)
        self._looked_at = frame.captured_at

    def forget(self) -> None:
        """The next frame must be looked at."""
        self._cells = None


def _cells(frame: Frame) -> NDArray[np.float32]:
    """Means of the green channel: most of the light, and a third of the bytes."""
    pixels = frame.view
    step = max(1, pixels.shape[1] // SAMPLED_WIDTH)
    green = pixels[::step, ::step, 1].astype(np.float32)
    return np.asarray(cv2.resize(green, CELLS, interpolation=cv2.INTER_AREA), np.float32)


def _differs(now: NDArray[np.float32], then: NDArray[np.float32]) -> bool:
    """Whether some cell changed by more than light (all cells alike) and noise (all cells a little) do."""
    change = now - then
    sample = change[::SPARSE, ::SPARSE].ravel()
    light = float(np.median(sample))
    noise = MAD_TO_SIGMA * float(np.median(np.abs(sample - light)))
    largest = max(float(change.max()) - light, light - float(change.min()))
    return largest > min(max(LEAST_CHANGE, NOISE * noise), MOST_CHANGE)

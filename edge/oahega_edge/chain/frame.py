"""One picture from a camera, with the two clocks that belong to it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
"""Height x width x 3, RGB."""


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A frame as every camera adapter must deliver it: RGB, rotated and mirrored as set."""

    pixels: Pixels
    """Full resolution; faces are cropped from it."""
    captured_at: float
    """Monotonic seconds at exposure; for files, the clip's own time."""
    taken_at: datetime
    """The same moment in UTC."""
    sequence: int
    """Counts the frames of one source from 0; a gap is a dropped frame."""
    overview: Pixels | None = None
    """The same view in a lower resolution where the camera gives one for free; the detector's."""

    def __post_init__(self) -> None:
        for name, pixels in (("pixels", self.pixels), ("overview", self.overview)):
            if pixels is not None and (
                pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or 0 in pixels.shape
            ):
                raise ValueError(
                    f"frame {name} must be height x width x 3 uint8, got {pixels.shape} {pixels.dtype}"
                )

    @property
    def view(self) -> Pixels:
        """The smallest picture of the whole view: the overview where there is one."""
        return self.pixels if self.overview is None else self.overview

    @property
    def width(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        """Pixels."""
        return int(self.pixels.shape[0])

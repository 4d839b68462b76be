"""Where the face is on a training picture, and how the device crops it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.manifest import Crop, InputTensor


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the device's detector finds the face on a training picture, and how the device then crops it."""

    box_width: float = 0.77
    """Share of the picture's width: the median of what YuNet finds on FER+ (see build/README.md)."""
    box_height: float = 0.99
    middle_x: float = 0.5
    middle_y: float = 0.49
    scale: float = 1.01
    """`Crop.scale`, chosen so that the device crops what the training pictures show."""
    shift: float = 0.01
    """`Crop.shift`."""
    kernel: Literal["area", "linear"] = "area"

    @property
    def box(self) -> Box:
        """The detector's box on a training picture."""
        return Box(
            self.middle_x - self.box_width / 2,
            self.middle_y - self.box_height / 2,
            self.middle_x + self.box_width / 2,
            self.middle_y + self.box_height / 2,
        )

    def box_in(self, width: int, height: int) -> Box:
        """The box in pixels of a picture of this size."""
        box = self.box
        return Box(box.left * width, box.top * height, box.right * width, box.bottom * height)

    @property
    def crop(self) -> Crop:
        """The crop in the manifest's terms."""
        return Crop(scale=self.scale, shift=self.shift, kernel=self.kernel)


def crop_sample(pixels: NDArray[np.uint8], framing: Framing, input_: InputTensor) -> NDArray[np.uint8]:
    """The face as the device crops it when its detector finds `framing.box`."""
    return crop_face(pixels, framing.box, input_, framing.crop)

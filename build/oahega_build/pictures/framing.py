"""Where the face is on a training picture, and how the device crops it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.manifest import Crop, InputTensor


@dataclass(frozen=True, slots=True)
class Framing:
    """Where the face is on a training picture, and how the device crops it; as it stands, the whole picture.

    The box is what the embedded detector finds: by its median in scenes (`evaluate-scenes` prints it) it is
    2 % wider and 3 to 4 % higher than the labelled one and lies 1 % lower.
    """

    box_width: float = 0.785
    """Share of the picture's width."""
    box_height: float = 1.027
    middle_x: float = 0.5
    middle_y: float = 0.504
    scale: float = 1 / 1.027
    """`Crop.scale`."""
    shift: float = -0.004 / 1.027
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


LABELLED_FRAMING = Framing(box_width=0.77, box_height=0.99, middle_y=0.49, scale=1.01, shift=0.01)
"""The same with the box of the teacher that labels faces for the detector: the median of what YuNet finds on
FER+ (see build/README.md). Pasted faces have it."""


def square_framing(side: float, lower: float) -> Framing:
    """The framing that crops a square of `side` of the picture's, its middle `lower` below the picture's."""
    whole = Framing()
    shift = (0.5 + lower - whole.middle_y) / whole.box_height
    return replace(whole, scale=side / whole.box_height, shift=shift)


def box_of_crop(crop: Crop, width: int = 1, height: int = 1) -> Box:
    """Where the face is on a picture that was cropped before: `crop` cuts out its middle square.

    `width`, `height`: of the picture, pixels.
    """
    side = min(width, height)
    across, down = side / crop.scale / width, side / crop.scale / height
    middle = 0.5 - crop.shift * down
    return Box(0.5 - across / 2, middle - down / 2, 0.5 + across / 2, middle + down / 2)


def device_crop(pixels: NDArray[np.uint8], input_: InputTensor, crop: Crop) -> NDArray[np.uint8]:
    """What a device with this crop makes of a picture that is framed as training pictures are."""
    return crop_face(pixels, Framing().box, input_, crop)


def crop_sample(pixels: NDArray[np.uint8], framing: Framing, input_: InputTensor) -> NDArray[np.uint8]:
    """The face as the device crops it when its detector finds `framing.box`."""
    return crop_face(pixels, framing.box, input_, framing.crop)

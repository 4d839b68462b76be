"""Write golden_crop.npz: `python tests/data/make_golden_crop.py`.

A drawn picture, a face box that reaches over its edge, and the two tensors (grey 48, RGB 96) that
preprocessing must make of it. Written once; made again only when preprocessing changes on purpose.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, crop_face, golden_pixels
from oahega_edge.manifest import Crop, InputTensor, Quantization

GOLDEN = Path(__file__).parent / "golden_crop.npz"
PICTURE_WIDTH, PICTURE_HEIGHT = 213, 160
BOX = Box(0.55, 0.2, 1.04, 0.97)
"""Reaches over the right edge, and its sides fall between pixels."""
CROP = Crop(scale=1.01, shift=0.01, kernel="area")
GREY = InputTensor(
    width=48,
    height=48,
    colour="grey",
    dtype="int8",
    quantization=Quantization(scale=1 / 128, zero_point=0),
    pixel_scale=1 / 128,
    pixel_offset=-1.0,
)
RGB = InputTensor(
    width=96,
    height=96,
    colour="rgb",
    dtype="int8",
    quantization=Quantization(scale=1 / 127.5, zero_point=-1),
    pixel_scale=1 / 127.5,
    pixel_offset=-1.0,
)


def drawn_picture() -> NDArray[np.uint8]:
    """The seeded pattern of the self-test, at a size that no model has: the same bytes everywhere."""
    size = InputTensor(
        width=PICTURE_WIDTH,
        height=PICTURE_HEIGHT,
        colour="rgb",
        dtype="float32",
        pixel_scale=1.0,
        pixel_offset=0.0,
    )
    return golden_pixels(size, seed=2022)


def main() -> None:
    """Compute both tensors with the device's functions and write them."""
    picture = drawn_picture()
    tensors = {
        name: Quantizer(input_)(crop_face(picture, BOX, input_, CROP))
        for name, input_ in (("grey", GREY), ("rgb", RGB))
    }
    np.savez_compressed(GOLDEN, **tensors)


if __name__ == "__main__":
    main()

"""Pixels to tensors: the only place where a picture is resized, cropped or quantized.

The device and the trainer call these same functions, so they cannot disagree.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.manifest import Crop, EmotionEntry, InputTensor, Resize

_KERNELS = {"area": cv2.INTER_AREA, "linear": cv2.INTER_LINEAR}
_DTYPES: dict[str, type[np.generic]] = {"int8": np.int8, "uint8": np.uint8, "float32": np.float32}


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the picture lies on the detector's input, in units of that input."""

    width: float
    height: float

    def to_picture(self, boxes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Boxes (n, 4: left, top, right, bottom) from units of the input to units of the picture."""
        scale = np.array([self.width, self.height, self.width, self.height])
        return np.asarray(boxes / scale, np.float64)


def fit_picture(pixels: Pixels, input_: InputTensor, resize: Resize) -> tuple[Pixels, Placement]:
    """The picture at the input's size (height, width, 3), and where it lies there."""
    size = (input_.width, input_.height)
    placement = Placement(1.0, 1.0)
    if resize.fit == "letterbox":
        ratio = min(input_.width / pixels.shape[1], input_.height / pixels.shape[0])
        size = (
            max(1, min(input_.width, round(pixels.shape[1] * ratio))),
            max(1, min(input_.height, round(pixels.shape[0] * ratio))),
        )
        placement = Placement(size[0] / input_.width, size[1] / input_.height)
    small = resize_pixels(pixels, size, resize.kernel)
    if size != (input_.width, input_.height):
        canvas = np.full((input_.height, input_.width, 3), resize.pad, np.uint8)
        canvas[: size[1], : size[0]] = small
        small = canvas
    return small, placement


def resize_pixels(pixels: NDArray[np.uint8], size: tuple[int, int], kernel: str) -> NDArray[np.uint8]:
    """`pixels` at `size` (width, height) by the named kernel of the manifest."""
    if (pixels.shape[1], pixels.shape[0]) == size:
        return pixels
    return np.asarray(cv2.resize(pixels, size, interpolation=_KERNELS[kernel]), np.uint8)


def crop_square(width: int, height: int, box: Box, crop: Crop) -> tuple[int, int, int]:
    """Left, top and side in pixels of the square that `crop` cuts for a face at `box`."""
    box_width, box_height = box.width * width, box.height * height
    longer = max(box_width, box_height)
    side = max(2, round(longer * crop.scale))
    middle_x = (box.left + box.right) / 2 * width
    middle_y = (box.top + box.bottom) / 2 * height + crop.shift * longer
    return round(middle_x - side / 2), round(middle_y - side / 2), side


def crop_face(pixels: Pixels, box: Box, input_: InputTensor, crop: Crop) -> NDArray[np.uint8]:
    """The face at `box` as the classifier sees it: (height, width) for grey, (height, width, 3) for rgb."""
    frame_height, frame_width = pixels.shape[:2]
    left, top, side = crop_square(frame_width, frame_height, box, crop)
    inside = pixels[
        max(0, top) : max(0, min(frame_height, top + side)),
        max(0, left) : max(0, min(frame_width, left + side)),
    ]
    if 0 in inside.shape:
        raise ValueError(f"face box {box} lies outside the {frame_width}x{frame_height} picture")
    if inside.shape[:2] != (side, side):
        padded = cv2.copyMakeBorder(
            inside,
            max(0, -top),
            side - inside.shape[0] - max(0, -top),
            max(0, -left),
            side - inside.shape[1] - max(0, -left),
            cv2.BORDER_REPLICATE,
        )
        inside = np.asarray(padded, np.uint8)
    return as_classifier_input(inside, input_, crop.kernel)


@dataclass(frozen=True, slots=True)
class Cut:
    """How a face is cut out of one frame."""

    crop: Crop
    is_mirrored: bool = False


def cuts_of(entry: EmotionEntry) -> tuple[Cut, ...]:
    """How a face is cut out of its frames in turn: its first crop, and the second if there is one."""
    first, second = entry.crop, entry.second_crop
    if second is None:
        return (Cut(first),)
    other = first.model_copy(update={"scale": second.scale, "shift": second.shift})
    return Cut(first), Cut(other, second.mirrored)


def cut_face(pixels: Pixels, box: Box, input_: InputTensor, cut: Cut) -> NDArray[np.uint8]:
    """The same as `crop_face`, turned left to right where the cut says so."""
    face = crop_face(pixels, box, input_, cut.crop)
    return np.asarray(cv2.flip(face, 1), np.uint8) if cut.is_mirrored else face


def as_classifier_input(square: NDArray[np.uint8], input_: InputTensor, kernel: str) -> NDArray[np.uint8]:
    """A cropped face, RGB or grey, at the classifier's size and colour."""
    small = resize_pixels(square, (input_.width, input_.height), kernel)
    if input_.colour == "grey" and small.ndim == 3:
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), np.uint8)
    if input_.colour == "rgb" and small.ndim == 2:
        return np.asarray(cv2.cvtColor(small, cv2.COLOR_GRAY2RGB), np.uint8)
    return small


class Quantizer:
    """Pixels of the input's size to its tensor, through a table of the 256 possible answers."""

    def __init__(self, input_: InputTensor) -> None:
        self._input = input_
        real = np.arange(256) * input_.pixel_scale + input_.pixel_offset
        if input_.quantization is None:
            self._table: NDArray[Any] = real.astype(np.float32)
        else:
            kind = _DTYPES[input_.dtype]
            limits = np.iinfo(kind)  # type: ignore[type-var]
            steps = np.round(real / input_.quantization.scale) + input_.quantization.zero_point
            self._table = np.clip(steps, limits.min, limits.max).astype(kind)

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[Any]:
        """(height, width[, 3]) uint8 -> (1, height, width, channels) of the input's dtype."""
        return cv2.LUT(pixels, self._table).reshape(self._input.shape)


def golden_pixels(input_: InputTensor, seed: int) -> NDArray[np.uint8]:
    """A picture made of `seed` alone: coarse blobs and fine grain, the same bytes on every machine.

    SHAKE-256 and integer arithmetic, because random generators and resize kernels are not promised
    to stay the same.
    """
    height, width, channels = input_.height, input_.width, input_.channels
    coarse = _noise(f"coarse {seed}", (6, 6, channels)).astype(np.int32)
    rows = np.arange(height) * 5 * 256 // height
    columns = np.arange(width) * 5 * 256 // width
    r, c = rows >> 8, columns >> 8
    fr, fc = (rows & 255)[:, None, None], (columns & 255)[None, :, None]
    upper = coarse[r][:, c] * (256 - fc) + coarse[r][:, c + 1] * fc
    lower = coarse[r + 1][:, c] * (256 - fc) + coarse[r + 1][:, c + 1] * fc
    smooth = (upper * (256 - fr) + lower * fr) >> 16
    grain = _noise(f"grain {seed}", (height, width, channels)).astype(np.int32) - 128
    pixels = np.clip(smooth + (grain >> 3), 0, 255).astype(np.uint8)
    return pixels if channels == 3 else np.ascontiguousarray(pixels[:, :, 0])


def _noise(seed: str, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    data = hashlib.shake_256(seed.encode()).digest(int(np.prod(shape)))
    return np.frombuffer(data, np.uint8).reshape(shape)

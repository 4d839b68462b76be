"""Drawing for both trainings and for the drawn scenes: a part of a picture, a face on another one."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import resize_pixels

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class View:
    """A scaled and shifted picture: pixel on the canvas = pixel of the scene * scale + offset."""

    scale_x: float
    scale_y: float
    x: float
    y: float

    def edges(self, edges: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, 4) left, top, right, bottom, from pixels of the scene to pixels of the canvas."""
        scale, offset = np.array([self.scale_x, self.scale_y] * 2), np.array([self.x, self.y] * 2)
        return np.asarray(edges * scale + offset, np.float64)


def show(
    scene: Pixels, view: View, size: tuple[int, int], background: tuple[int, int, int], kernel: str
) -> tuple[Pixels, View]:
    """The scene on a canvas of `size`, and the view after rounding to whole pixels."""
    source, target = [], []
    for scale, offset, length, canvas in (
        (view.scale_x, view.x, scene.shape[1], size[0]),
        (view.scale_y, view.y, scene.shape[0], size[1]),
    ):
        first = int(np.clip(math.floor(-offset / scale), 0, length - 1))
        last = int(np.clip(math.ceil((canvas - offset) / scale), first + 1, length))
        source.append((first, last))
        target.append((round(first * scale + offset), round(last * scale + offset)))
    (x0, x1), (y0, y1) = source
    (left, right), (top, bottom) = target
    right, bottom = max(right, left + 1), max(bottom, top + 1)
    part = resize_pixels(np.ascontiguousarray(scene[y0:y1, x0:x1]), (right - left, bottom - top), kernel)
    canvas_pixels = np.empty((size[1], size[0], 3), np.uint8)
    canvas_pixels[:] = background
    inside = part[max(0, -top) : max(0, size[1] - top), max(0, -left) : max(0, size[0] - left)]
    y, x = max(0, top), max(0, left)
    canvas_pixels[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    scale_x, scale_y = (right - left) / (x1 - x0), (bottom - top) / (y1 - y0)
    return canvas_pixels, View(scale_x, scale_y, left - x0 * scale_x, top - y0 * scale_y)


def blend(canvas: Pixels, patch: NDArray[np.float32], mask: NDArray[np.float32], left: int, top: int) -> None:
    """Draw a patch (h, w, 3) with the opacity `mask` (h, w), 0..1; what lies outside is cut off."""
    rows = slice(max(0, top), min(canvas.shape[0], top + patch.shape[0]))
    columns = slice(max(0, left), min(canvas.shape[1], left + patch.shape[1]))
    part = (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))
    share = mask[part][..., None]
    mixed = canvas[rows, columns] * (1 - share) + patch[part] * share
    canvas[rows, columns] = np.clip(mixed, 0, 255).astype(np.uint8)


def outline(
    height: int,
    width: int,
    rng: np.random.Generator,
    power: Range = (2, 5),
    wide: Range = (0.8, 1.0),
    high: Range = (0.95, 1.15),
) -> NDArray[np.float32]:
    """A random mask (height, width) of a face, 0..1: between an ellipse and a rectangle, sharp or soft."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1
    columns = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
    exponent, half_width, half_height = rng.uniform(*power), rng.uniform(*wide), rng.uniform(*high)
    distance = np.abs(columns[None, :] / half_width) ** exponent
    distance = distance + np.abs(rows[:, None] / half_height) ** exponent
    return np.clip((1 - distance) / rng.uniform(0.05, 0.5), 0, 1).astype(np.float32)


def skin(picture: NDArray[np.uint8], face: Box) -> NDArray[np.uint8]:
    """Cheeks and nose: the inner half of a face whose edges are given in pixels."""
    (x, y), width, height = face.center, face.width / 4, face.height / 4
    rows = slice(max(0, int(y - height)), int(y + height) + 1)
    return picture[rows, max(0, int(x - width)) : int(x + width) + 1]


def jpeg(face: NDArray[np.uint8], quality: int) -> NDArray[np.uint8]:
    """The picture as JPEG compression at `quality` leaves it."""
    _, data = cv2.imencode(".jpg", face, (cv2.IMWRITE_JPEG_QUALITY, quality))
    flag = cv2.IMREAD_GRAYSCALE if face.ndim == 2 else cv2.IMREAD_COLOR
    return np.asarray(cv2.imdecode(data, flag), np.uint8)

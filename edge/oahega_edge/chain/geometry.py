"""Boxes in unit coordinates: 0..1 of the picture's width and height, origin top left."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle in unit coordinates. A Box that exists is finite and not empty.

    It may reach outside 0..1: a face at the edge of the picture is partly outside it.
    """

    left: float
    top: float
    right: float
    bottom: float

    def __post_init__(self) -> None:
        if not all(math.isfinite(edge) for edge in self.edges):
            raise ValueError(f"box edges must be finite, got {self.edges}")
        if not (self.left < self.right and self.top < self.bottom):
            raise ValueError(f"box must have left < right and top < bottom, got {self.edges}")

    @property
    def edges(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    @property
    def width(self) -> float:
        """Share of the picture's width."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """Share of the picture's height."""
        return self.bottom - self.top

    @property
    def area(self) -> float:
        """Share of the picture's area."""
        return self.width * self.height

    @property
    def center(self) -> tuple[float, float]:
        """x and y of the middle."""
        return (self.left + self.right) / 2, (self.top + self.bottom) / 2

    def iou(self, other: Box) -> float:
        """Intersection over union, 0..1."""
        shared = self.shared_area(other)
        return shared / (self.area + other.area - shared)

    def shared_area(self, other: Box) -> float:
        """Area of the intersection."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, width) * max(0.0, height)

    def clipped(self) -> Box | None:
        """The part inside the picture, or None when there is none."""
        left, top = max(0.0, self.left), max(0.0, self.top)
        right, bottom = min(1.0, self.right), min(1.0, self.bottom)
        return Box(left, top, right, bottom) if left < right and top < bottom else None

    def as_xywh(self) -> tuple[float, float, float, float]:
        """Left, top, width, height: the order of the published events."""
        return self.left, self.top, self.width, self.height


def edges_of(boxes: Iterable[Box]) -> NDArray[np.float64]:
    """(n, 4) left, top, right, bottom."""
    return np.array([box.edges for box in boxes], np.float64).reshape(-1, 4)


def shared_areas(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """The area that lies in both, of every box in `a` (n, 4) and every box in `b` (m, 4) -> (n, m).

    Rows are left, top, right, bottom in any one unit.
    """
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    return np.asarray(np.prod(np.clip(high - low, 0.0, None), axis=2), np.float64)


def iou_matrix(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.float64]:
    """Intersection over union of every box in `a` (n, 4) with every box in `b` (m, 4) -> (n, m).

    Rows are left, top, right, bottom in any one unit.
    """
    shared = shared_areas(a, b)
    area_a = np.prod(a[:, 2:] - a[:, :2], axis=1)
    area_b = np.prod(b[:, 2:] - b[:, :2], axis=1)
    union = area_a[:, None] + area_b[None, :] - shared
    result: NDArray[np.float64] = shared / np.maximum(union, 1e-12)
    return result

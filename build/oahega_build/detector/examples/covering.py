"""Masks, scarves, hands, sunglasses and caps drawn onto faces by their landmarks.

Photographs from before 2020 show few covered faces, and a detector that has never seen one misses them.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Pixels

Points = NDArray[np.float64]
"""Points (n, 2) as x, y in pixels."""
Colour = NDArray[np.float64]
"""A colour (3,) as RGB."""
KINDS = {"mask": 0.55, "scarf": 0.11, "hand": 0.1, "sunglasses": 0.14, "cap": 0.1}
"""Share of each kind of cover."""
HIDING = ("mask", "scarf", "hand")
"""Covers of the mouth, behind which an expression is not read."""
MASKS = ((235, 235, 235), (150, 190, 220), (40, 40, 45), (120, 150, 200), (205, 215, 210))
"""Usual colours of masks."""
LEAST = 12
"""Minimum height of a face, pixels; the landmarks of smaller faces are too inexact."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """The axes of a face in its picture (unit vectors to chin and left ear) and the places of its parts."""

    eyes: Points
    nose: Points
    mouth: Points
    """The middle of the mouth, (2,)."""
    down: Points
    aside: Points
    length: float
    """The distance from the middle of the eyes to that of the mouth."""
    left: float
    right: float
    """The distances from the nose to the edges of the box."""

    def at(self, aside: float, down: float) -> Points:
        """A point from the middle of the eyes: sideways in widths of that half, down in lengths."""
        width = self.right if aside > 0 else self.left
        middle = self.eyes.mean(axis=0) + self.down * self.length * down
        on_axis = self.nose - self.down * ((self.nose - middle) @ self.down)
        return np.asarray(on_axis + self.aside * aside * width)


def face_of(landmarks: Points, edges: NDArray[np.float64]) -> Face | None:
    """Build the axes from YuNet's five points and the box. None if they do not form a plausible face."""
    eyes, nose, mouth = landmarks[:2], landmarks[2], landmarks[3:].mean(axis=0)
    down = mouth - eyes.mean(axis=0)
    length = float(np.hypot(*down))
    if edges[3] - edges[1] < LEAST or length < 0.15 * (edges[3] - edges[1]):
        return None
    down = down / length
    aside = np.array([down[1], -down[0]])
    x = float(np.clip(nose[0], edges[0] + 1, edges[2] - 1))
    return Face(eyes, nose, mouth, down, aside, length, x - edges[0], edges[2] - x)


def cover(pixels: Pixels, landmarks: Points, edges: NDArray[np.float64], rng: np.random.Generator) -> bool:
    """Draw one or two covers onto the face in `pixels` (RGB, changed in place).

    Returns whether its mouth is hidden now.
    """
    face = face_of(landmarks, edges)
    if face is None:
        return False
    kinds = list(KINDS)
    kind = kinds[rng.choice(len(kinds), p=np.array(list(KINDS.values())))]
    DRAWN[kind](pixels, face, rng)
    if kind == "mask" and rng.random() < 0.25:
        DRAWN["sunglasses" if rng.random() < 0.5 else "cap"](pixels, face, rng)
    return kind in HIDING


def _mask(pixels: Pixels, face: Face, rng: np.random.Generator) -> None:
    top, side = rng.uniform(0.2, 0.6), rng.uniform(0.25, 0.65)
    low = rng.uniform(1.4, 1.75)
    half = [(0.0, top), (0.45, top + 0.1), (0.95, side), (0.85, 1.05), (0.5, low - 0.1), (0.0, low)]
    colour = _colour_of_mask(rng)
    for x in (-1, 1):  # the bands around the ears
        ear = face.at(1.05 * x, rng.uniform(0.0, 0.3))
        _line(pixels, face.at(0.9 * x, side), ear, colour, max(1, round(0.05 * face.length)))
    _fill(pixels, _both_sides(face, half, rng), colour, rng, folds=rng.random() < 0.5)


def _scarf(pixels: Pixels, face: Face, rng: np.random.Generator) -> None:
    top = rng.uniform(0.45, 0.85)
    half = [(0.0, top), (0.8, top + 0.05), (1.15, top + 0.15), (1.35, 1.6), (1.2, 2.3), (0.0, 2.4)]
    _fill(pixels, _both_sides(face, half, rng), rng.uniform(15, 240, 3), rng, folds=True, coarse=True)


def _hand(pixels: Pixels, face: Face, rng: np.random.Generator) -> None:
    x, y = np.clip((face.nose + face.mouth) / 2, 0, np.array(pixels.shape[1::-1]) - 1).astype(int)
    patch = pixels[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].reshape(-1, 3)
    skin = np.median(patch, axis=0) * rng.uniform(0.75, 1.1)
    turn = rng.uniform(-0.6, 0.6)
    middle = face.at(rng.uniform(-0.3, 0.3), rng.uniform(0.9, 1.2))
    along = face.aside * np.cos(turn) + face.down * np.sin(turn)
    across = np.array([-along[1], along[0]])
    width = max(1, round(0.24 * face.length))
    for finger in range(-2, 2):
        start = middle + across * (finger + 0.5) * 0.27 * face.length - along * 0.5 * face.length
        end = start + along * face.length * rng.uniform(0.9, 1.3)
        _line(pixels, start, end, skin * rng.uniform(0.85, 1.05), width)


def _sunglasses(pixels: Pixels, face: Face, rng: np.random.Generator) -> None:
    apart = float(np.hypot(*(face.eyes[1] - face.eyes[0])))
    radius = (rng.uniform(0.34, 0.48) * apart, rng.uniform(0.28, 0.42) * face.length)
    angle = float(np.degrees(np.arctan2(face.aside[1], face.aside[0])))
    colour = rng.uniform(5, 60, 3)
    mask = np.zeros(pixels.shape[:2], np.uint8)
    for eye in face.eyes:
        axes = (max(1, round(radius[0])), max(1, round(radius[1])))
        cv2.ellipse(
            mask, _whole(eye + 0.08 * face.down * face.length), axes, angle, 0, 360, 255, -1, cv2.LINE_AA
        )
    _blend(pixels, mask, colour, rng.uniform(0.8, 1.0))
    _line(pixels, face.eyes[0], face.eyes[1], colour, max(1, round(0.08 * face.length)))


def _cap(pixels: Pixels, face: Face, rng: np.random.Generator) -> None:
    brow = rng.uniform(-0.45, -0.25)
    half = [(0.0, brow), (1.1, brow - 0.05), (1.15, -0.9), (0.8, -1.6), (0.0, -1.75)]
    _fill(pixels, _both_sides(face, half, rng), rng.uniform(10, 240, 3), rng, folds=False, coarse=True)


DRAWN = {"mask": _mask, "scarf": _scarf, "hand": _hand, "sunglasses": _sunglasses, "cap": _cap}


def _colour_of_mask(rng: np.random.Generator) -> Colour:
    if rng.random() < 0.2:
        return rng.uniform(20, 240, 3)
    return np.array(MASKS[int(rng.integers(len(MASKS)))], float) * rng.uniform(0.75, 1.05)


def _both_sides(face: Face, half: list[tuple[float, float]], rng: np.random.Generator) -> Points:
    """A closed, slightly irregular outline from its left half."""
    there = [face.at(aside, down) for aside, down in half]
    back = [face.at(-aside, down) for aside, down in reversed(half)]
    points = np.array(there + back)
    return np.asarray(points + rng.normal(0, 0.03 * face.length, points.shape))


def _fill(
    pixels: Pixels,
    outline: Points,
    colour: Colour,
    rng: np.random.Generator,
    folds: bool,
    coarse: bool = False,
) -> None:
    """Cloth of one colour in the light of the picture, with folds or a coarse pattern."""
    low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(outline.max(axis=0)).astype(int) + 2, pixels.shape[1::-1])
    if np.any(high - low < 3):
        return
    part = pixels[low[1] : high[1], low[0] : high[0]]
    mask = np.zeros(part.shape[:2], np.uint8)
    cv2.fillPoly(mask, [np.round(outline - low).astype(np.int32)], 255, cv2.LINE_AA)
    light = cv2.blur(cv2.cvtColor(part, cv2.COLOR_RGB2GRAY), (5, 5)).astype(np.float32)
    light = 0.6 + 0.4 * light / max(20.0, float(light.mean()))
    if coarse:
        cells = rng.uniform(0.75, 1.2, (int(rng.integers(2, 9)), int(rng.integers(2, 9)))).astype(np.float32)
        light *= np.asarray(cv2.resize(cells, part.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    if folds:
        rows = np.arange(part.shape[0], dtype=np.float32)[:, None]
        light *= 1 + rng.uniform(0.03, 0.12) * np.sin(rows * rng.uniform(0.2, 1.2) + rng.uniform(0, 6))
    cloth = light[..., None] * colour.astype(np.float32)
    share = mask[..., None].astype(np.float32) / 255
    part[:] = np.clip(part * (1 - share) + cloth * share, 0, 255).astype(np.uint8)


def _blend(pixels: Pixels, mask: NDArray[np.uint8], colour: Colour, amount: float) -> None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return
    where = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    share = mask[where][..., None].astype(np.float32) * (amount / 255)
    pixels[where] = np.clip(pixels[where] * (1 - share) + colour.astype(np.float32) * share, 0, 255)


def _line(pixels: Pixels, start: Points, end: Points, colour: Colour, width: int) -> None:
    tone = tuple(float(value) for value in np.clip(colour, 0, 255))
    cv2.line(pixels, _whole(start), _whole(end), tone, width, cv2.LINE_AA)


def _whole(point: Points) -> tuple[int, int]:
    return round(float(point[0])), round(float(point[1]))

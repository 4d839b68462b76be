"""Drawn hands that show no face: fists, open hands and pointing fingers, with a forearm.

Hands are drawn over faces as covers (`covering.py`), and from those alone the detector learns that a hand
means a face behind it.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE = 112
"""Side of the drawing, pixels."""
SHIFT = 4
"""Bits behind the point of OpenCV's coordinates."""


def draw_hand(
    skin: NDArray[np.float64], rng: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A hand of the colour `skin` (3,), 0..255 RGB: pixels (SIDE, SIDE, 3) and opacity (SIDE, SIDE), 0..1."""
    pixels = np.zeros((SIDE, SIDE, 3), np.float32)
    pixels[:] = skin * rng.uniform(0.85, 1.05)
    opacity = np.zeros((SIDE, SIDE), np.float32)
    palm = np.array([rng.uniform(0.44, 0.56), rng.uniform(0.52, 0.62)])
    half = np.array([rng.uniform(0.17, 0.25), rng.uniform(0.15, 0.21)])
    _arm(opacity, pixels, palm, half, skin, rng)
    cv2.ellipse(
        opacity, _fixed(palm), _fixed(half), rng.uniform(-20, 20), 0, 360, 1.0, -1, cv2.LINE_AA, SHIFT
    )
    raised = rng.random(4) < rng.choice((0.0, 0.0, 0.3, 1.0))  # fists are as common as all others
    wide = half[0] * rng.uniform(0.42, 0.52)
    spread = rng.uniform(0.1, 0.45)
    for number, up in enumerate(raised):
        aside = (number - 1.5) / 1.5
        start = palm + half * (0.72 * aside, -0.55)
        length = rng.uniform(0.26, 0.36) if up else rng.uniform(0.05, 0.13)
        end = start + length * np.array([np.sin(spread * aside), -np.cos(spread * aside)])
        _finger(pixels, opacity, start, end, wide, skin, rng)
        if not up:  # bent: the part that comes back over the palm
            back = end + np.array([0.0, rng.uniform(0.1, 0.2)])
            _finger(pixels, opacity, end, back, wide, skin, rng)
    side = rng.choice((-1, 1))
    thumb = palm + half * (0.9 * side, rng.uniform(-0.1, 0.4))
    tip = palm + half * (side * rng.uniform(-0.5, 1.5), rng.uniform(-1.2, -0.1))
    _finger(pixels, opacity, thumb, tip, wide * 1.1, skin, rng)
    return _lit(pixels, rng), np.asarray(cv2.GaussianBlur(opacity, (0, 0), rng.uniform(0.6, 1.5)), np.float32)


def _arm(
    opacity: NDArray[np.float32],
    pixels: NDArray[np.float32],
    palm: NDArray[np.float64],
    half: NDArray[np.float64],
    skin: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    wrist, lean = half[0] * rng.uniform(0.55, 0.8), rng.uniform(-0.2, 0.2)
    low = wrist * rng.uniform(1.0, 1.4)
    corners = [(palm[0] - wrist, palm[1]), (palm[0] + wrist, palm[1])]
    corners += [(palm[0] + lean + low, 1.05), (palm[0] + lean - low, 1.05)]
    points = np.array([_fixed(np.array(corner)) for corner in corners], np.int32)
    cv2.fillPoly(opacity, [points], 1.0, cv2.LINE_AA, SHIFT)
    if rng.random() < 0.5:  # a sleeve
        begins = int(SIDE * rng.uniform(0.72, 0.95))
        pixels[begins:] = rng.uniform(10, 240, 3)


def _finger(
    pixels: NDArray[np.float32],
    opacity: NDArray[np.float32],
    start: NDArray[np.float64],
    end: NDArray[np.float64],
    wide: float,
    skin: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """A rounded stroke with a darker edge, which is the gap to the next finger."""
    width = max(2, round(wide * SIDE))
    for canvas, tone, thick in (
        (pixels, skin * rng.uniform(0.45, 0.8), width + 2),
        (pixels, skin * rng.uniform(0.9, 1.12), max(1, width - 1)),
        (opacity, np.ones(3), width),
    ):
        cv2.line(canvas, _fixed(start), _fixed(end), tuple(tone.tolist()), thick, cv2.LINE_AA, SHIFT)


def _lit(pixels: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Light from one side, highlights of skin, and the softness of a small picture."""
    angle, strength = rng.uniform(0, 2 * np.pi), rng.uniform(0.0, 0.35)
    across = np.linspace(-1, 1, SIDE, dtype=np.float32)
    light = 1 + strength * (np.cos(angle) * across[None] + np.sin(angle) * across[:, None])
    coarse = rng.normal(1, 0.08, (6, 6)).astype(np.float32)
    light = light * cv2.resize(coarse, (SIDE, SIDE), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(pixels * light[..., None].astype(np.float32), (0, 0), rng.uniform(0.8, 3.0))
    return np.asarray(np.clip(soft, 0, 255), np.float32)


def _fixed(point: NDArray[np.float64]) -> tuple[int, int]:
    """A point or a pair of radii, in shares of the side, as OpenCV's fixed-point pixels."""
    scaled = np.asarray(point) * SIDE * (1 << SHIFT)
    return round(float(scaled[0])), round(float(scaled[1]))

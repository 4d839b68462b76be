"""Drawn faces in the shape of OAHEGA as published, so that all of `build/` runs without photographs.

Six folders, jpg and png mixed, many sizes, one class ten times smaller than the others. Brows, eyes and
mouth carry the expression; head, tone, light, place and grain vary.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

OAHEGA_CLASSES = ("ahegao", "angry", "happy", "neutral", "sad", "surprise")
SMALL_CLASS = "ahegao"


@dataclass(frozen=True, slots=True)
class Look:
    """How the parts of a face lie, in units of the face's half width."""

    brow_tilt: float
    """Inner ends down when positive."""
    brow_lift: float
    eye_open: float
    mouth_curve: float
    """Corners up when positive."""
    mouth_open: float
    tongue: bool = False


LOOKS: Mapping[str, Look] = {
    "angry": Look(0.28, -0.05, 0.10, -0.12, 0.02),
    "happy": Look(0.0, 0.05, 0.12, 0.30, 0.10),
    "neutral": Look(0.0, 0.0, 0.13, 0.0, 0.02),
    "sad": Look(-0.25, 0.03, 0.09, -0.25, 0.02),
    "surprise": Look(0.0, 0.22, 0.24, 0.0, 0.30),
    "ahegao": Look(-0.1, 0.20, 0.20, 0.1, 0.28, tongue=True),
}


def draw_face(look: Look, side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    """One face filling a square picture (side, side, 3) RGB."""
    large = 192
    canvas = np.full((large, large, 3), rng.integers(40, 220, 3), np.uint8)
    centre = large / 2 + rng.uniform(-4, 4, 2)
    unit = large * rng.uniform(0.36, 0.41)
    turn = rng.uniform(-8, 8)
    tone = np.array([205, 160, 130]) * rng.uniform(0.55, 1.15)
    dark = tuple(int(v) for v in tone * 0.25)
    skin = tuple(int(v) for v in np.clip(tone, 0, 255))

    def place(x: float, y: float) -> tuple[int, int]:
        c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
        return round(centre[0] + unit * (c * x - s * y)), round(centre[1] + unit * (s * x + c * y))

    cv2.ellipse(canvas, place(0, 0), (round(unit), round(unit * 1.22)), turn, 0, 360, skin, -1, cv2.LINE_AA)
    thick = max(2, round(unit * 0.07))
    for sign in (-1, 1):
        lift = -0.42 - look.brow_lift
        inner, outer = (
            place(sign * 0.18, lift + look.brow_tilt / 2),
            place(sign * 0.58, lift - look.brow_tilt / 2),
        )
        cv2.line(canvas, inner, outer, dark, thick, cv2.LINE_AA)
        axes = (round(unit * 0.17), max(1, round(unit * look.eye_open)))
        cv2.ellipse(canvas, place(sign * 0.38, -0.18), axes, turn, 0, 360, (245, 245, 245), -1, cv2.LINE_AA)
        pupil = -0.28 if look.tongue else -0.18
        cv2.circle(canvas, place(sign * 0.38, pupil), max(1, round(unit * 0.08)), dark, -1, cv2.LINE_AA)
    _draw_mouth(canvas, look, place, unit, turn, dark, thick)
    return _photographed(canvas, side, rng)


def _draw_mouth(canvas, look, place, unit, turn, dark, thick) -> None:  # type: ignore[no-untyped-def]
    curve = [place(x, 0.52 - look.mouth_curve * ((x / 0.38) ** 2 - 0.5)) for x in np.linspace(-0.38, 0.38, 9)]
    if look.mouth_open > 0.05:
        axes = (round(unit * 0.24), round(unit * look.mouth_open))
        cv2.ellipse(canvas, place(0, 0.58), axes, turn, 0, 360, (70, 20, 30), -1, cv2.LINE_AA)
    if look.tongue:
        axes = (round(unit * 0.14), round(unit * 0.26))
        cv2.ellipse(canvas, place(0, 0.86), axes, turn, 0, 360, (225, 110, 120), -1, cv2.LINE_AA)
    elif look.mouth_open < 0.2:
        cv2.polylines(canvas, [np.array(curve, np.int32)], False, dark, thick, cv2.LINE_AA)


def _photographed(canvas: NDArray[np.uint8], side: int, rng: np.random.Generator) -> NDArray[np.uint8]:
    light = (
        canvas.astype(np.float32)
        * np.linspace(rng.uniform(0.7, 1), rng.uniform(0.7, 1), canvas.shape[1])[None, :, None]
    )
    small = cv2.resize(light, (side, side), interpolation=cv2.INTER_AREA)
    return np.clip(small + rng.normal(0, 6, small.shape), 0, 255).astype(np.uint8)


def draw_person(
    frame: NDArray[np.uint8], look: Look, left: int, top: int, side: int, rng: np.random.Generator
) -> NDArray[np.uint8]:
    """The frame (height, width, 3) RGB with a person whose face fills the square: detectors look for a head
    with hair on a neck and shoulders, and for light and shadow on a face."""
    face = draw_face(look, side, rng)
    unit, x, y = side * 0.385, left + side / 2, top + side / 2
    middle = side // 2
    skin = np.median(face[middle - 8 : middle + 8, middle - 8 : middle + 8], axis=(0, 1))

    def oval(on: NDArray[Any], at: tuple[float, float], axes: tuple[float, float], colour: Any) -> None:
        centre = (round(x + unit * at[0]), round(y + unit * at[1]))
        sizes = (round(unit * axes[0]), round(unit * axes[1]))
        cv2.ellipse(on, centre, sizes, 0, 0, 360, colour, -1, cv2.LINE_AA)

    shade = tuple(float(v) for v in skin * 0.8)
    behind = frame.copy()
    oval(behind, (0, 3.4), (2.1, 1.7), tuple(float(v) for v in rng.integers(30, 200, 3)))
    low, high = (round(x - 0.45 * unit), round(y + 0.8 * unit)), (round(x + 0.45 * unit), round(y + 2 * unit))
    cv2.rectangle(behind, low, high, shade, -1)
    oval(behind, (0, -0.25), (1.15, 1.3), tuple(float(v) for v in rng.integers(10, 70, 3)))
    for sign in (-1, 1):
        oval(behind, (sign * 1.02, 0), (0.14, 0.25), shade)

    before = behind.astype(np.float32)
    before[top : top + side, left : left + side] = face
    down, across = np.mgrid[: frame.shape[0], : frame.shape[1]]
    u, v = (across - x) / unit, (down - y) / unit
    rounding = 1.05 - 0.25 * np.clip(u**2 + (v / 1.2) ** 2, 0, 1.2)
    nose = 0.22 * np.exp(-(((u - 0.08) / 0.09) ** 2 + ((v - 0.1) / 0.28) ** 2))
    nose += 0.3 * np.exp(-((u / 0.2) ** 2 + ((v - 0.3) / 0.06) ** 2))
    before *= (rounding * (1 - nose))[..., None]

    inside = np.zeros(frame.shape[:2], np.float32)
    oval(inside, (0, 0.06), (0.98, 1.16), 1.0)
    inside[v < -0.72] = 0  # the hair
    inside = cv2.GaussianBlur(inside, (0, 0), 1.5)[..., None]
    seen = behind * (1 - inside) + before * inside + rng.normal(0, 3, frame.shape)
    return np.clip(seen, 0, 255).astype(np.uint8)


def draw_dataset(root: Path, per_class: int = 40, smaller: str = SMALL_CLASS, seed: int = 1) -> Path:
    """`root/<class>/*`: `per_class` pictures each, a tenth of that (at least 4) of the class `smaller`."""
    rng = np.random.default_rng(seed)
    for label in OAHEGA_CLASSES:
        folder = root / label
        folder.mkdir(parents=True, exist_ok=True)
        count = max(4, per_class // 10) if label == smaller else per_class
        for number in range(count):
            pixels = draw_face(LOOKS[label], int(rng.integers(40, 180)), rng)
            ending = "png" if number % 3 else "jpg"
            cv2.imwrite(str(folder / f"{label}.{number}.{ending}"), cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
    return root


def draw_scene(faces: list[tuple[str, int, int, int]], size: tuple[int, int], seed: int) -> NDArray[np.uint8]:
    """A frame (height, width, 3) RGB with faces as (expression, left, top, side) on a plain wall."""
    rng = np.random.default_rng(seed)
    frame = np.full((size[1], size[0], 3), 200, np.uint8)
    for label, left, top, side in faces:
        frame[top : top + side, left : left + side] = draw_face(LOOKS[label], side, rng)
    return frame

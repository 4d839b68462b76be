"""A planned sequence frame by frame: faces drawn into scenes, as a camera would see them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_picture
from oahega_build.pictures.drawing import blend, jpeg
from oahega_build.pictures.framing import LABELLED_FRAMING
from oahega_build.scenes.sequences import (
    EPOCH,
    FORMAT,
    FPS,
    HEIGHT,
    WIDTH,
    LabelledFrame,
    Noise,
    Person,
    Picture,
    Scenario,
    Scenery,
    Shot,
    Truth,
)
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import resize_pixels

HIDDEN = 0.5
"""A face counts as visible if at least this share is inside the picture and not covered."""


def render(scenario: Scenario, scenery: Scenery, noise: Noise) -> Iterator[LabelledFrame]:
    """Render the frames of a scenario in order, in RGB at 640x480 and 15 fps."""
    level = round(noise.grain * 10)
    rng = np.random.default_rng([FORMAT, *scenario.seed, level])
    scene = _scene(scenery.scenes[scenario.scene])
    cover = _cover(scenario, scenery)
    spoil = Spoiler(noise, rng)
    for i in range(round(scenario.seconds * FPS)):
        t = i / FPS
        canvas = scene.copy()
        for person in sorted(scenario.people, key=lambda p: p.place(t)[2]):  # the nearer in front
            paste(canvas, person, scenery, t, noise)
            if person.is_hidden(t):
                _hide(canvas, cover, person, t)
        yield LabelledFrame(
            Frame(spoil(canvas, t), t, EPOCH + timedelta(seconds=t), i), truths_at(scenario, t)
        )


def truths_at(scenario: Scenario, t: float) -> tuple[Truth, ...]:
    """The true state at second `t`, without people who are completely outside the picture."""
    found = []
    for person in scenario.people:
        box = face_box(person, t)
        inside = box.clipped()
        if inside is None:
            continue
        seen = inside.area / box.area - _covered(person, box, scenario, t)
        visible = seen >= HIDDEN and not person.is_hidden(t)
        found.append(Truth(person.number, box, person.shots[person.shot_at(t)].label, visible))
    return tuple(found)


def face_box(person: Person, t: float) -> Box:
    """The box that a detector should give for the face of the still, in unit coordinates."""
    x, y, height = person.place(t)
    part = LABELLED_FRAMING.box
    return Box(
        (x + (part.left - 0.5) * height) / WIDTH,
        (y + (part.top - 0.5) * height) / HEIGHT,
        (x + (part.right - 0.5) * height) / WIDTH,
        (y + (part.bottom - 0.5) * height) / HEIGHT,
    )


def _covered(person: Person, box: Box, scenario: Scenario, t: float) -> float:
    """The largest share of the face that a single nearer person covers."""
    shares = [0.0]
    for other in scenario.people:
        if other is person or other.place(t)[2] <= person.place(t)[2]:
            continue
        shares.append(box.shared_area(face_box(other, t)) / box.area)
    return max(shares)


def _scene(path: Path) -> Picture:
    pixels = read_picture(path, "rgb")
    if pixels is None:
        raise DataError(f"scene {path} cannot be read; remove it or copy it again")
    scale = max(WIDTH / pixels.shape[1], HEIGHT / pixels.shape[0])
    size = (math.ceil(pixels.shape[1] * scale), math.ceil(pixels.shape[0] * scale))
    kernel = "area" if scale < 1 else "linear"
    return np.ascontiguousarray(resize_pixels(pixels, size, kernel)[:HEIGHT, :WIDTH])


def _cover(scenario: Scenario, scenery: Scenery) -> Picture:
    """A piece of another scene that passes in front of faces."""
    other = (scenario.scene + 1) % len(scenery.scenes)
    return _scene(scenery.scenes[other])[120:360, 200:440]


def _still(person: Person, scenery: Scenery, t: float) -> Picture:
    """The person's face at second `t`: one still, or a mixture of two during a transition."""
    now = person.shot_at(t)
    half = person.dissolve / 2
    pixels = _pixels(scenery, person.shots[now])
    since = t - person.shots[now].start
    if now > 0 and since < half:
        before = _pixels(scenery, person.shots[now - 1])
        share = 0.5 + 0.5 * since / half
        return np.asarray(cv2.addWeighted(pixels, share, before, 1 - share, 0), np.uint8)
    until = person.shots[now + 1].start - t if now + 1 < len(person.shots) else math.inf
    if until < half:
        after = _pixels(scenery, person.shots[now + 1])
        share = 0.5 + 0.5 * until / half
        return np.asarray(cv2.addWeighted(pixels, share, after, 1 - share, 0), np.uint8)
    return pixels


def _pixels(scenery: Scenery, shot: Shot) -> Picture:
    pixels = scenery.stills[shot.label][shot.still]
    return resize_pixels(pixels, (48, 48), "area")


def _mask(side: int) -> NDArray[np.float32]:
    """A soft, squarish ellipse that keeps face, hair and chin but not the corners of the still."""
    grid = (np.arange(side, dtype=np.float32) + 0.5) / side * 2 - 1
    distance = np.abs(grid[None, :] / 0.92) ** 3 + np.abs(grid[:, None] / 1.0) ** 3
    return np.asarray(np.clip((1 - distance) / 0.35, 0, 1), np.float32)


_STILL_MASK = _mask(48)


def paste(canvas: Picture, person: Person, scenery: Scenery, t: float, noise: Noise) -> None:
    """Draw the person's face onto the canvas."""
    x, y, height = person.place(t)
    reach = math.ceil(height * 0.75)
    left, top = round(x) - reach, round(y) - reach
    right, bottom = left + 2 * reach, top + 2 * reach
    if right <= 0 or bottom <= 0 or left >= WIDTH or top >= HEIGHT:
        return
    turn: NDArray[Any] = cv2.getRotationMatrix2D((23.5, 23.5), person.roll.at(t), height / 48)
    turn[:, 2] += np.array([x - left - 23.5, y - top - 23.5])
    size = (2 * reach, 2 * reach)
    face = cv2.warpAffine(
        _still(person, scenery, t), turn, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    mask = cv2.warpAffine(_STILL_MASK, turn, size, flags=cv2.INTER_LINEAR)
    kernel = _motion(person, t, noise.shutter)
    if kernel is not None:
        face, mask = cv2.filter2D(face, -1, kernel), cv2.filter2D(mask, -1, kernel)
    coloured = np.asarray(face[..., None] * np.array(person.tint, np.float32), np.float32)
    blend(canvas, coloured, np.asarray(mask, np.float32), left, top)


def _motion(person: Person, t: float, shutter: float) -> NDArray[np.float32] | None:
    """The kernel of the motion blur while the shutter is open, or None if the face hardly moves."""
    before, after = person.place(t - 0.5 / FPS), person.place(t + 0.5 / FPS)
    dx, dy = (after[0] - before[0]) * shutter, (after[1] - before[1]) * shutter
    length = math.hypot(dx, dy)
    if length < 1.5:
        return None
    side = 2 * math.ceil(length / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    middle = side // 2
    start = (round(middle - dx / 2), round(middle - dy / 2))
    end = (round(middle + dx / 2), round(middle + dy / 2))
    cv2.line(kernel, start, end, 1.0)
    return np.asarray(kernel / kernel.sum(), np.float32)


def _hide(canvas: Picture, cover: Picture, person: Person, t: float) -> None:
    x, y, height = person.place(t)
    side = max(8, round(height * 1.15))
    patch = cv2.resize(cover, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
    left, top = round(x - side / 2), round(y - side / 2)
    if left < WIDTH and top < HEIGHT and left + side > 0 and top + side > 0:
        blend(canvas, patch, np.ones((side, side), np.float32), left, top)


class Spoiler:
    """The degradation of the picture by lens, sensor and encoder."""

    def __init__(self, noise: Noise, rng: np.random.Generator) -> None:
        self._noise = noise
        self._rng = rng
        self._phase = rng.uniform(0, 6.28)
        # One large field of noise, shown through a window at a random place: new noise for every frame would
        # take longer than the chain.
        self._grain = rng.normal(0, noise.grain, (HEIGHT + 64, WIDTH + 64, 3)).astype(np.float32)

    def __call__(self, canvas: Picture, t: float) -> Picture:
        """The frame as a camera would deliver it at second `t`."""
        noise, rng = self._noise, self._rng
        if noise.focus:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), noise.focus), np.uint8)
        light = 1 + noise.light * math.sin(2 * math.pi * t / 6 + self._phase)
        light *= 1 + noise.flicker * float(rng.standard_normal())
        row, column = rng.integers(0, 64, 2)
        grain = self._grain[row : row + HEIGHT, column : column + WIDTH]
        spoilt = np.clip(canvas * np.float32(light) + grain, 0, 255).astype(np.uint8)
        return np.asarray(jpeg(spoilt[..., ::-1], noise.quality)[..., ::-1], np.uint8)

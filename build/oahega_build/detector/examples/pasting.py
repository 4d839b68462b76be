"""Still faces drawn into scenes: faces of every size without a body.

From photographs alone the detector learns to rely on hair, neck and shoulders, and misses small faces where
those are hidden or outside the picture.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.examples.hands import SIDE as HAND_SIDE
from oahega_build.detector.examples.hands import draw_hand
from oahega_build.pictures.drawing import blend, outline
from oahega_build.pictures.framing import LABELLED_FRAMING
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box, edges_of, shared_areas
from oahega_edge.chain.preprocess import resize_pixels

Still = NDArray[np.uint8]
TRIES = 6
"""Number of places that are tried before a face is left out."""
SHARED = 0.1
"""Maximum overlap of a pasted face with another, as a share of the smaller one."""
PIECES = 3
"""Number of candidates from which a decoy is chosen."""
SMALLEST_HEAD = 28
"""Minimum height of a face that is taken from a scene, pixels."""
LARGEST_STILL = 112
"""Maximum side of the still that is kept of it, pixels."""
SMALLEST_DECOY = 16
"""Minimum side of a piece of a body, pixels of its picture."""


def still_of(pixels: Pixels, face: NDArray[np.float64]) -> Still | None:
    """Cut a face of a scene as `LABELLED_FRAMING` says. None if it is too small or cut off."""
    left, top, right, bottom = face
    side = (bottom - top) / LABELLED_FRAMING.box.height
    x, y = (left + right) / 2 - side / 2, (top + bottom) / 2 - LABELLED_FRAMING.middle_y * side
    rows, columns = slice(round(y), round(y + side)), slice(round(x), round(x + side))
    height, width = pixels.shape[:2]
    if bottom - top < SMALLEST_HEAD or x < 0 or y < 0 or rows.stop > height or columns.stop > width:
        return None
    part = np.ascontiguousarray(pixels[rows, columns])
    return resize_pixels(part, (LARGEST_STILL,) * 2, "area") if side > LARGEST_STILL else part


def skin_of(still: Still) -> NDArray[np.float64]:
    """The colour (3,) of the cheeks of a face in colour that `still_of` cut out, 0..255 RGB."""
    height, width = still.shape[:2]
    part = still[int(0.45 * height) : int(0.75 * height), int(0.3 * width) : int(0.7 * width)]
    return np.asarray(np.median(part.reshape(-1, 3), axis=0), np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """A picture with people from whose bodies decoys are cut. Edges (n, 4) are in its pixels."""

    pixels: Pixels
    bodies: NDArray[np.float64]
    """The boxes of the people, at least one."""
    faces: NDArray[np.float64]
    """The boxes of faces and of everything that may be one."""


@dataclass(frozen=True, slots=True)
class Pasting:
    """Numbers, sizes and probabilities of what is pasted."""

    most: int = 3
    """Maximum number of faces on one scene."""
    heights: tuple[float, float] = (13.0, 115.0)
    """Range of the height of the still, pixels of the input."""
    roll: float = 15.0
    """Maximum rotation to either side, degrees."""
    grey: float = 0.2
    """Probability of a face without colour."""
    heads: float = 0.0
    """Share of the faces that are taken from the scenes themselves, in colour."""
    decoys: int = 2
    """Maximum number of decoys, which are pieces of pictures without a face, drawn in the same way."""
    of_bodies: float = 0.5
    """Share of decoys that are cut from people: hands, clothes and prints on them."""
    hands: float = 0.0
    """Share of decoys that are drawn hands, in the colour of a face of the scenes."""


class FacePaster:
    """Pastes stills into pictures: grey (height, width) or RGB (height, width, 3).

    Stills are cut as `LABELLED_FRAMING` says.
    """

    def __init__(
        self,
        stills: Sequence[Still],
        how: Pasting,
        nobody: Sequence[Pixels] = (),
        people: Sequence[People] = (),
        heads: Sequence[Still] = (),
    ) -> None:
        """`nobody`: pictures without people. Decoys are cut from these and from `people`.

        `heads`: faces from scenes, cut by `still_of`.
        """
        self._stills = stills
        self._heads = heads
        self._how = how
        self._nobody = nobody
        self._people = people

    def __call__(
        self, pixels: Pixels, taken: NDArray[np.float64], rng: np.random.Generator
    ) -> tuple[Pixels, list[Box]]:
        """Return a copy of an RGB picture (height, width, 3) with pasted faces, and their true boxes.

        `taken` (n, 4): left, top, right, bottom of faces that must stay visible. Edges are in pixels.
        """
        canvas = pixels.copy()
        boxes: list[Box] = []
        for is_face in self._kinds(rng):
            low, high = (math.log(height) for height in self._how.heights)
            height = math.exp(rng.uniform(low, min(high, math.log(0.8 * pixels.shape[0]))))
            box = self._place(height, pixels.shape[:2], taken, rng)
            if box is None:
                continue
            if not is_face and self._heads and rng.random() < self._how.hands:
                face, mask = self._hand(height, rng)
            elif (still := self._face(rng) if is_face else self._decoy(rng)) is not None:
                face, mask = self._drawn(still, height, rng)
            else:
                continue
            left, top = (round(place - face.shape[0] / 2) for place in _middle_of_still(box, height))
            blend(canvas, face, mask, left, top)
            taken = np.concatenate([taken, [box.edges]])
            if is_face:
                boxes.append(box)
        return canvas, boxes

    def _kinds(self, rng: np.random.Generator) -> list[bool]:
        """What is pasted, in order; True is a face."""
        faces = [True] * int(rng.integers(1, self._how.most + 1))
        most = self._how.decoys if self._nobody or self._people else 0
        return [*[False] * int(rng.integers(most + 1)), *faces]

    def _face(self, rng: np.random.Generator) -> Still:
        stills = self._heads if self._heads and rng.random() < self._how.heads else self._stills
        return stills[int(rng.integers(len(stills)))]

    def _decoy(self, rng: np.random.Generator) -> Still | None:
        """The piece with the most contrast, as a plain one teaches nothing. None if all show a face."""
        pieces = [piece for _ in range(PIECES) if (piece := self._piece(rng)) is not None]
        return max(pieces, key=np.std, default=None)

    def _hand(
        self, height: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """A drawn hand (height, height, 3), turned, and its opacity (height, height)."""
        skin = skin_of(self._heads[int(rng.integers(len(self._heads)))])
        hand, mask = draw_hand(skin, rng)
        turn: NDArray[Any] = cv2.getRotationMatrix2D(
            ((HAND_SIDE - 1) / 2, (HAND_SIDE - 1) / 2), rng.normal(0, 35), rng.uniform(0.9, 1.1)
        )
        across = (HAND_SIDE, HAND_SIDE)
        turned = cv2.warpAffine(hand, turn, across, borderMode=cv2.BORDER_REPLICATE)
        opaque = cv2.warpAffine(mask, turn, across)
        side = (max(2, round(height)),) * 2
        kernel = cv2.INTER_AREA if side[0] < HAND_SIDE else cv2.INTER_LINEAR
        return (
            np.asarray(cv2.resize(turned, side, interpolation=kernel), np.float32),
            np.asarray(cv2.resize(opaque, side, interpolation=kernel), np.float32),
        )

    def _piece(self, rng: np.random.Generator) -> Still | None:
        """A square of a picture without a face, or None if all drawn places had one."""
        if self._people and (not self._nobody or rng.random() < self._how.of_bodies):
            return self._of_a_body(self._people[int(rng.integers(len(self._people)))], rng)
        picture = self._nobody[int(rng.integers(len(self._nobody)))]
        height, width = picture.shape[:2]
        side = int(rng.integers(min(24, height, width), max(25, int(0.6 * min(height, width)))))
        top, left = int(rng.integers(height - side + 1)), int(rng.integers(width - side + 1))
        return picture[top : top + side, left : left + side]

    def _of_a_body(self, people: People, rng: np.random.Generator) -> Still | None:
        height, width = people.pixels.shape[:2]
        for _ in range(TRIES):
            left, top, right, bottom = people.bodies[int(rng.integers(len(people.bodies)))]
            largest = min(0.5 * (bottom - top), height, width)
            if largest <= SMALLEST_DECOY:
                continue
            side = int(math.exp(rng.uniform(math.log(SMALLEST_DECOY), math.log(largest))))
            x = int(np.clip(rng.uniform(left, right) - side / 2, 0, width - side))
            y = int(np.clip(rng.uniform(top, bottom) - side / 2, 0, height - side))
            square = Box(x, y, x + side, y + side)
            if not len(people.faces) or _common(square, people.faces) <= SHARED:
                return people.pixels[y : y + side, x : x + side]
        return None

    def _place(
        self, height: float, size: tuple[int, ...], taken: NDArray[np.float64], rng: np.random.Generator
    ) -> Box | None:
        part = LABELLED_FRAMING.box
        width = part.width * height
        for _ in range(TRIES):
            left = rng.uniform(0, max(1e-6, size[1] - width))
            top = rng.uniform(0, max(1e-6, size[0] - part.height * height))
            box = Box(left, top, left + width, top + part.height * height)
            if not len(taken) or _common(box, taken) <= SHARED:
                return box
        return None

    def _drawn(
        self, still: Still, height: float, rng: np.random.Generator
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The face (side, side, 3), rotated and tinted, and its opacity (side, side)."""
        scaled = resize_pixels(still, (round(height),) * 2, "area" if height < still.shape[0] else "linear")
        side = math.ceil(1.5 * height)
        turn: NDArray[Any] = cv2.getRotationMatrix2D(
            ((scaled.shape[1] - 1) / 2, (scaled.shape[0] - 1) / 2), rng.uniform(-1, 1) * self._how.roll, 1.0
        )
        turn[:, 2] += (side - scaled.shape[0]) / 2
        face = cv2.warpAffine(scaled, turn, (side, side), borderMode=cv2.BORDER_REPLICATE)
        mask = cv2.warpAffine(_outline(scaled.shape[0], rng), turn, (side, side))
        return self._tinted(np.asarray(face, np.uint8), rng), np.asarray(mask, np.float32)

    def _tinted(self, face: Still, rng: np.random.Generator) -> NDArray[np.float32]:
        coloured = face.astype(np.float32) * np.float32(rng.uniform(0.65, 1.2))
        if coloured.ndim == 3:  # in colour already
            return coloured
        tint = (
            np.ones(3) if rng.random() < self._how.grey else rng.uniform((0.95, 0.7, 0.55), (1, 0.92, 0.88))
        )
        return coloured[..., None] * tint.astype(np.float32)


def _middle_of_still(box: Box, height: float) -> tuple[float, float]:
    """The centre of a still whose face, as given by `LABELLED_FRAMING`, has this `box`."""
    part = LABELLED_FRAMING.box
    return box.left - (part.left - 0.5) * height, box.top - (part.top - 0.5) * height


def _common(box: Box, others: NDArray[np.float64]) -> float:
    """The largest overlap of `box` with one of `others`, as a share of the smaller of the two."""
    (shared,) = shared_areas(edges_of([box]), others)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    smaller = np.maximum(np.minimum(areas, box.area), 1e-9)
    return float(np.max(shared / smaller))


def _outline(side: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """An outline of random kind, so that no single outline stands for a face."""
    return outline(side, side, rng, power=(2, 7), wide=(0.84, 1.05), high=(0.92, 1.1))

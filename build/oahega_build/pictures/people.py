"""Faces of a dataset on the shoulders of people in photographs: what a camera sees, with known labels.

A photograph of somebody is shown so that the face has a wanted size and place, and a still is drawn over it
in the skin's colour. Hair, neck and shoulders stay the person's own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.inputs import View, show
from oahega_build.emotion.inputs import Framing, skin
from oahega_build.pictures.records import Record
from oahega_build.scenes.sequences import (
    EPOCH,
    FPS,
    HEIGHT,
    WIDTH,
    LabelledFrame,
    Noise,
    Person,
    Picture,
    Scenery,
    Spoiler,
    Truth,
    face_box,
    paste,
)
from oahega_edge.chain.detection import FACE
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.manifest import InputTensor

LEAST_FACE = 40
"""Pixels of the photograph; lower faces have too little of a body to go with."""
MOST_ENLARGED = 2.0
PICTURE = 96
OUT_OF_FOCUS = (8, 6)
"""Colours across and down of what is around a photograph that does not fill the frame."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """Somebody in a photograph."""

    pixels: Pixels
    face: Box
    """In pixels."""


def heads_of(records: Iterable[Record]) -> list[Head]:
    """The largest face of every picture that has a sure one that is high enough and whole."""
    heads = []
    for record in records:
        sure = [b.box for b in record.boxes if b.label == FACE and not b.ignore]
        largest = max(sure, key=lambda box: box.height, default=None)
        if largest is None or largest.height * record.height < LEAST_FACE:
            continue
        if min(largest.left, largest.top) < 0 or max(largest.right, largest.bottom) > 1:
            continue
        width, height = record.width, record.height
        face = Box(largest.left * width, largest.top * height, largest.right * width, largest.bottom * height)
        heads.append(Head(record.pixels(), face))
    return heads


def as_pictures(
    heads: Iterable[Head], framing: Framing, colour: Literal["grey", "rgb"]
) -> list[NDArray[np.uint8]]:
    """Squares of PICTURE px that show each head as `framing` says that training pictures show theirs."""
    square = InputTensor(
        width=PICTURE, height=PICTURE, colour=colour, dtype="float32", pixel_scale=1.0, pixel_offset=0.0
    )
    return [
        crop_face(head.pixels, _in_units(head.face, head.pixels.shape), square, framing.crop)
        for head in heads
    ]


def _in_units(face: Box, shape: tuple[int, ...]) -> Box:
    height, width = shape[:2]
    return Box(face.left / width, face.top / height, face.right / width, face.bottom / height)


def wanted_face(height: float) -> float:
    """Height in pixels of the face on a still of that height."""
    return Framing().box.height * height


def fits(head: Head, height: float) -> bool:
    """Whether the head can carry a still of that height without being enlarged too much."""
    return wanted_face(height) <= MOST_ENLARGED * head.face.height


def frames_of(
    head: Head, person: Person, scenery: Scenery, noise: Noise, count: int, seed: tuple[int, ...]
) -> Iterator[LabelledFrame]:
    """`count` frames of one who does not move: the person's still where the head's face was."""
    spoil = Spoiler(noise, np.random.default_rng(seed))
    shot = person.shots[0]
    drawn = _posed(head, person)
    tint = _tint(head, scenery.stills[shot.label][shot.still])
    paste(drawn, replace(person, tint=tint), scenery, 0.0, noise)
    truth = Truth(person.number, face_box(person, 0.0), shot.label, visible=True)
    for i in range(count):
        t = i / FPS
        yield LabelledFrame(Frame(spoil(drawn, t), t, EPOCH + timedelta(seconds=t), i), (truth,))


def _tint(head: Head, still: Picture) -> tuple[float, float, float]:
    """What gives a still the head's own colour and light."""
    colour = np.median(skin(head.pixels, head.face).reshape(-1, 3), axis=0)
    side = still.shape[0]
    grey = max(1.0, float(np.median(skin(still, Framing().box_in(side, side)))))
    red, green, blue = (colour / grey).tolist()
    return red, green, blue


def _posed(head: Head, person: Person) -> Picture:
    """The photograph at 640x480 with its face where the person's is; around it, itself out of focus."""
    x, y, height = person.place(0.0)
    scale = wanted_face(height) / head.face.height
    middle, part = head.face.center, Framing().box.center
    left = x + (part[0] - 0.5) * height - middle[0] * scale
    top = y + (part[1] - 0.5) * height - middle[1] * scale
    kernel = "area" if scale < 1 else "linear"
    view = View(scale, scale, left, top)
    sharp, view = show(head.pixels, view, (WIDTH, HEIGHT), (0, 0, 0), kernel)
    colours = cv2.resize(head.pixels, OUT_OF_FOCUS, interpolation=cv2.INTER_AREA)
    canvas = cv2.resize(colours, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    tall, wide = head.pixels.shape[:2]
    rows = slice(max(0, round(view.y)), max(0, round(view.y + tall * view.scale_y)))
    columns = slice(max(0, round(view.x)), max(0, round(view.x + wide * view.scale_x)))
    canvas[rows, columns] = sharp[rows, columns]
    return np.asarray(canvas, np.uint8)

"""People in labelled photographs, over whose faces other faces are drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oahega_build.pictures.framing import LABELLED_FRAMING
from oahega_build.pictures.record import Record
from oahega_edge.chain.detection import FACE
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.manifest import InputTensor

LEAST_FACE = 40
"""Least height of a face in pixels of the photograph; smaller ones show too little of the person."""
PICTURE = 96


@dataclass(frozen=True, slots=True, eq=False)
class Portrait:
    """A person in a photograph."""

    pixels: Pixels
    face: Box
    """In pixels."""


def portraits_of(records: Iterable[Record]) -> list[Portrait]:
    """The largest face of each picture, if it is certain, high enough and inside of the picture."""
    portraits = []
    for record in records:
        sure = [b.box for b in record.boxes if b.label == FACE and not b.ignore]
        largest = max(sure, key=lambda box: box.height, default=None)
        if largest is None or largest.height * record.height < LEAST_FACE:
            continue
        if min(largest.left, largest.top) < 0 or max(largest.right, largest.bottom) > 1:
            continue
        width, height = record.width, record.height
        face = Box(largest.left * width, largest.top * height, largest.right * width, largest.bottom * height)
        portraits.append(Portrait(record.pixels(), face))
    return portraits


def as_pictures(portraits: Iterable[Portrait], colour: Literal["grey", "rgb"]) -> list[NDArray[np.uint8]]:
    """Squares of PICTURE px in which each person's face lies where `LABELLED_FRAMING` has it."""
    square = InputTensor(
        width=PICTURE, height=PICTURE, colour=colour, dtype="float32", pixel_scale=1.0, pixel_offset=0.0
    )
    return [
        crop_face(
            portrait.pixels, _in_units(portrait.face, portrait.pixels.shape), square, LABELLED_FRAMING.crop
        )
        for portrait in portraits
    ]


def _in_units(face: Box, shape: tuple[int, ...]) -> Box:
    height, width = shape[:2]
    return Box(face.left / width, face.top / height, face.right / width, face.bottom / height)

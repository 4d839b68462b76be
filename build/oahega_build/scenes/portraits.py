"""Faces of a dataset drawn over the faces of people in photographs, to get camera pictures with known labels.

A photograph is scaled and placed so that its face has a given size and position. A still is drawn over the
face in the colour of its skin. Hair, neck and shoulders stay those of the person in the photograph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import cv2
import numpy as np

from oahega_build.pictures.drawing import View, show, skin
from oahega_build.pictures.framing import LABELLED_FRAMING
from oahega_build.pictures.people import Portrait
from oahega_build.scenes.render import Spoiler, face_box, paste
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
    Truth,
)
from oahega_edge.chain.frame import Frame

MOST_ENLARGED = 2.0
OUT_OF_FOCUS = (8, 6)
"""Width and height in pixels to which the photograph is reduced, to fill the frame around it with blur."""


def wanted_face(height: float) -> float:
    """The height of the face on a still of the given height, pixels."""
    return LABELLED_FRAMING.box.height * height


def fits(portrait: Portrait, height: float) -> bool:
    """Whether the portrait can show a still of that height without being enlarged too much."""
    return wanted_face(height) <= MOST_ENLARGED * portrait.face.height


def frames_of(
    portrait: Portrait, person: Person, scenery: Scenery, noise: Noise, count: int, seed: tuple[int, ...]
) -> Iterator[LabelledFrame]:
    """`count` frames of a person who does not move: the still drawn over the face in the portrait."""
    spoil = Spoiler(noise, np.random.default_rng(seed))
    shot = person.shots[0]
    drawn = _posed(portrait, person)
    tint = _tint(portrait, scenery.stills[shot.label][shot.still])
    paste(drawn, replace(person, tint=tint), scenery, 0.0, noise)
    truth = Truth(person.number, face_box(person, 0.0), shot.label, visible=True)
    for i in range(count):
        t = i / FPS
        yield LabelledFrame(Frame(spoil(drawn, t), t, EPOCH + timedelta(seconds=t), i), (truth,))


def _tint(portrait: Portrait, still: Picture) -> tuple[float, float, float]:
    """The factors that give a still the colour and light of the skin in the portrait."""
    colour = np.median(skin(portrait.pixels, portrait.face).reshape(-1, 3), axis=0)
    side = still.shape[0]
    grey = max(1.0, float(np.median(skin(still, LABELLED_FRAMING.box_in(side, side)))))
    red, green, blue = (colour / grey).tolist()
    return red, green, blue


def _posed(portrait: Portrait, person: Person) -> Picture:
    """The photograph at 640x480 with its face at the person's place; a blurred copy fills the rest."""
    x, y, height = person.place(0.0)
    scale = wanted_face(height) / portrait.face.height
    middle, part = portrait.face.center, LABELLED_FRAMING.box.center
    left = x + (part[0] - 0.5) * height - middle[0] * scale
    top = y + (part[1] - 0.5) * height - middle[1] * scale
    kernel = "area" if scale < 1 else "linear"
    view = View(scale, scale, left, top)
    sharp, view = show(portrait.pixels, view, (WIDTH, HEIGHT), (0, 0, 0), kernel)
    colours = cv2.resize(portrait.pixels, OUT_OF_FOCUS, interpolation=cv2.INTER_AREA)
    canvas = cv2.resize(colours, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    tall, wide = portrait.pixels.shape[:2]
    rows = slice(max(0, round(view.y)), max(0, round(view.y + tall * view.scale_y)))
    columns = slice(max(0, round(view.x)), max(0, round(view.x + wide * view.scale_x)))
    canvas[rows, columns] = sharp[rows, columns]
    return np.asarray(canvas, np.uint8)

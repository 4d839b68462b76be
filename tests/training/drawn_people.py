"""Labelled pictures of drawn people, for the tests of the detector."""

from __future__ import annotations

import cv2
import numpy as np

from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_edge.chain.geometry import Box


def drawn(number: int) -> Record:
    """A person (blue) with a face (yellow disc) somewhere before grain, or nobody."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(60, 120, (96, 128, 3)).astype(np.uint8)
    boxes = []
    if number % 4:
        height = int(rng.integers(40, 90))
        width = height // 2
        x, y = int(rng.integers(0, 128 - width)), int(rng.integers(0, 96 - height))
        cv2.rectangle(pixels, (x, y), (x + width, y + height), (20, 40, 220), -1)
        middle, radius = (x + width // 2, y + height // 4), height // 6
        cv2.circle(pixels, middle, radius, (240, 220, 40), -1)
        person = Box(x / 128, y / 96, (x + width) / 128, (y + height) / 96)
        face = Box(
            (middle[0] - radius) / 128,
            (middle[1] - radius) / 96,
            (middle[0] + radius) / 128,
            (middle[1] + radius) / 96,
        )
        boxes = [LabelledBox("person", person), LabelledBox("face", face, source="yunet")]
    encoded = cv2.imencode(".png", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))[1].tobytes()
    name = "street" if boxes else "animals"
    return Record(f"{name}/train/{number}", encoded, 128, 96, tuple(boxes))

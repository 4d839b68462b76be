from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.detector.kinds import Boxed
from oahega_build.scenes.evaluate_covered import answered
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.manifest import InputTensor, Resize

pytestmark = pytest.mark.training

DETECTOR: Any = SimpleNamespace(
    input=InputTensor(width=320, height=240, colour="rgb", dtype="float32", pixel_scale=1, pixel_offset=0),
    resize=Resize(kernel="area", fit="letterbox"),
)
LARGE, SMALL = Box(0.1, 0.1, 0.3, 0.4), Box(0.6, 0.1, 0.65, 0.2)


class SureOfBright:
    """Happy in bright pictures, undecided in dark ones."""

    labels = ("happy", "sad")

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        return np.array([0.9, 0.1]) if pixels.mean() > 100 else np.array([0.55, 0.45])


def test_the_share_answered_is_told_of_each_kind_and_of_large_faces_alone() -> None:
    bright, dark = np.full((240, 320, 3), 200, np.uint8), np.full((240, 320, 3), 20, np.uint8)
    pictures = [
        Boxed(bright, [("masked_face", LARGE), ("masked_face", SMALL), ("face", LARGE)]),
        Boxed(dark, [("masked_face", LARGE)]),
    ]

    figures = answered(pictures, SureOfBright(), 0.7, DETECTOR)

    assert figures["masked_face"] == {
        "faces": 2,
        "answered": 0.5,
        "interval": [0.0, 1.0],
        "labels": {"happy": 1},
    }
    assert figures["face"]["answered"] == 1.0

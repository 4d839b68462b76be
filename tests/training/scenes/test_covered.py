from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from mini_bundle import make_bundle
from oahega_build.detector.kinds import Boxed
from oahega_build.scenes.evaluate_covered import answered, as_text, evaluate, on_card
from oahega_edge.chain.detection import Detection
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

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> NDArray[np.float64]:
        return np.array([0.9, 0.1]) if pixels.mean() > 100 else np.array([0.55, 0.45])


def test_the_share_answered_is_told_of_each_kind_and_of_large_faces_alone() -> None:
    bright, dark = np.full((240, 320, 3), 200, np.uint8), np.full((240, 320, 3), 20, np.uint8)
    pictures = [
        Boxed(bright, [("masked_face", LARGE), ("masked_face", SMALL), ("face", LARGE)]),
        Boxed(dark, [("masked_face", LARGE)]),
    ]

    figures = answered(pictures, SureOfBright(), 0.7, DETECTOR, lambda pixels: [])

    assert figures["masked_face"] == {
        "faces": 2,
        "answered": 0.5,
        "interval": [0.0, 1.0],
        "seen as covered": 0.0,
        "labels": {"happy": 1},
    }
    assert figures["face"]["answered"] == 1.0
    told = {"threshold": 0.7, **figures}
    assert on_card(told) == {"covered_answered": "0.500 [0.000, 1.000] of 2", "covered_labels": "happy 1"}
    assert (
        "masked_face: 0.500 [0.000, 1.000] of 2 answered above 0.7; 0.0 seen as covered; happy 1"
        in as_text(told)
    )


def test_a_face_that_the_detector_sees_as_covered_is_not_answered() -> None:
    bright = np.full((240, 320, 3), 200, np.uint8)
    other = Box(0.6, 0.1, 0.8, 0.4)
    pictures = [Boxed(bright, [("masked_face", LARGE), ("face", other)])]
    found = [Detection("face", LARGE, 0.9, covered=True), Detection("face", other, 0.9)]

    figures = answered(pictures, SureOfBright(), 0.7, DETECTOR, lambda pixels: found)

    masked, plain = figures["masked_face"], figures["face"]
    assert (masked["answered"], masked["seen as covered"]) == (0.0, 1.0)
    assert (plain["answered"], plain["seen as covered"]) == (1.0, 0.0)


def test_without_masked_faces_nothing_goes_on_the_card() -> None:
    figures = answered([], SureOfBright(), 0.7, DETECTOR, lambda pixels: [])

    assert on_card({"threshold": 0.7, **figures}) == {}
    assert as_text({"threshold": 0.7, **figures}) == ""


def test_figures_of_an_exported_model_go_on_its_card(tmp_path: Path) -> None:
    mini = make_bundle(tmp_path / "mini")
    entry = json.loads((mini / "manifest.json").read_text())["emotion"]
    run = tmp_path / "run"
    run.mkdir()
    shutil.copy(mini / "emotion.tflite", run)
    (run / "entry.json").write_text(json.dumps(entry))
    street = tmp_path / "street"
    street.mkdir()
    cv2.imwrite(str(street / "a.png"), np.full((240, 320, 3), 90, np.uint8))
    (street / "a.txt").write_text("masked_face 0.5 0.5 0.9 0.95\n")

    figures = evaluate(run, street, mini, tmp_path / "artifacts", "a")

    card = json.loads((run / "entry.json").read_text())["card"]["metrics"]
    assert card["covered_answered"].endswith("of 1")
    assert figures["masked_face"]["faces"] == 1

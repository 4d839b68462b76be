from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

from oahega_build.detector.kinds import (
    Boxed,
    Face,
    Skin,
    by_kind,
    by_lightness,
    matched,
    measure,
    on_card,
    read_boxed,
    share_found,
    typology_angle,
)
from oahega_build.errors import DataError
from oahega_build.labelling.teachers import Finding
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.manifest import InputTensor, Resize

pytestmark = pytest.mark.training

ONE, OTHER = Box(0.1, 0.1, 0.3, 0.4), Box(0.6, 0.1, 0.8, 0.4)
MARKS = ((0.16, 0.2), (0.24, 0.2), (0.2, 0.26), (0.17, 0.32), (0.23, 0.32))
ENTRY: Any = SimpleNamespace(
    input=InputTensor(width=320, height=240, colour="rgb", dtype="float32", pixel_scale=1, pixel_offset=0),
    resize=Resize(kernel="area", fit="letterbox"),
)
"""What the figures ask of an entry."""


def plain(red: int, green: int, blue: int) -> np.ndarray:
    return np.full((240, 320, 3), (red, green, blue), np.uint8)


class Sees:
    """Finds the first face of every picture."""

    name = "sees"

    def find(self, pixels: np.ndarray) -> list[Finding]:
        return [Finding("face", ONE, 0.9, MARKS)]


def detects(pixels: np.ndarray) -> list[Detection]:
    """The first face, and something that is none."""
    return [Detection("face", ONE, 0.8), Detection("face", Box(0.4, 0.6, 0.6, 0.9), 0.6)]


def test_a_face_is_found_once_by_the_surest_detection() -> None:
    twice = [Detection("face", ONE, 0.5), Detection("face", ONE, 0.9)]

    assert matched([ONE, OTHER], twice) == [True, False]
    assert matched([], twice) == []


def test_recall_is_told_by_kind_and_by_height_on_the_input() -> None:
    faces = [
        Face(0, "face", 30.0, True),
        Face(0, "face", 10.0, False),
        Face(1, "masked_face", 50.0, False),
        Face(2, "masked_face", 15.0, True),
    ]

    figures = by_kind(faces)

    assert figures["face"]["at least 12 px"]["recall"] == 1.0
    assert figures["face"]["8-12 px"] == {"faces": 1, "recall": 0.0, "interval": [0.0, 0.0]}
    assert figures["masked_face"]["at least 12 px"]["recall"] == 0.5
    assert figures["masked_face"]["over 40 px"]["faces"] == 1


def test_the_interval_is_of_pictures_and_not_of_faces() -> None:
    """A hundred faces in two pictures say no more than two pictures do."""
    crowded = [Face(i % 2, "face", 20.0, i % 2 == 0) for i in range(100)]
    spread = [Face(i, "face", 20.0, i % 2 == 0) for i in range(100)]

    assert share_found(crowded)["interval"] == [0.0, 1.0]
    low, high = share_found(spread)["interval"]
    assert 0.35 < low < 0.5 < high < 0.65
    assert share_found([])["recall"] is None


def test_darker_cheeks_have_a_smaller_typology_angle() -> None:
    face = Finding("face", ONE, 0.9, MARKS)

    angles = [
        typology_angle(plain(*colour), face) for colour in ((240, 205, 180), (190, 140, 110), (90, 60, 45))
    ]

    assert angles == sorted(angles, reverse=True)
    assert angles[0] > 41
    assert angles[2] < 10
    assert typology_angle(plain(200, 160, 140), Finding("face", ONE, 0.9)) is None


def test_classes_of_lightness_tell_the_distance_between_them_and_the_share_of_light() -> None:
    light = [Skin(Face(i, "face", 60, True), 50.0, 70.0) for i in range(20)]
    dark = [Skin(Face(20 + i, "face", 60, i < 15), -20.0, 30.0) for i in range(20)]

    figures = by_lightness(light + dark)

    assert figures["classes"]["light"]["recall"] == 1.0
    assert figures["classes"]["dark"]["recall"] == 0.75
    assert figures["worst_to_best"] == 0.25
    assert figures["share_of_lighting"] == pytest.approx(1.0)


def test_a_masked_face_counts_by_kind_and_not_for_its_skin() -> None:
    boxed = [
        Boxed(plain(220, 180, 160), [("face", ONE), ("masked_face", OTHER)]),
        Boxed(plain(220, 180, 160), [("masked_face", ONE)]),
    ]

    figures = measure(boxed, [plain(90, 60, 45)], detects, Sees(), ENTRY)

    assert figures["precision"] == 0.5
    assert figures["kinds"]["masked_face"]["at least 12 px"] == {
        "faces": 2,
        "recall": 0.5,
        "interval": [0.0, 1.0],
    }
    assert sum(of["faces"] for of in figures["lightness"]["classes"].values()) == 2
    card = on_card(figures)
    assert (
        card["boxed_face_recall"]
        == "at least 12 px 1.000 [1.000, 1.000] of 1, over 40 px 1.000 [1.000, 1.000] of 1"
    )
    assert card["boxed_precision"] == 0.5


def test_boxed_pictures_keep_the_kind_of_each_face(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), plain(10, 20, 30))
    (tmp_path / "a.txt").write_text("face 0.2 0.25 0.2 0.3\nmasked_face 0.7 0.25 0.2 0.3\n")

    (picture,) = read_boxed(tmp_path)

    assert [kind for kind, _ in picture.faces] == ["face", "masked_face"]
    assert picture.faces[0][1].iou(ONE) == pytest.approx(1.0)
    (tmp_path / "a.txt").unlink()
    with pytest.raises(DataError, match="no boxed faces; give a folder"):
        read_boxed(tmp_path)

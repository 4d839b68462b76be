"""What faces look like where a bundle comes from: measured, written, and understood by a device."""

from __future__ import annotations

import shutil
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import pytest
from skimage import data

import drawn_faces
from oahega_build.errors import DataError
from oahega_build.scenes import reference
from oahega_build.scenes.reference import measure_reference
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.drift.drift import Drifted
from oahega_edge.drift.look import BINS, QUANTITIES
from oahega_edge.drift.words import problem

pytestmark = pytest.mark.lengthy

LOOKS = ("happy", "neutral")
EACH = 40


@pytest.fixture(autouse=True)
def few_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "LEAST_FACES", 2)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return Path(shutil.copytree(DEFAULT_BUNDLE, tmp_path / "bundle"))


def faces(folder: Path, light: float = 1.0) -> Path:
    for look in LOOKS:
        (folder / look).mkdir(parents=True)
        for number in range(EACH):
            face = drawn_faces.draw_face(drawn_faces.LOOKS[look], 48, np.random.default_rng(number)) * light
            cv2.imwrite(str(folder / look / f"{number}.png"), face.clip(0, 255).astype(np.uint8))
    return folder


def people(folder: Path, count: int = 2) -> Path:
    folder.mkdir()
    picture = cv2.cvtColor(data.astronaut(), cv2.COLOR_RGB2BGR)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), picture)
    (folder / "broken.png").write_bytes(b"no picture")
    return folder


def middle(histogram: tuple[int, ...]) -> int:
    return int(np.searchsorted(np.cumsum(histogram) / sum(histogram), 0.5))


def test_the_manifest_gets_histograms_of_the_faces_and_all_else_stays(
    bundle: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    before = load_bundle(bundle).manifest

    measure_reference(bundle, faces(tmp_path / "faces"), [people(tmp_path / "people")])

    after = load_bundle(bundle).manifest
    found = after.emotion.reference or {}
    assert {name: len(histogram) for name, histogram in found.items()} == dict.fromkeys(
        ("confidence", "entropy", "brightness", "sharpness", "height", "score"), BINS
    )
    assert sum(found["height"]) == sum(found["score"]) == 2
    assert sum(found["brightness"]) == sum(found["confidence"]) == EACH * len(LOOKS) // 10
    emotion = before.emotion.model_copy(update={"reference": after.emotion.reference})
    assert after == before.model_copy(update={"emotion": emotion})
    assert "1 x picture that cannot be read, left out: broken.png" in caplog.text


def test_a_device_says_that_its_faces_are_darker_than_those(bundle: Path, tmp_path: Path) -> None:
    measure_reference(bundle, faces(tmp_path / "faces"), [people(tmp_path / "people")])
    home = load_bundle(bundle).manifest.emotion.reference or {}
    found = {"brightness": Drifted(-0.9, 0.2, date(2026, 3, 1))}
    middles = [BINS // 2] * len(QUANTITIES)

    usual = problem(found, middles, home)
    middles[QUANTITIES.index("brightness")] = 0
    dark = problem(found, middles, home)

    assert "darker than the pictures that the bundle learned from" not in str(usual)
    assert "darker than the pictures that the bundle learned from" in str(dark)


def test_darker_faces_lie_lower(bundle: Path, tmp_path: Path) -> None:
    pictures = [people(tmp_path / "people")]
    places = []
    for name, light in (("dark", 0.4), ("light", 1.0)):
        measure_reference(bundle, faces(tmp_path / name, light), pictures)
        places.append(middle((load_bundle(bundle).manifest.emotion.reference or {})["brightness"]))

    assert places[0] < places[1] - 3


def test_too_few_faces_are_refused_and_the_bundle_stays(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = (bundle / "manifest.json").read_bytes()
    monkeypatch.setattr(reference, "LEAST_FACES", 9)

    with pytest.raises(DataError, match="8 faces, at least 9 are needed; add pictures"):
        measure_reference(bundle, faces(tmp_path / "faces"), [people(tmp_path / "people")])

    assert (bundle / "manifest.json").read_bytes() == before

"""Accuracy in scenes: every face is shown once, a missed one is an error, a right answer counts."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample
from oahega_build.pictures.framing import LABELLED_FRAMING
from oahega_build.pictures.people import Portrait, as_pictures, portraits_of
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_build.scenes.chain import Chain, device_settings
from oahega_build.scenes.evaluate_scenes import (
    FRAMES,
    MISSED,
    NOISE,
    Seen,
    Shown,
    figures_of,
    look,
    on_people,
    plan,
)
from oahega_build.scenes.render import face_box, render
from oahega_build.scenes.sequences import Scenario, Scenery, make_scenery
from oahega_build.scenes.video.methods import Device
from oahega_edge.bundles.load import DEFAULT_BUNDLE, seal
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

LABELS = ("bright", "dark")
DEVICE = Device(device_settings(None, ["tracking.hold_ms=0"]), LABELS)


def grey(label: int, number: int) -> Sample:
    pixels = np.full((48, 48), (220, 30)[label], np.uint8)
    return Sample(f"train/{LABELS[label]}/{number}.png", label, np.eye(2, dtype=np.float32)[label], pixels)


@pytest.fixture
def scenery(tmp_path: Path) -> Scenery:
    cv2.imwrite(str(tmp_path / "scene.png"), np.full((480, 640, 3), 120, np.uint8))
    return make_scenery([grey(label, i) for label in range(2) for i in range(8)], LABELS, tmp_path)


def shown(scenario: Scenario, scenery: Scenery) -> Shown:
    heights = [person.height.middle for person in scenario.people]
    return Shown(scenario.name, render(scenario, scenery, NOISE), heights)


class ByBrightness:
    """Reads the middle of a face."""

    labels = LABELS

    def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
        x, y = box.center
        bright = pixels[int(y * pixels.shape[0]), int(x * pixels.shape[1]), 0] > 120
        return np.array([0.9, 0.1] if bright else [0.1, 0.9])


@contextmanager
def seeing(scenario: Scenario, people: int) -> Iterator[Chain]:
    """A detector that sees so many of the people, where they are."""

    def detect(frame: Frame) -> list[Detection]:
        return [
            Detection("face", face_box(person, frame.captured_at), 0.9) for person in scenario.people[:people]
        ]

    yield Chain(detect, ByBrightness(), 0.5, {})


def test_every_still_is_shown_once_and_inside_the_picture(scenery: Scenery) -> None:
    people = [person for scenario in plan(scenery) for person in scenario.people]

    shown = sorted((person.shots[0].label, person.shots[0].still) for person in people)
    heights = [person.height.middle for person in people]
    boxes = [face_box(person, 0.0) for person in people]

    assert shown == [(label, still) for label in range(2) for still in range(8)]
    assert all(40 <= height <= 200 for height in heights)
    assert all(min(box.left, box.top) >= 0 and max(box.right, box.bottom) <= 1 for box in boxes)


def test_faces_that_are_found_are_read_where_they_are(scenery: Scenery) -> None:
    for scenario in plan(scenery):
        with seeing(scenario, len(scenario.people)) as chain:
            assert all(seen.right for seen in look(shown(scenario, scenery), chain, DEVICE))


def test_a_face_that_is_not_found_is_an_error(scenery: Scenery) -> None:
    scenario = plan(scenery)[0]

    with seeing(scenario, 0) as chain:
        seen = look(shown(scenario, scenery), chain, DEVICE)

    assert [face.answered for face in seen] == [MISSED] * len(scenario.people)
    assert not any(face.right or face.right_at_once for face in seen)


def test_a_face_that_is_lost_for_a_frame_keeps_what_its_track_was_seen_with(scenery: Scenery) -> None:
    scenario = next(scenario for scenario in plan(scenery) if len(scenario.people) == 1)
    times: list[float] = []

    def blinking(frame: Frame) -> list[Detection]:
        times.append(frame.captured_at)
        there = len(times) < FRAMES
        return [Detection("face", face_box(scenario.people[0], frame.captured_at), 0.9)] if there else []

    holding = DEVICE.changed("tracking", hold_ms=800)
    (seen,) = look(shown(scenario, scenery), Chain(blinking, ByBrightness(), 0.5, {}), holding)

    assert len(times) == FRAMES
    assert seen.right
    assert seen.at_once == MISSED


def test_figures_count_what_is_missed_and_what_is_wrong() -> None:
    seen = [Seen(0, 0, 1, 50), Seen(0, 1, 0, 50), Seen(1, MISSED, MISSED, 150), Seen(1, 1, MISSED, 150)]
    figures = figures_of(seen, [True, True, False, False])

    assert (figures.faces, figures.missed, figures.missed_at_once) == (4, 1, 2)
    assert figures.in_scenes.value == 0.5
    assert figures.at_once.value == 0.25
    assert figures.as_crops.value == 0.5
    assert figures.by_height == {"40-64": 0.5, "100-200": 0.5}


def portrait(height: int = 200) -> Portrait:
    """A brown head of that height before blue."""
    pixels = np.zeros((3 * height, 4 * height, 3), np.uint8)
    pixels[..., 2] = 180
    face = Box(1.6 * height, height, 2.4 * height, 2 * height)
    pixels[height : 2 * height, int(face.left) : int(face.right)] = (150, 100, 60)
    return Portrait(pixels, face)


def test_a_head_becomes_a_picture_that_is_framed_as_the_training_pictures_are() -> None:
    (picture,) = as_pictures([portrait()], "rgb")

    skin = np.abs(picture.astype(int) - (150, 100, 60)).max(axis=2) < 10
    rows, columns = (np.flatnonzero(skin.any(axis=axis)) / 96 for axis in (1, 0))
    box = LABELLED_FRAMING.box
    assert (rows[0], rows[-1]) == pytest.approx((max(0, box.top), min(1, box.bottom)), abs=0.03)
    assert columns[-1] - columns[0] == pytest.approx(0.8 * box.height, abs=0.04)  # as wide as the portrait's
    assert (columns[0] + columns[-1]) / 2 == pytest.approx(box.center[0], abs=0.03)


def test_a_still_takes_the_place_of_a_face_in_its_colour(scenery: Scenery) -> None:
    scenes = on_people(scenery, [portrait()])

    assert len(scenes) == 16
    for scene in scenes:
        (frame, *_), (height,) = list(scene.frames), scene.heights
        (truth,) = frame.truths
        box = truth.box
        assert box.height * 480 == pytest.approx(0.98 * height, rel=0.02)
        pixels = frame.frame.pixels.astype(int)
        x, y = box.center
        red, green, blue = pixels[
            int(y * 480) - 3 : int(y * 480) + 3, int(x * 640) - 3 : int(x * 640) + 3
        ].mean(axis=(0, 1))
        assert (red, green, blue) == pytest.approx((150, 100, 60), abs=12)
        # Beside the face is what was beside the person's.
        beside = min(box.right + 0.6 * box.width, 0.999), max(box.left - 0.6 * box.width, 0.0)
        assert any(pixels[int(y * 480), int(at * 640)].argmax() == 2 for at in beside)


def test_faces_on_people_are_read_where_they_are(scenery: Scenery) -> None:
    for scene in on_people(scenery, [portrait()]):
        frames = list(scene.frames)
        truth = frames[0].truths[0]
        there = Detection("face", truth.box, 0.9)
        chain = Chain(lambda frame, there=there: [there], ByLight(), 0.5, {})  # type: ignore[misc]

        (seen,) = look(Shown(scene.name, frames, scene.heights), chain, DEVICE)

        assert seen.answered == 1
        assert seen.height == scene.heights[0]


class ByLight:
    """Finds everything dark."""

    labels = LABELS

    def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
        return np.array([0.2, 0.8])


def test_only_whole_faces_that_are_high_enough_lend_their_place() -> None:
    encoded = cv2.imencode(".png", np.zeros((100, 100, 3), np.uint8))[1].tobytes()

    def record(*boxes: LabelledBox) -> Record:
        return Record("a", encoded, 100, 100, boxes)

    whole, low = Box(0.2, 0.2, 0.6, 0.8), Box(0.1, 0.1, 0.2, 0.3)
    heads = portraits_of(
        [
            record(
                LabelledBox("face", low), LabelledBox("face", whole), LabelledBox("person", Box(0, 0, 1, 1))
            ),
            record(LabelledBox("face", low)),
            record(LabelledBox("face", whole, ignore=True)),
            record(LabelledBox("face", Box(-0.1, 0.2, 0.6, 0.8))),
            record(),
        ]
    )

    assert [head.face for head in heads] == [Box(20, 20, 60, 80)]


def test_pictures_of_people_too_far_away_are_named(scenery: Scenery) -> None:
    with pytest.raises(DataError, match="none of 1 pictures shows a face that can be 200 pixels high"):
        on_people(scenery, [portrait(60)])


def test_measurements_decide_as_the_bundle_suggests(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    shutil.copytree(DEFAULT_BUNDLE, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["emotion"]["suggested"] |= {"lapse": 0.07, "frames": 5}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    seal(folder)

    settings = device_settings(folder, ("smoothing.lasting_s=30",))

    assert settings.smoothing.lapse == 0.07
    assert settings.smoothing.frames == 5
    assert settings.smoothing.lasting_s == 30

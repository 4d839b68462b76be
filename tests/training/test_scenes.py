"""Accuracy in scenes: every face is shown once, a missed one is an error, a right answer counts."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.dataset import Sample
from oahega_build.evaluate_scenes import FRAMES, MISSED, Seen, figures_of, look, plan
from oahega_build.evaluate_video import Chain
from oahega_build.sequences import Scenario, Scenery, face_box, make_scenery
from oahega_build.video_methods import Tracking
from oahega_edge.detection import Detection
from oahega_edge.frame import Frame
from oahega_edge.geometry import Box

pytestmark = pytest.mark.training

LABELS = ("bright", "dark")
TRACKING = Tracking(match_iou=0.2, start_score=0.5, start_hits=2, lost_after=1.0, unsure=0.3)


def grey(label: int, number: int) -> Sample:
    pixels = np.full((48, 48), (220, 30)[label], np.uint8)
    return Sample(f"train/{LABELS[label]}/{number}.png", label, np.eye(2, dtype=np.float32)[label], pixels)


@pytest.fixture
def scenery(tmp_path: Path) -> Scenery:
    cv2.imwrite(str(tmp_path / "scene.png"), np.full((480, 640, 3), 120, np.uint8))
    return make_scenery([grey(label, i) for label in range(2) for i in range(8)], LABELS, tmp_path)


class ByBrightness:
    """Reads the middle of a face."""

    labels = LABELS

    def __call__(self, pixels: np.ndarray, box: Box) -> np.ndarray:
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
            assert all(seen.right for seen in look(scenario, scenery, chain, TRACKING))


def test_a_face_that_is_not_found_is_an_error(scenery: Scenery) -> None:
    scenario = plan(scenery)[0]

    with seeing(scenario, 0) as chain:
        seen = look(scenario, scenery, chain, TRACKING)

    assert [face.answered for face in seen] == [MISSED] * len(scenario.people)
    assert not any(face.right or face.right_at_once for face in seen)


def test_a_face_that_is_lost_for_a_frame_keeps_what_its_track_was_seen_with(scenery: Scenery) -> None:
    scenario = next(scenario for scenario in plan(scenery) if len(scenario.people) == 1)
    times: list[float] = []

    def blinking(frame: Frame) -> list[Detection]:
        times.append(frame.captured_at)
        there = len(times) < FRAMES
        return [Detection("face", face_box(scenario.people[0], frame.captured_at), 0.9)] if there else []

    holding = dataclasses.replace(TRACKING, hold=0.8)
    (seen,) = look(scenario, scenery, Chain(blinking, ByBrightness(), 0.5, {}), holding)

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

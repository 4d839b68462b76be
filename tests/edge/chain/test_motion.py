"""The gate: an empty, still scene is not looked at, and nobody is missed for it."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from gated import Detect, chain, nobody, noisy, scene
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.memory import frames_of
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import MotionGate, OpenGate
from oahega_edge.chain.pipeline import Pipeline
from oahega_edge.errors import EndOfSource
from waiting import PATIENCE

FPS = 15


class Looks:
    """A detector that counts how often it is asked."""

    def __init__(self, detect: Detect) -> None:
        self.at: list[int] = []
        self._detect = detect

    def __call__(self, frame: Frame) -> list[Detection]:
        self.at.append(frame.sequence)
        return self._detect(frame)


def looks_at(pictures: list[Pixels], detect: Detect = nobody) -> list[int]:
    looks = Looks(detect)
    pipeline = chain(looks, MotionGate(1.0))
    for frame in frames_of(pictures, fps=FPS):
        pipeline.process(frame)
    return looks.at


def test_a_still_scene_is_looked_at_once_a_second_however_noisy() -> None:
    looks = looks_at([noisy(scene(), i) for i in range(3 * FPS)])

    assert looks == [0, 15, 30]


def test_brighter_light_on_everything_is_no_motion() -> None:
    pictures = [noisy(scene() + np.uint8(i), i) for i in range(FPS)]

    assert looks_at(pictures) == [0]


def test_whoever_walks_in_is_looked_at_in_the_same_frame() -> None:
    pictures = [noisy(scene(), i) for i in range(12)]
    pictures[7][200:230, 300:322] += np.uint8(25)

    assert 7 in looks_at(pictures)


def test_change_too_slow_to_be_seen_from_frame_to_frame_adds_up() -> None:
    """A head that turns within a second: no two frames in a row differ by more than a grey level."""
    pictures = [scene() for _ in range(FPS)]
    for i, picture in enumerate(pictures):
        picture[200:260, 300:350] = picture[200:260, 300:350] // 2 + i

    assert len(looks_at(pictures)) >= 3


def test_nothing_rests_while_a_face_is_followed_or_waits_to_be_confirmed() -> None:
    def detect(frame: Frame) -> list[Detection]:
        return [Detection("face", Box(0.4, 0.4, 0.5, 0.6), 0.9)]

    assert looks_at([scene()] * 10, detect) == list(range(10))


def test_people_of_the_last_look_are_still_there_while_nothing_moves() -> None:
    def detect(frame: Frame) -> list[Detection]:
        return [Detection("person", Box(0.4, 0.4, 0.5, 0.6), 0.9)]

    pipeline = chain(detect, MotionGate(1.0))

    people = [pipeline.process(frame).people for frame in frames_of([scene()] * 5, fps=FPS)]

    assert people == [1] * 5


def test_a_camera_that_was_closed_is_looked_at_anew() -> None:
    looks = Looks(nobody)
    pipeline = chain(looks, MotionGate(1.0))
    first, second, third = frames_of([scene()] * 3, fps=FPS)
    pipeline.process(first)
    pipeline.process(second)

    pipeline.finish()
    pipeline.process(third)

    assert looks.at == [0, 2]


def test_a_clock_that_goes_back_does_not_close_the_gate() -> None:
    gate = MotionGate(1.0)
    early, late = frames_of([scene()] * 2, fps=1)
    gate.looked(late)

    assert not gate.is_still(early)


def clips(shared: Path) -> Iterator[Path]:
    media = shared / "data/media"
    yield from sorted(p for p in media.rglob("*") if p.suffix in (".mkv", ".mp4", ".gif"))


def frames(path: Path, most: int) -> list[Frame]:
    with open_camera(str(path)) as camera, contextlib.suppress(EndOfSource):
        found: list[Frame] = []
        while len(found) < most:
            found.append(camera.read(PATIENCE))
    return found


@pytest.mark.lengthy
@pytest.mark.shared
@pytest.mark.parametrize("most", [25, pytest.param(2_000, marks=pytest.mark.long)])
def test_no_face_found_without_the_gate_is_lost_with_it(shared: Path, most: int) -> None:
    """Every clip of real people, by a detector that is asked once per frame and answers twice."""
    model = shared / "data/teachers/yunet/yunet_n_640_640.onnx"
    for path in clips(shared):
        clip = frames(path, most)
        detect = YuNet(model, clip[0])
        answers = {frame.sequence: detect(frame) for frame in clip}
        looks = Looks(lambda frame, known=answers: known[frame.sequence])  # type: ignore[misc]
        gated, open_ = chain(looks, MotionGate(1.0)), chain(looks, OpenGate())

        with_gate = [boxes(gated, frame) for frame in clip]
        without = [boxes(open_, frame) for frame in clip]

        assert with_gate == without, path.name


def boxes(pipeline: Pipeline, frame: Frame) -> list[Box]:
    return [face.box for face in pipeline.process(frame).faces]


class YuNet:
    """Faces of one clip."""

    def __init__(self, model: Path, first: Frame) -> None:
        self._size = (320, round(320 * first.height / first.width))
        self._network = cv2.FaceDetectorYN.create(str(model), "", self._size, 0.4, 0.3, 50)

    def __call__(self, frame: Frame) -> list[Detection]:
        width, height = self._size
        small = cv2.resize(frame.pixels[..., ::-1], self._size, interpolation=cv2.INTER_AREA)
        _, rows = self._network.detect(small)
        return [
            Detection("face", Box(x / width, y / height, (x + w) / width, (y + h) / height), score)
            for x, y, w, h, *_, score in ([] if rows is None else rows.tolist())
        ]

import numpy as np
import pytest

from oahega_edge.cameras.memory import frames_of
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import FaceRules, Pipeline, dominant
from oahega_edge.chain.trigger import Decision
from scripted import LEFT, RIGHT, Mood, face, pipeline


def play(chain: Pipeline, frames: int) -> list[Decision]:
    pictures = [np.zeros((100, 100, 3), np.uint8)] * frames
    return [d for frame in frames_of(pictures) for d in chain.process(frame).decisions]


def test_two_faces_get_decisions_of_their_own() -> None:
    chain = pipeline(lambda i: [face(RIGHT), face(LEFT)] if i % 2 else [face(LEFT), face(RIGHT)])

    decisions = play(chain, 6)

    assert {(d.phase, d.emotion, d.box.left) for d in decisions} == {
        ("new", "happy", LEFT.left),
        ("new", "sad", RIGHT.left),
    }
    assert len({d.track for d in decisions}) == 2


class Turns(Mood):
    """It remembers by which crop each face was read."""

    def __init__(self) -> None:
        super().__init__()
        self.seconds: dict[float, list[bool]] = {}

    def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
        self.seconds.setdefault(box.left, []).append(second)
        return super().__call__(pixels, box)


def test_each_face_is_read_by_both_crops_in_turn() -> None:
    """Its own turns, however many faces there are and whenever each came."""
    mood = Turns()

    play(pipeline(lambda i: [face(LEFT), face(RIGHT)] if i > 2 else [face(LEFT)], mood=mood), 8)

    assert mood.seconds == {
        LEFT.left: [False, True, False, True, False, True, False],
        RIGHT.left: [False, True, False, True],
    }


def test_a_face_that_comes_nearer_is_measured_by_the_first_crop() -> None:
    mood = Turns()
    near = Box(LEFT.left, 0.15, 0.32, 0.6)
    chain = pipeline(lambda i: [face(near if i > 3 else LEFT)], mood=mood)
    chain.gauge = mood.measured

    play(chain, 8)

    assert mood.seconds[LEFT.left] == [False, True, False, False, True, False, True]


def test_a_young_face_says_in_how_few_frames_it_was_seen() -> None:
    (decision,) = play(pipeline(lambda i: [face(LEFT)]), 6)

    assert decision.frames == 2


def test_a_face_that_leaves_gets_a_last_word() -> None:
    decisions = play(pipeline(lambda i: [face(LEFT)] if i < 4 else []), 12)

    assert [d.phase for d in decisions] == ["new", "end"]


def test_a_face_that_was_there_for_one_frame_is_not_spoken_of() -> None:
    assert play(pipeline(lambda i: [face(LEFT)] if i == 3 else []), 12) == []


def test_people_are_counted_and_not_read() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [Detection("person", LEFT, 0.9), Detection("person", RIGHT, 0.9)], mood=mood)

    step = chain.process(frames_of([np.zeros((100, 100, 3), np.uint8)])[0])

    assert (step.people, len(step.faces), mood.calls) == (2, 0, 0)


def test_a_face_too_small_to_be_read_is_counted() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [face(LEFT)], rules=FaceRules(min_height_px=31), mood=mood)

    frames = frames_of([np.zeros((100, 100, 3), np.uint8)] * 3)
    steps = [chain.process(frame) for frame in frames]

    assert len(steps[-1].faces) == 1
    assert steps[-1].faces[0].average is None
    assert mood.calls == 0


def test_nobody_is_seen_in_a_mask() -> None:
    rules = FaceRules(min_height_px=10, masks=(Box(0.5, 0, 1, 1),))

    decisions = play(pipeline(lambda i: [face(LEFT), face(RIGHT)], rules=rules), 6)

    assert {d.emotion for d in decisions} == {"happy"}


def test_the_papers_two_settings_change_while_running() -> None:
    chain = pipeline(lambda i: [face(LEFT)])
    frames = frames_of([np.zeros((100, 100, 3), np.uint8)] * 8)
    for frame in frames[:4]:
        chain.process(frame)

    chain.adjust(frames=1, threshold=0.95)

    step = chain.process(frames[4])
    assert step.faces[0].average is not None
    assert step.faces[0].average.frames == 1
    assert step.faces[0].emotion == "uncertain"


def test_closing_the_camera_ends_every_face() -> None:
    chain = pipeline(lambda i: [face(LEFT), face(RIGHT)])
    play(chain, 4)

    last = chain.finish().decisions

    assert [d.phase for d in last] == ["end", "end"]
    assert [d.visit is not None and d.visit.dominant for d in last] == ["happy", "sad"]
    assert chain.finish().decisions == ()


def test_the_largest_face_stands_for_the_picture() -> None:
    small = Box(0.6, 0.2, 0.7, 0.3)
    chain = pipeline(lambda i: [face(small), face(LEFT)])
    frames = frames_of([np.zeros((100, 100, 3), np.uint8)] * 3)
    for frame in frames:
        step = chain.process(frame)

    largest = dominant(step.faces)

    assert largest is not None
    assert largest.box == LEFT
    assert dominant(()) is None


@pytest.mark.parametrize("box", [Box(1.01, 0.2, 1.2, 0.5), Box(-0.3, 0.2, -0.01, 0.5)])
def test_a_face_outside_the_picture_is_not_read(box: Box) -> None:
    mood = Mood()

    play(pipeline(lambda i: [face(box)], mood=mood), 4)

    assert mood.calls == 0


def moving(i: int) -> Box:
    """A face that goes to the right by 0.02 a frame."""
    return Box(0.1 + 0.02 * i, 0.2, 0.3 + 0.02 * i, 0.5)


def boxes_of(chain: Pipeline, frames: int) -> list[Box | None]:
    pictures = [np.zeros((100, 100, 3), np.uint8)] * frames
    steps = [chain.process(frame) for frame in frames_of(pictures)]
    return [step.faces[0].box if step.faces else None for step in steps]


def test_between_two_looks_of_the_detector_a_face_goes_on_as_it_moved() -> None:
    looks: list[int] = []

    def script(i: int) -> list[Detection]:
        looks.append(i)
        return [face(moving(i))]

    chain = pipeline(script)
    chain.every = 3
    boxes = boxes_of(chain, 20)

    assert looks == [0, 1, 4, 7, 10, 13, 16, 19]
    assert boxes[0] is None
    assert all(box is not None and box.iou(moving(i)) > 0.9 for i, box in enumerate(boxes) if i >= 8)


def test_a_face_is_read_between_two_looks() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [face(LEFT)], mood=mood)
    chain.every = 3

    play(chain, 10)

    assert mood.calls == 9  # every frame but the first, in which one sight was not enough


def test_after_a_face_was_missed_the_detector_looks_at_once() -> None:
    looks: list[int] = []

    def script(i: int) -> list[Detection]:
        looks.append(i)
        return [] if i == 5 else [face(LEFT)]

    chain = pipeline(script)
    chain.every = 2
    play(chain, 10)

    assert looks == [0, 1, 3, 5, 6, 8]


def test_a_face_that_was_missed_for_a_moment_is_still_there_with_its_emotion() -> None:
    chain = pipeline(lambda i: [] if i in (5, 6) or i > 9 else [face(LEFT)], hold=0.15)
    pictures = [np.zeros((100, 100, 3), np.uint8)] * 14

    steps = [chain.process(frame) for frame in frames_of(pictures)]

    assert [len(step.faces) for step in steps] == [0, *[1] * 5, 0, *[1] * 3, 1, 0, 0, 0]
    assert {f.emotion for step in steps[3:] for f in step.faces} == {"happy"}


def test_a_face_is_measured_when_it_was_nearest() -> None:
    near, far = Box(0.08, 0.15, 0.32, 0.55), Box(0.1, 0.2, 0.3, 0.5)
    mood = Mood()
    chain = pipeline(lambda i: [face(near if i == 3 else far)] if i < 8 else [], mood=mood)
    chain.gauge = mood.measured

    steps = [chain.process(frame) for frame in frames_of([np.zeros((100, 100, 3), np.uint8)] * 16)]

    (look,) = [look for step in steps for look in step.looks]
    assert look.height == pytest.approx(40)
    assert look.wait > 0


def test_no_face_is_measured_where_nothing_is_watched() -> None:
    chain = pipeline(lambda i: [face(LEFT)] if i < 4 else [])

    steps = [chain.process(frame) for frame in frames_of([np.zeros((100, 100, 3), np.uint8)] * 12)]

    assert [step.looks for step in steps if step.looks] == []


def test_a_face_in_view_is_looked_at_when_the_source_ends() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [face(LEFT)], mood=mood)
    chain.gauge = mood.measured

    play(chain, 6)

    assert len(chain.finish().looks) == 1


def covered(box: Box) -> Detection:
    return Detection("face", box, 0.9, covered=True)


def test_a_covered_face_is_followed_and_not_read() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [covered(LEFT), face(RIGHT)], mood=mood)

    frames = frames_of([np.zeros((100, 100, 3), np.uint8)] * 6)
    last = [chain.process(frame) for frame in frames][-1]

    assert sorted((f.emotion, f.average is None) for f in last.faces) == [("sad", False), ("uncertain", True)]


def test_a_face_that_is_uncovered_is_read() -> None:
    chain = pipeline(lambda i: [covered(LEFT) if i < 4 else face(LEFT)])

    assert [d.phase for d in play(chain, 4)] == []
    assert [(d.phase, d.emotion) for d in play(chain, 6)] == [("new", "happy")]


def test_between_two_looks_a_covered_face_stays_covered() -> None:
    mood = Mood()
    chain = pipeline(lambda i: [covered(LEFT)], mood=mood)
    chain.every = 3

    play(chain, 9)

    assert mood.calls == 0

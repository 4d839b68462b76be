"""Figures of decisions on records whose answer is known."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from oahega_build.scenes.chain import device_settings
from oahega_build.scenes.sequences import Truth
from oahega_build.scenes.video.decisions import Published, published, reliability
from oahega_build.scenes.video.methods import (
    Device,
    always,
    followed,
    original,
    ours,
    paper_mean,
    single_frame,
)
from oahega_build.scenes.video.metrics import Answer, Tally, clip_flips
from oahega_build.scenes.video.records import Face, Moment, Recording, cached
from oahega_edge.bundles.load import DEFAULT_BUNDLE
from oahega_edge.chain.decider import Decider
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Belief
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import UNCERTAIN, TriggerRules

LABELS = ("happy", "sad")
FPS = 10
LEFT, RIGHT = Box(0.1, 0.2, 0.3, 0.5), Box(0.6, 0.2, 0.8, 0.5)
HAPPY, SAD = np.array([0.9, 0.1]), np.array([0.1, 0.9])
RULES = TriggerRules(threshold=0.5, hysteresis=0.3, dwell=0, heartbeat=0, min_interval=0, min_frames=1)


def decider() -> Decider:
    tracker = Tracker(match_iou=0.3, start_score=0.5, start_hits=1, lost_after=0.5)
    memory = partial(Belief, max_age=2.0, lasting=5.0)
    return Decider(tracker, LABELS, lambda frames: memory(frames=frames), frames=3, rules=RULES)


def moment(i: int, faces: Sequence[tuple[Box, np.ndarray]], truths: Sequence[Truth]) -> Moment:
    found = tuple(Face(Detection("face", box, 0.9), 100.0, 50.0, (scores, scores)) for box, scores in faces)
    return Moment(i / FPS, found, tuple(truths))


def film(scores: Sequence[np.ndarray | None], truth: Sequence[int]) -> Recording:
    """One person on the left; None: the detector misses the face."""
    moments = [
        moment(i, [] if s is None else [(LEFT, s)], [Truth(0, LEFT, label, True)])
        for i, (s, label) in enumerate(zip(scores, truth, strict=True))
    ]
    return Recording("film", "low", LABELS, tuple(moments))


def tally(record: Recording, answers: Sequence[Sequence[Answer]]) -> Tally:
    result = Tally(LABELS)
    result.add(record, answers)
    return result


def said(*words: str | None) -> list[list[Answer]]:
    return [[] if word is None else [Answer(1, LEFT, word)] for word in words]


def test_right_answers_are_perfect() -> None:
    record = film([HAPPY] * 15 + [SAD] * 15, [0] * 15 + [1] * 15)

    figures = tally(record, single_frame(record, followed(record, decider()))).figures()

    assert (figures.frame_f1, figures.event_f1, figures.onset_s) == (1.0, 1.0, 0.0)
    assert figures.answered == 1.0
    assert figures.flips_per_minute == pytest.approx(20)  # one true change in three seconds


def test_a_missed_face_and_an_uncertain_one_are_errors() -> None:
    record = film([HAPPY] * 4, [0] * 4)

    figures = tally(record, said("happy", None, UNCERTAIN, "happy")).figures()

    assert figures.frame_accuracy == 0.5
    assert figures.frame_f1 == pytest.approx(2 * 2 / (2 + 4))
    assert figures.answered == 0.5


def test_an_answer_to_no_face_costs() -> None:
    record = film([HAPPY] * 4, [0] * 4)
    answers = [[*frame, Answer(2, RIGHT, "happy")] for frame in said(*["happy"] * 4)]

    figures = tally(record, answers).figures()

    assert figures.frame_f1 == pytest.approx(2 * 4 / (8 + 4))
    assert figures.false_per_minute == pytest.approx(60)


def test_flips_are_counted_with_uncertain_but_not_before_the_first_word_nor_over_a_gap() -> None:
    record = film([HAPPY] * 8, [0] * 8)

    answers = said(UNCERTAIN, "happy", UNCERTAIN, "happy", None, "happy", "sad", "sad")
    figures = tally(record, answers).figures()

    assert figures.flips_per_minute * 0.8 / 60 == pytest.approx(3)


def test_the_onset_is_the_time_to_the_first_right_word_and_never_is_infinite() -> None:
    record = film([HAPPY] * 30, [0] * 15 + [1] * 15)

    late = tally(record, said(*[None] * 5, *["happy"] * 25)).figures()
    never = tally(record, said(*["sad"] * 15, *["happy"] * 15)).figures()

    assert (late.onset_s, late.found) == (0.5, 0.5)
    assert never.onset_s == float("inf")


def test_a_face_that_nobody_can_see_is_not_asked_for() -> None:
    hidden = Recording("film", "low", LABELS, (moment(0, [], [Truth(0, LEFT, 0, False)]),) * 3)

    figures = tally(hidden, [[Answer(1, LEFT, "sad")]] * 3).figures()

    assert figures.false_per_minute == 0
    assert figures.flips_per_minute == 0


def test_a_track_that_shows_another_person_than_it_began_with_is_mixed() -> None:
    truths = [Truth(0, LEFT, 0, True), Truth(1, RIGHT, 1, True)]
    record = Recording("film", "low", LABELS, tuple(moment(i, [], truths) for i in range(4)))
    straight = [Answer(1, LEFT, "happy"), Answer(2, RIGHT, "sad")]
    swapped = [Answer(2, LEFT, "happy"), Answer(1, RIGHT, "sad")]

    figures = tally(record, [straight, straight, swapped, swapped]).figures()

    assert (figures.mixed_frames, figures.mixed_tracks) == (4, 2)


def test_a_told_expression_must_overlap_the_shown_one_by_half() -> None:
    record = film([HAPPY] * 20, [0] * 20)

    assert tally(record, said(*["happy"] * 11, *["sad"] * 9)).figures().event_f1 == pytest.approx(2 / 3)
    assert tally(record, said(*["happy"] * 9, *["sad"] * 11)).figures().event_f1 == 0


def test_the_papers_mean_is_the_plain_one_over_n_frames() -> None:
    record = film([HAPPY, HAPPY, SAD, SAD], [0, 0, 1, 1])
    sights = followed(record, decider())

    words = [frame[0].emotion for frame in paper_mean(3, 0.6)(record, sights)]

    assert words == ["happy", "happy", "happy", "sad"]  # 0.9, 0.9, 0.633, 0.633


def test_the_original_takes_the_surest_of_the_last_frames_at_a_place_of_the_list() -> None:
    shy = np.array([0.71, 0.29])
    record = film([HAPPY, shy, SAD * 0.8 + 0.1, shy], [0] * 4)

    words = [frame[0].emotion for frame in original(record)]

    assert words == ["happy"] * 4


def test_ours_waits_for_more_than_one_odd_frame() -> None:
    record = film([*[HAPPY] * 20, SAD, *[HAPPY] * 9], [0] * 30)

    words = {f.emotion for frame in ours(record, followed(record, decider())) for f in frame}

    assert words == {"happy"}


def test_frames_are_played_by_both_crops_in_turn() -> None:
    """The first crop says happy and the second sad, each surely: neither outweighs the other."""
    face = Face(Detection("face", LEFT, 0.9), 100.0, 50.0, (HAPPY, SAD))
    record = Recording("film", "low", LABELS, tuple(Moment(i / FPS, (face,), ()) for i in range(30)))

    (sight,) = followed(record, decider())[-1]

    average = sight.tracked.average
    assert average is not None
    assert average.scores[0] == pytest.approx(average.scores[1], abs=0.3)
    assert {f.emotion for frame in single_frame(record, followed(record, decider())) for f in frame} == {
        "happy"
    }


def test_always_one_label_never_flips() -> None:
    record = film([HAPPY, SAD] * 10, [0, 1] * 10)

    figures = tally(record, always("sad")(record, followed(record, decider()))).figures()

    assert figures.flips_per_minute == 0
    assert figures.frame_accuracy == 0.5


def test_flips_of_a_clip_are_counted_per_track() -> None:
    record = film([HAPPY] * 4, [0] * 4)

    flips, minutes, tracks = clip_flips(record, said("happy", "sad", "sad", "happy"))

    assert (flips, tracks) == (2, 1)
    assert minutes == pytest.approx(0.4 / 60)


def test_a_record_is_read_back_as_it_was_made_and_made_once(tmp_path: Path) -> None:
    record = film([HAPPY, None, SAD], [0, 1, 1])
    (face,) = record.moments[2].faces
    last = replace(record.moments[2], faces=(replace(face, by_crop=(SAD, HAPPY)),))
    record = replace(record, moments=(*record.moments[:2], last))
    made: list[int] = []

    def make() -> Recording:
        made.append(1)
        return record

    first, second = cached(tmp_path, {"seed": 1}, make), cached(tmp_path, {"seed": 1}, make)

    assert first is record
    assert made == [1]
    assert [m.truths for m in second.moments] == [m.truths for m in record.moments]
    assert [f.detection for m in second.moments for f in m.faces] == [
        f.detection for m in record.moments for f in m.faces
    ]
    assert (second.name, second.level, second.labels) == ("film", "low", LABELS)
    assert np.array_equal(second.moments[2].faces[0].by_crop, (SAD, HAPPY))


def test_a_clip_without_truth_and_without_a_face_is_kept_as_well(tmp_path: Path) -> None:
    empty = Recording("clip", "", LABELS, (Moment(0.0, (), ()), Moment(0.1, (), ())))
    cached(tmp_path, "clip", lambda: empty)

    again = cached(tmp_path, "clip", lambda: pytest.fail("it was kept"))

    assert [(m.time, m.faces, m.truths) for m in again.moments] == [(0.0, (), ()), (0.1, (), ())]


@pytest.fixture(scope="module")
def device() -> Device:
    settings = device_settings(DEFAULT_BUNDLE, ("smoothing.frames=1", "smoothing.lapse=0.0"))
    return Device(settings, LABELS)


def test_a_right_and_a_wrong_decision_are_told_apart(device: Device) -> None:
    right, wrong = film([HAPPY] * 30, [0] * 30), film([HAPPY] * 30, [1] * 30)

    made = [*published(right, device), *published(wrong, device)]

    assert [(decision.right, decision.is_first) for decision in made] == [(True, True), (False, True)]
    assert [decision.confidence for decision in made] == pytest.approx([0.9, 0.9], abs=0.05)


def test_a_decision_on_no_face_is_not_counted(device: Device) -> None:
    record = film([HAPPY] * 30, [0] * 30)
    nobody = [Moment(m.time, m.faces, ()) for m in record.moments]

    assert published(Recording("film", "low", LABELS, tuple(nobody)), device) == []


def test_the_lapse_lowers_the_confidence_of_what_is_published(device: Device) -> None:
    sure = film([np.array([0.99, 0.01])] * 30, [0] * 30)

    told = published(sure, device.changed("smoothing", lapse=0.2))

    assert [decision.confidence for decision in told] == pytest.approx([0.9], abs=0.01)


def test_decisions_that_are_as_often_right_as_they_say_are_reliable() -> None:
    fair = [Published(0.75, i % 4 > 0, True) for i in range(100)]
    boastful = [Published(0.95, i % 4 > 0, True) for i in range(100)]

    assert reliability(fair).calibration_error == pytest.approx(0.0)
    assert reliability(boastful).calibration_error == pytest.approx(0.2)
    assert reliability([]) is None

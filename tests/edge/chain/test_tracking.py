import pytest

from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.tracking import Tracker


def face(x: float, score: float = 0.9, size: float = 0.2) -> Detection:
    return Detection("face", Box(x, 0.3, x + size, 0.3 + size), score)


def tracker(**changes: float) -> Tracker:
    rules = {"match_iou": 0.3, "start_score": 0.5, "start_hits": 1, "lost_after": 1.0} | changes
    return Tracker(**rules)  # type: ignore[arg-type]


def test_a_face_keeps_its_id_while_it_moves() -> None:
    tracks = tracker()

    ids = {tracks.update([face(0.1 + 0.02 * i)], i / 10)[0][0].id for i in range(20)}

    assert ids == {1}


def test_two_faces_that_cross_keep_their_ids() -> None:
    """Constant speed tells them apart where overlap alone would not."""
    tracks = tracker(match_iou=0.2)
    start: dict[int, float] = {}
    for i in range(31):
        left, right = face(0.1 + 0.02 * i), face(0.7 - 0.02 * i)
        seen, _ = tracks.update([right, left] if i % 2 else [left, right], i / 10)
        if i == 0:
            start = {t.id: t.box.left for t in seen}

    end = {t.id: t.box.left for t in seen}

    assert len(start) == len(end) == 2
    assert all(abs(end[i] - (0.8 - start[i])) < 1e-6 for i in start)


def test_a_single_false_alarm_is_no_face() -> None:
    tracks = tracker(start_hits=2)

    seen_once, _ = tracks.update([face(0.1)], 0.0)
    seen_never, ended = tracks.update([], 0.1)
    seen_elsewhere, _ = tracks.update([face(0.7)], 0.2)

    assert seen_once == seen_never == ended == seen_elsewhere == []


def test_a_face_counts_once_it_was_surely_found_often_enough() -> None:
    """A print on a shirt that is sure for one frame and unsure for many is none."""
    tracks = tracker(start_hits=2)

    seen = [tracks.update([face(0.1, score)], i / 10)[0] for i, score in enumerate((0.6, 0.4, 0.4, 0.6, 0.4))]

    assert [len(tracked) for tracked in seen] == [0, 0, 0, 1, 1]


def test_an_unsure_detection_keeps_a_face_and_starts_none() -> None:
    tracks = tracker()
    tracks.update([face(0.1)], 0.0)

    seen, _ = tracks.update([face(0.1, score=0.3), face(0.7, score=0.3)], 0.1)

    assert [t.id for t in seen] == [1]


def test_a_face_ends_once_it_is_unseen_for_longer_than_it_may() -> None:
    tracks = tracker(lost_after=0.5)
    tracks.update([face(0.1)], 0.0)

    assert tracks.update([], 0.5) == ([], [])
    _, ended = tracks.update([], 0.6)

    assert [t.id for t in ended] == [1]
    assert tracks.update([face(0.1)], 0.7)[0][0].id == 2


def test_a_predicted_box_moves_with_the_face() -> None:
    tracks = tracker()
    for i in range(10):
        (track,), _ = tracks.update([face(0.1 + 0.01 * i)], i / 10)

    assert track.predicted(1.9).left == pytest.approx(0.29, abs=0.01)


def test_of_two_hidden_faces_that_may_both_have_come_back_neither_is_guessed() -> None:
    """Both were out of sight while they crossed; one face appears where either could be."""
    tracks = tracker(match_iou=0.2)
    for i in range(10):
        tracks.update([face(0.1 + 0.02 * i), face(0.6 - 0.02 * i)], i / 10)
    for i in range(10, 13):
        tracks.update([], i / 10)

    for i in range(13, 16):
        back, _ = tracks.update([face(0.35)], i / 10)

    assert [track.id for track in back] == [3]


def test_a_hidden_face_comes_back_under_its_id_where_no_other_can_be() -> None:
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.1), face(0.7)], i / 10)
    for i in range(5, 9):
        tracks.update([face(0.7)], i / 10)

    seen, _ = tracks.update([face(0.1), face(0.7)], 0.9)

    assert sorted(t.id for t in seen) == [1, 2]


def test_a_face_is_expected_where_it_was_going() -> None:
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.1 + 0.03 * i)], i / 10)
    for i in range(5, 8):
        tracks.update([], i / 10)

    (back,), _ = tracks.update([face(0.1 + 0.03 * 8)], 0.8)

    assert back.id == 1


def test_one_face_where_two_may_be_is_given_to_neither() -> None:
    """Two faces meet, and the detector finds one box that fits both as well."""
    tracks = tracker()
    for i in range(6):
        tracks.update([face(0.2 + 0.02 * i), face(0.44 - 0.02 * i)], i / 10)

    for i in range(6, 9):
        found, _ = tracks.update([face(0.32)], i / 10)

    assert [track.id for track in found] == [3]


def test_who_comes_back_in_company_and_goes_on_as_before_is_the_same() -> None:
    tracks = tracker()
    for i in range(16):
        hidden = 5 <= i < 8
        first = [] if hidden else [face(0.1 + 0.02 * i)]
        seen, _ = tracks.update([*first, face(0.3 + 0.02 * i)], i / 10)

    assert [track.id for track in seen] == [1, 2]


def test_an_unsure_box_across_two_faces_does_not_pull_one_over() -> None:
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.3)], i / 10)

    seen, _ = tracks.update([face(0.38, score=0.3)], 0.5)

    assert seen == []


def test_a_face_is_not_held_where_another_one_is() -> None:
    """Somebody stepped in front of it."""
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.3, size=0.1), face(0.7, size=0.1)], i / 10)

    tracks.update([face(0.31, size=0.25)], 0.5)

    assert [track.id for track in tracks.held(0.5, most=0.5)] == [2]


@pytest.mark.parametrize("seconds", [0.5, 1.0, 1.3, 5.0])
def test_a_face_keeps_its_id_however_slow_the_camera_is(seconds: float) -> None:
    tracks = tracker(start_hits=2)

    seen = [tracks.update([face(0.3 + 0.05 * (i % 2))], i * seconds)[0] for i in range(8)]

    assert [[track.id for track in each] for each in seen] == [[], *[[1]] * 7]


def test_at_one_frame_a_second_a_missed_face_is_waited_for_as_long_as_set() -> None:
    tracks = tracker(lost_after=4.0)
    for second in range(4):
        tracks.update([face(0.3)], second)
    for second in range(4, 7):
        assert tracks.update([], second) == ([], [])

    (back,), _ = tracks.update([face(0.3)], 7)

    assert back.id == 1


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 1), (0.06, 2)])
def test_after_a_pause_of_the_camera_only_a_face_in_the_same_place_is_the_same(
    shift: float, expected: int
) -> None:
    tracks = tracker()
    for i in range(10):
        tracks.update([face(0.3)], i / 10)

    (seen,), _ = tracks.update([face(0.3 + shift)], 4.0)

    assert seen.id == expected


def test_a_face_is_not_expected_far_outside_of_the_picture_after_seconds() -> None:
    tracks = tracker()
    for i in range(10):
        (track,), _ = tracks.update([face(0.1 + 0.02 * i)], i / 10)

    assert track.predicted(30.0).left == track.predicted(1.9).left

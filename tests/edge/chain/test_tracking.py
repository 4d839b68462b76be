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

    told = [tracks.update([face(0.1, score)], i / 10)[0] for i, score in enumerate((0.6, 0.4, 0.4, 0.6, 0.4))]

    assert [len(seen) for seen in told] == [0, 0, 0, 1, 1]


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


def test_a_much_larger_face_in_the_same_place_is_another() -> None:
    """Somebody passes in front of a face that is farther away."""
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.4, size=0.1)], i / 10)

    (near,), _ = tracks.update([Detection("face", Box(0.37, 0.27, 0.54, 0.44), 0.9)], 0.5)

    assert near.id == 2


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


def test_who_comes_out_behind_a_hidden_face_and_goes_the_other_way_is_another() -> None:
    """Two cross; the detector has lost the one before they meet and the other while they do."""
    tracks = tracker(lost_after=0.5)
    going, coming = [0.1 + 0.02 * i for i in range(20)], [0.5 - 0.02 * i for i in range(20)]
    for i in range(6):
        tracks.update([face(going[i]), face(coming[i])], i / 10)
    for i in range(6, 9):
        tracks.update([face(going[i])], i / 10)
    for i in range(9, 12):
        tracks.update([], i / 10)

    for i in range(12, 16):
        seen, _ = tracks.update([face(coming[i])], i / 10)

    assert [track.id for track in seen] == [3]


def test_who_comes_back_in_company_and_goes_on_as_before_is_the_same() -> None:
    tracks = tracker()
    for i in range(16):
        hidden = 5 <= i < 8
        first = [] if hidden else [face(0.1 + 0.02 * i)]
        seen, _ = tracks.update([*first, face(0.3 + 0.02 * i)], i / 10)

    assert [track.id for track in seen] == [1, 2]


def test_a_face_that_comes_back_is_told_of_only_when_it_is_known_whose_it_is() -> None:
    tracks = tracker()
    told = []
    for i in range(12):
        hidden = 5 <= i < 8
        first = [] if hidden else [face(0.1 + 0.02 * i)]
        seen, _ = tracks.update([*first, face(0.3 + 0.02 * i)], i / 10)
        told.append(len(seen))

    assert told == [2] * 5 + [1] * 5 + [2] * 2


def test_a_face_with_another_about_does_not_jump() -> None:
    alone, in_company = tracker(), tracker()
    for i in range(5):
        alone.update([face(0.3)], i / 10)
        in_company.update([face(0.3), face(0.65)], i / 10)

    (same,), _ = alone.update([face(0.38)], 0.5)
    seen, _ = in_company.update([face(0.38), face(0.65)], 0.5)

    assert same.id == 1
    assert [track.id for track in seen] == [2]


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


def test_two_faces_that_part_after_one_box_over_both_are_given_to_neither() -> None:
    """It may have been the box of either."""
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.3), face(0.6, score=0.4)], i / 10)
    for i in range(5, 14):  # the box grows to the other one
        seen, _ = tracks.update([Detection("face", Box(0.3, 0.3, 0.46 + 0.01 * i, 0.5), 0.9)], i / 10)

    parted, _ = tracks.update([face(0.3), face(0.39)], 1.4)

    assert [track.id for track in seen] == [1]
    assert 1 not in [track.id for track in parted]


def test_a_second_face_that_is_unsure_parts_them_as_well() -> None:
    tracks = tracker()
    for i in range(5):
        tracks.update([face(0.3), face(0.6, score=0.4)], i / 10)
    for i in range(5, 14):
        tracks.update([Detection("face", Box(0.3, 0.3, 0.46 + 0.01 * i, 0.5), 0.9)], i / 10)

    parted, ended = tracks.update([face(0.33), face(0.4, score=0.4)], 1.4)

    assert 1 not in [track.id for track in parted]
    assert [track.id for track in ended] == [1]


def test_neither_of_two_faces_that_parted_comes_back_as_the_one_that_covered_both() -> None:
    """Its box wavers between them, and so may have moved last as one of them goes on."""
    tracks = tracker()
    for i in range(8):
        tracks.update([face(0.2 + 0.02 * i, size=0.16), face(0.62 - 0.02 * i, size=0.16)], i / 15)
    for i in range(8, 20):
        tracks.update([face(0.39 + 0.01 * (i % 3), size=0.22)], i / 15)

    ids = set()
    for i in range(20, 30):
        apart = 0.012 * (i - 20)
        seen, _ = tracks.update([face(0.35 - apart, size=0.16), face(0.49 + apart, size=0.16)], i / 15)
        ids |= {track.id for track in seen}

    assert len(ids) == 2
    assert ids.isdisjoint({1, 2})


def test_a_face_is_not_held_where_somebody_is_that_no_track_has() -> None:
    tracks = tracker()
    for i in range(10):
        tracks.update([face(0.05 + 0.03 * i), face(0.62, score=0.4)], i / 10)

    tracks.update([face(0.5, score=0.4)], 1.0)
    met = tracks.held(1.0, 0.8)
    alone = tracker()
    for i in range(10):
        alone.update([face(0.05 + 0.03 * i)], i / 10)
    alone.update([], 1.0)

    assert met == []
    assert [track.id for track in alone.held(1.0, 0.8)] == [1]

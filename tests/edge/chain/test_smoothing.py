import math

import numpy as np
import pytest

from oahega_edge.chain.smoothing import Belief, Tilted, Window


def p(*values: float) -> np.ndarray:
    return np.array(values)


def test_the_papers_mean_is_the_arithmetic_one() -> None:
    window = Window(frames=2, max_age=10, mean="arithmetic")
    window.add(p(0.9, 0.1), 0.0)

    average = window.add(p(0.5, 0.5), 0.1)

    assert average.scores == pytest.approx([0.7, 0.3])
    assert (average.frames, average.window) == (2, pytest.approx(0.1))


def test_a_geometric_mean_sums_to_one_and_survives_a_zero() -> None:
    window = Window(frames=3, max_age=10, mean="geometric")
    window.add(p(1.0, 0.0), 0.0)

    average = window.add(p(0.5, 0.5), 0.1)

    assert average.scores.sum() == pytest.approx(1)
    assert 0 < average.scores[1] < 0.01


def test_only_the_last_n_frames_count() -> None:
    window = Window(frames=2, max_age=10, mean="arithmetic")
    for i, scores in enumerate([p(1, 0), p(0, 1), p(0, 1)]):
        average = window.add(scores, i / 10)

    assert average.scores == pytest.approx([0, 1])


def test_frames_that_are_too_old_leave_however_few_remain() -> None:
    window = Window(frames=8, max_age=1.0, mean="arithmetic")
    window.add(p(1, 0), 0.0)

    average = window.add(p(0, 1), 1.5)

    assert average.frames == 1
    assert average.scores == pytest.approx([0, 1])


def test_a_heavier_frame_counts_for_more() -> None:
    window = Window(frames=2, max_age=10, mean="arithmetic")
    window.add(p(1, 0), 0.0, weight=3)

    assert window.add(p(0, 1), 0.1, weight=1).scores == pytest.approx([0.75, 0.25])


def test_n_can_shrink_while_running() -> None:
    window = Window(frames=3, max_age=10, mean="arithmetic")
    window.add(p(1, 0), 0.0)
    window.add(p(1, 0), 0.1)

    window.resize(1)

    assert window.add(p(0, 1), 0.2).frames == 1


def belief(frames: int = 5, lasting: float = 5.0, max_age: float = 2.0) -> Belief:
    return Belief(frames=frames, max_age=max_age, lasting=lasting)


def test_n_frames_are_believed_like_their_geometric_mean() -> None:
    """Where expressions last for ever, the belief after N frames is the paper's window with that mean."""
    shown = [p(0.5, 0.3, 0.2), p(0.7, 0.2, 0.1), p(0.4, 0.5, 0.1)]
    window, filter_ = Window(frames=3, max_age=10, mean="geometric"), belief(3, lasting=1e9)

    means = [window.add(scores, i / 10) for i, scores in enumerate(shown)]
    beliefs = [filter_.add(scores, i / 10) for i, scores in enumerate(shown)]

    assert beliefs[-1].scores == pytest.approx(means[-1].scores, abs=1e-4)
    assert (beliefs[-1].frames, beliefs[-1].window) == (3, pytest.approx(0.2))


def test_a_belief_outweighs_one_odd_frame_and_follows_a_lasting_change() -> None:
    filter_ = belief()
    for i in range(30):
        filter_.add(p(0.8, 0.1, 0.1), i / 15)

    after_one = filter_.add(p(0.1, 0.8, 0.1), 2.0).scores
    for i in range(1, 9):
        after_nine = filter_.add(p(0.1, 0.8, 0.1), 2.0 + i / 15).scores

    assert after_one.argmax() == 0
    assert after_nine.argmax() == 1


def test_a_sure_frame_moves_a_belief_more_than_an_unsure_one() -> None:
    sure, unsure = belief(), belief()

    assert sure.add(p(0.9, 0.1), 0.0).scores[0] > unsure.add(p(0.6, 0.4), 0.0).scores[0]


def test_what_the_network_takes_for_granted_is_not_counted_again_with_every_frame() -> None:
    """A face that says no more than the network would of any face leaves all as likely as before."""
    usual = p(0.7, 0.2, 0.1)
    filter_ = Belief(frames=3, max_age=2.0, lasting=5.0, prior=usual.tolist())
    for i in range(30):
        scores = filter_.add(usual, i / 15).scores

    assert scores == pytest.approx([1 / 3] * 3)
    assert filter_.add(p(0.6, 0.4, 0.0), 2.0).scores.argmax() == 1


def test_a_frame_of_no_weight_says_nothing() -> None:
    filter_ = belief()

    assert filter_.add(p(0.9, 0.05, 0.05), 0.0, weight=0.0).scores == pytest.approx([1 / 3] * 3)


def test_the_first_frames_are_worth_as_much_as_all_of_a_look() -> None:
    said = p(0.7, 0.2, 0.1)
    filter_ = belief(frames=4)

    told = [filter_.add(said, i / 15).scores for i in range(5)]

    assert 0.7 < told[0][0] < 0.8  # a little more than one look
    assert told[:4] == [pytest.approx(told[0], abs=0.02)] * 4
    assert told[4][0] > told[3][0] + 0.02


def test_no_face_is_believed_beyond_the_lapse() -> None:
    filter_ = Belief(frames=1, max_age=2.0, lasting=60.0, lapse=0.12)
    for i in range(100):
        scores = filter_.add(p(0.98, 0.01, 0.01), i / 15).scores

    assert scores[0] == pytest.approx(1 - 0.12 + 0.04, abs=0.01)
    assert scores.sum() == pytest.approx(1)


def test_a_larger_n_while_running_sharpens_nothing() -> None:
    filter_ = belief(frames=2)
    for i in range(2):
        before = filter_.add(p(0.6, 0.3, 0.1), i / 15).scores

    filter_.resize(50)

    assert filter_.add(p(0.6, 0.3, 0.1), 0.13).scores == pytest.approx(before, abs=0.02)


def test_a_belief_sums_to_one_and_survives_a_zero() -> None:
    filter_ = belief(frames=1)
    for i in range(100):
        scores = filter_.add(p(1.0, 0.0, 0.0), i / 15).scores

    assert scores.sum() == pytest.approx(1)
    assert 0 < scores[1] < 0.01


def test_a_face_unseen_for_too_long_is_believed_nothing() -> None:
    filter_ = belief(max_age=1.0)
    for i in range(30):
        filter_.add(p(0.9, 0.1), i / 15)

    average = filter_.add(p(0.5, 0.5), 4.0)

    assert average.scores == pytest.approx([0.5, 0.5])
    assert average.frames == 1


def test_what_is_believed_fades_while_the_face_is_hidden() -> None:
    at_once, later = belief(), belief()
    for filter_ in (at_once, later):
        for i in range(30):
            filter_.add(p(0.9, 0.1), i / 15)

    assert later.add(p(0.5, 0.5), 3.5).scores[0] < at_once.add(p(0.5, 0.5), 2.0).scores[0]


def test_n_of_a_belief_can_change_while_running() -> None:
    filter_ = belief(frames=8)
    for i in range(8):
        filter_.add(p(0.9, 0.1), i / 10)

    filter_.resize(2)

    assert filter_.add(p(0.9, 0.1), 0.8).frames == 2


@pytest.mark.parametrize("seconds", [0.1, 1.0, 5.0])
def test_frames_of_a_face_in_sight_add_up_however_slow_the_camera_is(seconds):
    filter_ = Belief(frames=4, max_age=2.0, lasting=60.0)
    window = Window(frames=4, max_age=2.0)

    for i in range(6):
        belief = filter_.add(p(0.7, 0.2, 0.1), i * seconds, in_sight=i > 0)
        mean = window.add(p(0.7, 0.2, 0.1), i * seconds, in_sight=i > 0)

    assert belief.scores[0] > 0.7
    assert (belief.frames, mean.frames) == (4, 4)
    assert mean.window == pytest.approx(3 * seconds)


def test_frames_before_an_occlusion_leave_whatever_the_pace():
    filter_ = Belief(frames=4, max_age=2.0, lasting=60.0)
    window = Window(frames=4, max_age=2.0)
    for i in range(4):
        filter_.add(p(0.9, 0.1), float(i), in_sight=i > 0)
        window.add(p(0.9, 0.1), float(i), in_sight=i > 0)

    assert filter_.add(p(0.5, 0.5), 8.0).frames == 1
    assert window.add(p(0.5, 0.5), 8.0).frames == 1


def test_a_tilt_favours_a_label_and_means_the_same_for_one_frame_and_many() -> None:
    plain = belief(frames=1)
    favoured = Tilted(belief(frames=1), (0.0, math.log(2), 0.0))

    for i in range(20):
        said = plain.add(p(0.4, 0.3, 0.3), i / 15).scores
        told = favoured.add(p(0.4, 0.3, 0.3), i / 15).scores

        assert told[1] / told[0] == pytest.approx(2 * said[1] / said[0])
        assert told.sum() == pytest.approx(1)

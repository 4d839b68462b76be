import numpy as np
import pytest

from oahega_edge.smoothing import Window


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

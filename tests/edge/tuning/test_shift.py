"""What a few labelled faces can and cannot move."""

import numpy as np
import pytest

from oahega_edge.tuning.shift import LEAST_FACES, fit_shift, prove

LABELS = 5


def faces(count: int, seed: int = 0, offsets: tuple[float, ...] = (0.0,) * LABELS, noise: float = 1.0):
    """Logits of a classifier that is calibrated but for `offsets`, and what the faces show."""
    rng = np.random.default_rng(seed)
    truth = np.arange(count) % LABELS
    logits = 2.0 * np.eye(LABELS)[truth] + noise * rng.normal(size=(count, LABELS))
    return logits + np.asarray(offsets), truth


def right(logits: np.ndarray, truth: np.ndarray) -> float:
    return float((logits.argmax(1) == truth).mean())


def test_what_a_place_says_too_readily_is_taken_back() -> None:
    biased = (1.5, 0.0, -1.5, 0.0, 0.0)
    shift = fit_shift(*faces(50, offsets=biased))

    logits, truth = faces(2000, seed=1, offsets=biased)

    assert right(shift.apply(logits), truth) > right(logits, truth) + 0.04
    assert shift.offsets[0] < 0 < shift.offsets[2]


@pytest.mark.parametrize("seed", range(5))
def test_without_anything_to_correct_little_is_lost(seed: int) -> None:
    shift = fit_shift(*faces(50, seed=seed))

    logits, truth = faces(2000, seed=100 + seed)

    assert right(shift.apply(logits), truth) > right(logits, truth) - 0.02


def test_frequent_expressions_do_not_drown_rare_ones() -> None:
    logits, truth = faces(200)
    few = np.r_[np.flatnonzero(truth == 0), np.flatnonzero(truth > 0)[:40]]

    even, uneven = fit_shift(logits, truth), fit_shift(logits[few], truth[few])

    assert uneven.offsets[0] == pytest.approx(even.offsets[0], abs=0.35)


def test_a_proof_sees_a_gain_on_faces_that_were_held_back() -> None:
    proof = prove(*faces(100, offsets=(2.0, 0.0, -2.0, 0.0, 0.0)))

    assert proof.holds
    assert proof.gain > 0.05
    assert proof.interval[0] < proof.gain < proof.interval[1]


def test_wrong_labels_show_in_the_proof() -> None:
    logits, truth = faces(60)
    wrong = np.random.default_rng(3).permutation(truth)

    assert prove(logits, wrong).after < 0.4


def test_offsets_and_scale_stay_in_bounds_whatever_the_faces_say() -> None:
    logits, _ = faces(LEAST_FACES)
    shift = fit_shift(50 * logits, np.zeros(LEAST_FACES, np.int64))

    assert all(abs(offset) <= 4 for offset in shift.offsets)
    assert 0.2 <= shift.scale <= 5

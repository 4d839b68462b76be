"""What learning on brings is measured at a made site, and shuffled labels are not believed."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_build.experiments.retrain_gain import Faces, at_site, draws, summed, told_by_site
from oahega_build.pictures.dataset import Sample
from oahega_build.teach.last_layer import Head
from oahega_build.teach.site import DRAWN, Known
from oahega_edge.chain.classification import softmax

pytestmark = pytest.mark.training

LABELS, FEATURES = 3, 12
MEANS = 3.0 * np.eye(LABELS, FEATURES)


def known() -> Known:
    """A base that tells three clouds of features apart."""
    rng = np.random.default_rng(0)
    head = Head(2 * np.eye(LABELS, FEATURES), np.zeros(LABELS))
    drawn = np.repeat(MEANS, DRAWN, axis=0) + rng.normal(0, 1, (DRAWN * LABELS, FEATURES))
    return Known(head, drawn, softmax(head(drawn)))


def faces(count: int, habit: bool) -> Faces:
    """At the site the last feature is greater; with the habit, its first label is called as the second."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, LABELS, count)
    plain = MEANS[truth] + rng.normal(0, 1, (count, FEATURES))
    told = np.array([1, 1, 2])[truth] if habit else truth
    return Faces(plain, truth, plain + 4 * np.eye(FEATURES)[-1], told)


@pytest.mark.lengthy
def test_a_site_with_a_habit_gains_and_home_hardly_loses() -> None:
    row = summed(60, list(draws(known(), faces(600, habit=True), None, 120, 2)))

    assert row.gain > 7
    assert row.home > -3
    assert (row.accepted, row.accepted_shuffled) == (2, 0)
    assert "accepted 2 of 2, shuffled 0" in str(row)


@pytest.mark.lengthy
def test_where_there_is_nothing_to_learn_nothing_is_accepted() -> None:
    row = summed(60, list(draws(known(), faces(400, habit=False), faces(300, habit=False), 60, 2)))

    assert abs(row.gain) < 3
    assert row.accepted == 0


@pytest.mark.parametrize("shape", [(48, 48), (48, 64, 3)])
def test_the_site_is_dark_and_lit_from_one_side(shape: tuple[int, ...]) -> None:
    seen = at_site(np.full(shape, 200, np.uint8))

    assert seen.shape == shape
    assert seen[:, -8:].mean() > 1.5 * seen[:, :8].mean()
    assert seen.mean() < 100


@pytest.mark.parametrize(("sad", "told"), [(0.0, "neutral"), (0.1, "sad"), (0.3, "sad")])
def test_a_neutral_face_that_one_voter_in_ten_calls_sad_counts_as_sad(sad: float, told: str) -> None:
    labels = ("angry", "happy", "neutral", "sad")
    votes = np.array([0, 0, 1 - sad, sad], np.float32)

    assert labels[told_by_site(Sample("x", 2, votes, np.zeros((2, 2), np.uint8)), labels)] == told

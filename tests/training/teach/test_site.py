"""A site's faces move a layer as far as the classes that the base remembers bear it."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.teach.last_layer import Head
from oahega_build.teach.site import DRAWN, MOST_LOST, SITE_SHARES, Known, moved, refit, way_to
from oahega_edge.chain.classification import softmax

pytestmark = pytest.mark.training

LABELS, FEATURES, EACH = 3, 8, 20
MEANS = 3.0 * np.eye(LABELS, FEATURES)
FAR = 4.0 * np.eye(FEATURES)[-1]
TRUTH = np.repeat(np.arange(LABELS), EACH)


def cloud(truth: NDArray[np.int64], seed: int) -> NDArray[np.float64]:
    """Features of faces as the base knows them."""
    return MEANS[truth] + np.random.default_rng(seed).normal(0, 1, (len(truth), FEATURES))


@pytest.fixture(scope="module")
def known() -> Known:
    """A base that tells three clouds of features apart."""
    head = Head(2 * np.eye(LABELS, FEATURES), np.zeros(LABELS))
    drawn = cloud(np.repeat(np.arange(LABELS), DRAWN), 0)
    return Known(head, drawn, softmax(head(drawn)))


def test_a_site_that_lies_apart_has_the_greatest_share(known: Known) -> None:
    site = cloud(TRUTH, 1) + FAR

    head = refit(known, site, TRUTH)

    assert known.told(head) >= known.told(known.head) - MOST_LOST
    np.testing.assert_array_equal(head.weights, moved(known, site, TRUTH, SITE_SHARES[0]).weights)


def test_a_site_that_contradicts_what_the_base_knows_has_the_least_share(known: Known) -> None:
    site, told = cloud(TRUTH, 1), (TRUTH + 1) % LABELS

    head = refit(known, site, told)

    assert known.told(moved(known, site, told, SITE_SHARES[0])) < known.told(known.head) - MOST_LOST
    np.testing.assert_array_equal(head.weights, moved(known, site, told, SITE_SHARES[-1]).weights)


def test_a_habit_of_the_site_is_no_habit_at_home(known: Known) -> None:
    told = np.array([1, 1, 2])[TRUTH]

    head = refit(known, cloud(TRUTH, 1) + FAR, told)

    others = cloud(TRUTH, 2)
    before = (known.head(others + FAR).argmax(axis=1) == told).mean()
    assert (head(others + FAR).argmax(axis=1) == told).mean() > before + 0.1
    assert (head(others).argmax(axis=1) == TRUTH).mean() > 0.9


def test_what_varies_at_the_site_is_no_way_to_it(known: Known) -> None:
    """Light that comes and goes there says nothing of where a face was seen."""
    flashes = 20.0 * (np.arange(len(TRUTH))[:, None] % 5 == 0) * np.eye(FEATURES)[-2]

    way = way_to(cloud(TRUTH, 1) + FAR + flashes, TRUTH, known.drawn, LABELS)

    assert abs((cloud(TRUTH, 2) @ way).mean()) < 0.2
    assert abs(((cloud(TRUTH, 2) + FAR) @ way).mean() - 1) < 0.2
    assert abs(way[-2]) < 0.1 * abs(way[-1])


def test_a_site_that_shows_one_expression_alone_moves_the_layer(known: Known) -> None:
    site = cloud(TRUTH, 1)[:EACH] + FAR

    head = refit(known, site, TRUTH[:EACH])

    assert np.isfinite(head.weights).all()
    assert known.told(head) > 0.9

"""What tuning brings is measured on faces of people who were not asked."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_build.experiments.tuning_gain import BOTH, PLAIN, People, drawn, gains

pytestmark = [pytest.mark.training, pytest.mark.lengthy]
LABELS = 3


def people(seed: int, habit: float = 0.0) -> People:
    """Eighty persons with three faces each; expression 0 is said too easily by `habit`."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, LABELS, 240)
    answers = 2.0 * np.eye(LABELS)[truth] + rng.normal(0, 1, (240, LABELS)) + habit * np.eye(LABELS)[0]
    persons = np.array([f"{seed}-{i // 3}" for i in range(240)])
    return People(dict.fromkeys((PLAIN, "dark", "blur", BOTH), answers), truth, persons)


def test_a_draw_asks_as_many_faces_of_every_expression() -> None:
    place = people(1)

    taken = drawn(place, 30, np.random.default_rng(0))

    assert np.bincount(place.truth[taken]).tolist() == [10, 10, 10]
    assert not np.array_equal(taken, drawn(place, 30, np.random.default_rng(1)))


def test_too_few_faces_of_an_expression_are_all_taken() -> None:
    place = people(1)
    rare = People(place.answers, np.where(np.arange(240) < 4, 0, 1 + place.truth % 2), place.person)

    taken = drawn(rare, 30, np.random.default_rng(0))

    assert np.bincount(rare.truth[taken]).tolist() == [4, 10, 10]


@pytest.mark.parametrize("others", [None, people(2, habit=3.0)])
def test_a_place_with_a_habit_gains(others: People | None) -> None:
    rows = list(gains(people(1, habit=3.0), others, 30, draws=3))

    assert [row.circumstance for row in rows] == ["as it is", "dark", "blur", "habit", "all three"]
    assert rows[0].mean > 3
    assert rows[0].better == 3
    assert "mean +" in str(rows[0])

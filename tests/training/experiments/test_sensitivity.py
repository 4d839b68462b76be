"""More sensitivity finds more of the others and keeps fewer neutral faces."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_build.experiments.sensitivity import SENSITIVITIES, Answers, curve

pytestmark = pytest.mark.training


def test_more_sensitivity_finds_more_of_the_others_and_keeps_fewer_neutral_faces() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 3, 300)
    powers = np.exp(2 * np.eye(3)[truth] + rng.normal(0, 1, (300, 3)))

    rows = list(curve({"here": Answers(powers / powers.sum(axis=1, keepdims=True), truth)}, 1, 0.55))

    assert [row.sensitivity for row in rows] == list(SENSITIVITIES)
    for name, way in (("kept", -1), ("found", 1), ("published", 1)):
        assert (np.diff([way * getattr(row, name) for row in rows]) >= 0).all()
    assert all(row.published <= 1 - row.kept for row in rows)


def test_the_shares_are_of_the_neutral_faces_and_of_the_others() -> None:
    scores = np.array([[0.2, 0.8], [0.6, 0.4], [0.51, 0.49], [0.9, 0.1], [0.1, 0.9]])
    given = Answers(scores, np.array([1, 1, 1, 0, 0]))

    row = next(row for row in curve({"here": given}, 1, 0.55) if row.sensitivity == 0)

    assert (row.kept, row.found, row.published) == (pytest.approx(1 / 3), 0.5, pytest.approx(1 / 3))
    assert "neutral kept 0.333, others found 0.500" in str(row)

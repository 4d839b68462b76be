"""Every way to a classifier learns from the same pictures and answers the same others."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.pictures.dataset import Sample
from oahega_build.whole.compare_ways import TESTED, Row, _drawn, _pool

pytestmark = pytest.mark.training
Numbers = NDArray[np.int64]


def test_with_more_pictures_the_same_faces_are_answered() -> None:
    truth = np.repeat([0, 1, 2], TESTED + 60)
    asked: list[tuple[set[int], set[int]]] = []

    def way(seen: Numbers, rest: Numbers) -> Numbers:
        asked.append((set(seen.tolist()), set(rest.tolist())))
        return truth[rest]

    assert [_drawn(truth, each, 0, way) for each in (5, 60)] == [1.0, 1.0]

    (few, answered), (many, again) = asked
    assert (len(few), len(many), len(answered)) == (15, 180, 3 * TESTED)
    assert answered == again
    assert few < many
    assert not many & answered


def test_the_pool_is_as_large_as_asked_for_and_no_larger_than_there_is() -> None:
    blank = np.zeros((2, 2), np.uint8)
    samples = [Sample(str(i), int(i >= 10), np.ones(2, np.float32), blank) for i in range(14)]

    names = [sample.name for sample in _pool(samples, (0, 1), 5)]

    assert names == ["0", "2", "4", "6", "9", "10", "11", "12", "13"]


def test_a_row_shows_every_draw() -> None:
    assert str(Row("from nothing", 5, (0.3, 0.5))).endswith("0.400  (0.300, 0.500)")

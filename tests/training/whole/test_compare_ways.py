"""Every way to a classifier learns from the same pictures and answers the same others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import typer
from numpy.typing import NDArray

from oahega_build.cli.options import numbers
from oahega_build.errors import DataError
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


def blank(labels: Sequence[int]) -> list[Sample]:
    picture = np.full((48, 48), 90, np.uint8)
    return [Sample(str(i), label, np.ones(2, np.float32), picture) for i, label in enumerate(labels)]


def test_the_pool_is_spread_evenly() -> None:
    names = [sample.name for sample in _pool(blank([0] * 10 + [1] * 5), {0: "happy", 1: "sad"}, 5)]

    assert names == ["0", "2", "4", "6", "9", "10", "11", "12", "13", "14"]


def test_a_class_with_too_few_faces_is_named_instead_of_learned_from_fewer() -> None:
    with pytest.raises(DataError, match="sad has 4 faces in valid and 5 are needed"):
        list(_pool(blank([0] * 10 + [1] * 4), {0: "happy", 1: "sad"}, 5))


@pytest.mark.parametrize("each", ["", "5,", "0", "5,-1", "many", "5;20"])
def test_sizes_that_are_no_numbers_are_a_matter_of_usage(each: str) -> None:
    with pytest.raises(typer.BadParameter, match="give numbers from 1 on with commas"):
        numbers("--each", each)


def test_sizes_are_numbers_with_commas() -> None:
    assert numbers("--each", "5, 20,60") == [5, 20, 60]


def test_a_row_shows_every_draw() -> None:
    assert str(Row("from nothing", 5, (0.3, 0.5))).endswith("0.400  (0.300, 0.500)")

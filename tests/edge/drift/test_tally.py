"""The comparison: Cliff's delta by parts of the day, with its variance under permutation."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edge.drift.faces import faces
from oahega_edge.drift.look import BINS, LEAST, QUANTITIES, SCALES, Look, bins_of, light_of
from oahega_edge.drift.tally import Tally, shift

MEASURED = {"height": 90.0, "brightness": 120.0, "sharpness": 0.4, "score": 0.9, "wait": 0.2}


def tally(looks: list[Look], hour: int = 12) -> Tally:
    made = Tally(3)
    made.add(looks, hour)
    return made


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(20, 60), st.integers(1, 60))
def test_it_is_the_difference_of_the_chances_to_be_greater(seed: int, many: int, few: int) -> None:
    rng = np.random.default_rng(seed)
    first, second = faces(rng, many), faces(rng, few, height=130.0)

    found = shift(tally(first), tally(second))

    one, other = map(bins_of, (first, second))
    for row in range(len(QUANTITIES)):
        signs = np.sign(other[:, row][:, None] - one[:, row][None])
        assert found.delta[row] == pytest.approx(signs.mean(), abs=1e-9)
    shown = [np.array([look.scores.argmax() for look in looks]) for looks in (first, second)]
    for label in range(3):
        shares = [(of == label).mean() for of in shown]
        assert found.delta[len(QUANTITIES) + label] == pytest.approx(shares[1] - shares[0], abs=1e-9)


def test_its_variance_is_that_of_all_ways_to_deal_the_faces_out() -> None:
    rng = np.random.default_rng(1)
    looks = faces(rng, 90)
    places = bins_of(looks)[:, QUANTITIES.index("height")]
    dealt = []
    for _ in range(4000):
        order = rng.permutation(90)
        one, other = places[order[:60]], places[order[60:]]
        dealt.append(np.sign(other[:, None] - one[None]).mean())

    found = shift(tally(looks[:60]), tally(looks[60:]))

    assert found.variance[QUANTITIES.index("height")] == pytest.approx(np.var(dealt), rel=0.15)


def test_each_part_of_the_day_is_compared_with_itself() -> None:
    """Evenings are dark, and a day that has more of an evening is not darker."""
    rng = np.random.default_rng(2)
    base = tally(faces(rng, 500), hour=10)
    base.include(tally(faces(rng, 500, brightness=40.0), hour=20))

    found = shift(base, tally(faces(rng, 300, brightness=40.0), hour=20))

    assert abs(found.delta[QUANTITIES.index("brightness")]) < 0.15


def test_hours_that_the_first_days_never_saw_are_not_compared() -> None:
    rng = np.random.default_rng(3)
    base = tally(faces(rng, 500), hour=10)
    block = tally(faces(rng, 50), hour=10)
    block.include(tally(faces(rng, 400, brightness=40.0), hour=3))

    found = shift(base, block)

    assert found.faces == 50
    assert abs(found.delta[QUANTITIES.index("brightness")]) < 0.3


def test_without_a_common_hour_nothing_is_known() -> None:
    rng = np.random.default_rng(4)

    found = shift(tally(faces(rng, 50), hour=10), tally(faces(rng, 50), hour=3))

    assert found.faces == 0
    assert not found.delta.any()


@given(st.lists(st.floats(-1e9, 1e9) | st.just(float("nan")) | st.just(float("inf")), min_size=5, max_size=5))
def test_every_value_has_a_bin(values: list[float]) -> None:
    (places,) = bins_of([Look(np.array([1.0, 0.0, 0.0]), *values)])

    assert all(0 <= place < BINS for place in places)


@pytest.mark.parametrize("quantity", ["brightness", "score"])
def test_bins_share_the_scale_evenly(quantity: str) -> None:
    row, (low, high) = QUANTITIES.index(quantity), SCALES[quantity]
    middles = low + (np.arange(BINS) + 0.5) * (high - low) / BINS

    looks = [Look(np.ones(3) / 3, **{**MEASURED, quantity: float(value)}) for value in middles]

    assert bins_of(looks)[:, row].tolist() == list(range(BINS))


def test_the_bin_of_a_value_is_its_place_on_the_scale() -> None:
    """As the formulas say it, face by face."""
    rng = np.random.default_rng(2)
    scores = rng.dirichlet(np.full(4, 0.3), 2000)
    measured = np.exp(rng.normal(0, 3, (2000, 5))) * (90, 120, 0.2, 0.5, 0.3)

    bins = bins_of([Look(*face) for face in zip(scores, *measured.T, strict=True)])

    for places, of, (height, brightness, sharpness, score, wait) in zip(bins, scores, measured, strict=True):
        chances = of.clip(LEAST, 1 - LEAST)
        values = (
            math.log(chances.max() / (1 - chances.max())),
            -sum(chance * math.log(chance) for chance in chances) / math.log(4),
            math.log2(max(height, 1.0)),
            brightness,
            math.log2(max(sharpness, LEAST)),
            score,
            math.log2(max(wait, LEAST)),
        )
        for place, value, (low, high) in zip(places, values, SCALES.values(), strict=True):
            assert place == min(max(math.floor((value - low) / (high - low) * BINS), 0), BINS - 1)


def test_the_bins_of_a_known_face() -> None:
    """Counted by hand on the scales."""
    look = Look(np.array([0.5, 0.5]), height=64.0, brightness=128.0, sharpness=0.25, score=0.75, wait=0.25)

    assert dict(zip(QUANTITIES, *bins_of([look]).tolist(), strict=True)) == {
        "confidence": 6,
        "entropy": 31,
        "height": 10,
        "brightness": 16,
        "sharpness": 16,
        "score": 24,
        "wait": 12,
    }


@pytest.mark.parametrize("shape", [(48, 48), (64, 48), (48, 48, 3), (96, 96, 3)])
def test_brightness_and_sharpness_are_those_of_all_pixels(shape: tuple[int, ...]) -> None:
    face = np.random.default_rng(3).integers(64, 193, shape).astype(np.uint8)

    assert light_of(face) == pytest.approx(light_by_the_formula(face), rel=1e-12)


def light_by_the_formula(face: np.ndarray) -> tuple[float, float]:
    values = face.astype(float)
    step = sum(np.abs(np.diff(values, axis=axis)).mean() for axis in (0, 1))
    return values.mean(), step / (values.std() + 1)


@pytest.mark.parametrize("light", [0.4, 0.7, 1.3])
def test_light_does_not_count_as_sharpness_and_blur_does(light: float) -> None:
    rng = np.random.default_rng(5)
    face = cv2.GaussianBlur(rng.integers(40, 160, (48, 48)).astype(np.uint8), (0, 0), 1.0)

    _, sharp = light_of(face)

    assert light_of((face * light).astype(np.uint8))[1] == pytest.approx(sharp, rel=0.25)
    assert light_of(np.asarray(cv2.GaussianBlur(face, (0, 0), 2.0), np.uint8))[1] < 0.7 * sharp

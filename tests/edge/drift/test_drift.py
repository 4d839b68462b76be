"""Days against the first days: what is noticed, and what is not."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from edge.drift.faces import MONDAY, faces, live
from oahega_edge.drift.drift import (
    LEARNED_BLOCKS,
    LEARNED_FACES,
    LEAST_FACES,
    Drift,
    Rule,
    relaxed,
    stretched,
    t_quantile,
)
from oahega_edge.drift.look import QUANTITIES
from oahega_edge.drift.record import from_text, to_text

LEARNED = LEARNED_BLOCKS + 7
"""Days after which every drawn device below has judged some days."""


@pytest.fixture(scope="module")
def learned() -> str:
    """A device that has seen its first days and a quiet week, as it is kept."""
    drift = Drift(3)
    live(drift, LEARNED, np.random.default_rng(0))
    assert not drift.is_learning
    assert not drift.alarms
    return to_text(drift, "k")


@pytest.fixture
def drift(learned: str) -> Drift:
    return from_text(learned.encode(), "k", 3)


NEXT = MONDAY + timedelta(days=LEARNED)


@pytest.mark.parametrize(
    ("changed", "quantity", "sign"),
    [
        ({"brightness": 60.0}, "brightness", -1),
        ({"brightness": 200.0}, "brightness", 1),
        ({"sharpness": 0.2}, "sharpness", -1),
        ({"height": 45.0}, "height", -1),
        ({"sure": 0.5}, "confidence", -1),
        ({"sure": 0.5}, "entropy", 1),
        ({"score": 0.7}, "score", -1),
        ({"wait": 0.6}, "wait", 1),
        ({"happy": 0.9}, "labels", 1),
    ],
)
def test_a_fault_is_noticed_after_one_day_of_200_faces(
    drift: Drift, changed: dict[str, float], quantity: str, sign: int
) -> None:
    live(drift, 1, np.random.default_rng(7), first=NEXT, **changed)

    found = drift.quantities()[quantity]
    assert found.since == NEXT.date()
    assert found.delta * sign > found.limit


def test_days_like_the_first_ones_alarm_nobody(drift: Drift) -> None:
    live(drift, 30, np.random.default_rng(8), first=NEXT)

    assert not drift.alarms
    assert drift.last is not None


def test_nothing_is_judged_in_the_first_days() -> None:
    drift = Drift(3)
    rng = np.random.default_rng(1)

    live(drift, 3, rng, count=400)
    live(drift, 2, rng, count=400, first=MONDAY + timedelta(days=3), brightness=60.0)

    assert drift.base.faces > LEARNED_FACES
    assert drift.is_learning
    assert drift.quantities() == {}


def test_a_device_whose_days_differ_much_has_wider_limits(drift: Drift) -> None:
    rng = np.random.default_rng(2)
    other = Drift(3)
    for day in range(LEARNED_BLOCKS):
        light = 120.0 + 60.0 * (-1) ** day
        live(other, 1, rng, first=MONDAY + timedelta(days=day), brightness=light)
    for one in (drift, other):
        live(one, 1, rng, first=NEXT)

    steady, restless = (one.quantities()["brightness"].limit for one in (drift, other))

    assert restless > 1.5 * steady


BY_A_WINDOW = (120, 190, 60, 130, 75, 180, 100, 185, 70, 150, 120, 65, 175, 110)
"""Brightness of days."""


@pytest.mark.parametrize(("rule", "noticed"), [(Rule(), True), (Rule(is_stretched=False), False)])
def test_a_lasting_dusk_is_noticed_where_days_differ_by_half_of_their_faces(
    rule: Rule, noticed: bool
) -> None:
    """There Cliff's delta would have to exceed more than 1."""
    drift, rng = Drift(3, rule), np.random.default_rng(9)
    for day, light in enumerate(BY_A_WINDOW):
        live(drift, 1, rng, first=MONDAY + timedelta(days=day), brightness=0.3 * light + 120)

    live(drift, 1, rng, first=MONDAY + timedelta(days=len(BY_A_WINDOW)), brightness=45.0)

    found = drift.quantities()["brightness"]
    assert (found.since is not None) == noticed
    assert (abs(found.delta) > found.limit) == noticed
    assert (found.limit < 1) == noticed


@settings(max_examples=30, deadline=None)
@given(delta=st.lists(st.floats(-1, 1), min_size=1, max_size=9), faces=st.integers(1, 10_000))
def test_what_is_stretched_is_relaxed_again(delta: list[float], faces: int) -> None:
    values = stretched(np.array(delta), faces)

    end = 1 - 1 / max(2, faces)
    assert relaxed(values) == pytest.approx(np.clip(delta, -end, end), abs=1e-9)


def test_a_day_is_judged_by_the_day_before_as_well() -> None:
    """Where days resemble the day before, a jump stands out. To go back to the first days is none."""
    following = Drift(3)
    drifts = following, Drift(3, Rule(follow=0.0))
    days = 40
    for day in range(days):
        light = 140 + 12 * float(np.sin(day / 5))
        for drift in drifts:
            live(drift, 1, np.random.default_rng(day), first=MONDAY + timedelta(days=day), brightness=light)
    assert following.calm is not None
    expected = following.calm[QUANTITIES.index("brightness")]
    assert abs(expected) > 0.2

    light += 30 * float(np.sign(expected))
    away = MONDAY + timedelta(days=days)
    for drift in drifts:
        live(drift, 1, np.random.default_rng(99), first=away, brightness=light)

    ahead, behind = (drift.quantities()["brightness"].limit for drift in drifts)
    assert ahead < behind
    assert following.alarms
    live(following, 1, np.random.default_rng(98), first=away + timedelta(days=1), brightness=140.0)
    assert not following.alarms


def test_an_alarm_lasts_until_it_is_clearly_over_and_keeps_its_day(drift: Drift) -> None:
    rng = np.random.default_rng(3)
    live(drift, 2, rng, first=NEXT, brightness=50.0)
    began = drift.quantities()["brightness"].since

    live(drift, 1, rng, first=NEXT + timedelta(days=2), brightness=109.0)
    still = drift.quantities()["brightness"]
    live(drift, 1, rng, first=NEXT + timedelta(days=3))
    over = drift.quantities()["brightness"]

    assert began == still.since == NEXT.date()
    assert abs(still.delta) < still.limit
    assert over.since is None


@pytest.mark.parametrize("nearer", [0, 2])
def test_an_alarm_of_one_label_is_not_hidden_by_another_that_is_nearer_to_its_limit(
    drift: Drift, nearer: int
) -> None:
    rows = len(QUANTITIES) + drift.labels
    delta, alarming = np.full(rows, 0.01), len(QUANTITIES) + 1
    delta[alarming], delta[len(QUANTITIES) + nearer] = 0.06, -0.09
    drift.last, drift.alarms = (delta, np.full(rows, 0.1)), {alarming: MONDAY}

    said = drift.quantities()["labels"]

    assert (said.since, said.delta) == (MONDAY, 0.06)
    drift.alarms = {}
    assert drift.quantities()["labels"].delta == -0.09


def test_a_slow_fault_does_not_teach_that_it_is_usual(drift: Drift) -> None:
    rng = np.random.default_rng(4)
    for day in range(10):
        live(drift, 1, rng, first=NEXT + timedelta(days=day), brightness=120.0 - 7.0 * day)

    assert drift.quantities()["brightness"].since is not None


def test_a_day_with_few_faces_waits_for_the_next_one(drift: Drift) -> None:
    rng = np.random.default_rng(5)
    live(drift, 1, rng, first=NEXT, count=LEAST_FACES // 2, brightness=50.0)
    assert not drift.alarms

    live(drift, 1, rng, first=NEXT + timedelta(days=1), count=LEAST_FACES // 2, brightness=50.0)

    assert drift.quantities()["brightness"].since == NEXT.date()


def test_a_clock_that_goes_back_ends_no_day_twice(drift: Drift) -> None:
    rng = np.random.default_rng(6)
    blocks = drift.blocks
    live(drift, 1, rng, first=NEXT - timedelta(days=400), count=150)

    drift.due(NEXT)
    drift.due(NEXT - timedelta(days=400))

    assert drift.block.faces == 0
    assert drift.blocks == blocks


@pytest.mark.parametrize("freedom", [6, 12, 66])
@pytest.mark.parametrize("chance", [1e-2, 1e-4, 2e-5])
def test_the_quantile_is_that_of_students_t(chance: float, freedom: int) -> None:
    assert t_quantile(chance, freedom) == pytest.approx(stats.t.isf(chance / 2, freedom), rel=5e-3)


MOMENTS = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 23), st.integers(0, 160), st.floats(0, 255)), max_size=12
)


@settings(max_examples=30, deadline=None)
@given(moments=MOMENTS, seed=st.integers(0, 100))
def test_whatever_comes_no_face_is_lost_or_counted_twice_and_a_day_alarms_once(
    moments: list[tuple[int, int, int, float]], seed: int, learned: str
) -> None:
    drift = from_text(learned.encode(), "k", 3)
    rng = np.random.default_rng(seed)
    now = NEXT
    alarms: list[date] = []
    for later, hour, count, brightness in moments:
        now = (now + timedelta(days=later)).replace(hour=hour)
        held, known = drift.block.faces, set(drift.alarms)
        drift.saw(tuple(faces(rng, count, brightness=brightness)), now)
        assert drift.block.faces == held + count or (drift.block.faces == count and held >= LEAST_FACES)
        if set(drift.alarms) - known:
            alarms.append(now.date())

    assert len(alarms) == len(set(alarms))
    assert to_text(from_text(to_text(drift, "k").encode(), "k", 3), "k") == to_text(drift, "k")

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from oahega_edge.visits.summary import SummaryTally, Tally
from oahega_edge.visits.visit import Visit

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


def visit(seen: float, **held: float) -> Visit:
    """A visit that showed expressions for these seconds."""
    read = sum(held.values())
    return Visit(seen, read, {label: seconds / read for label, seconds in held.items()}, 0.3)


def tally(interval: float = 60.0, least: int = 0) -> SummaryTally:
    return SummaryTally(interval, least, NOON, 0.0)


def after(seconds: float) -> tuple[datetime, float]:
    return NOON + timedelta(seconds=seconds), seconds


def test_a_summary_counts_visits_lengths_and_expressions() -> None:
    day = tally()
    day.add([visit(1.9), visit(2.0, happy=1.0)], people=2)
    day.add([visit(400.0, happy=1.0, sad=2.0)], people=1)

    made = day.due(*after(60))

    assert made is not None
    assert (made.start, made.end) == (NOON, NOON + timedelta(seconds=60))
    assert made.all == Tally(3, {"happy": 1, "sad": 1})
    assert made.lengths == (1, 1, 0, 0, 0, 0, 1)
    assert made.shares == pytest.approx({"happy": 0.5, "sad": 0.5})
    assert (made.seen, made.read) == pytest.approx((403.9, 4.0))
    assert made.people == 2


def test_an_interval_that_has_not_ended_has_no_summary() -> None:
    day = tally()
    day.add([visit(5.0)], people=1)

    assert day.due(*after(59.9)) is None


def test_a_summary_of_nobody_says_so() -> None:
    made = tally().due(*after(60))

    assert made is not None
    assert (made.all, made.shares, made.shown) == (Tally(), {}, {})


def test_too_few_visits_wait_for_the_next_interval_and_join_it() -> None:
    day = tally(least=3)
    day.add([visit(5.0, happy=1.0), visit(5.0)], people=2)

    assert day.due(*after(60)) is None
    day.add([visit(5.0, sad=3.0)], people=1)
    made = day.due(*after(61))

    assert made is not None
    assert (made.start, made.all.visits, made.people) == (NOON, 3, 2)
    assert made.shares == pytest.approx({"happy": 0.25, "sad": 0.75})


def test_each_interval_begins_anew() -> None:
    day = tally()
    day.add([visit(5.0, happy=1.0)], people=4)
    day.due(*after(60))

    second = day.due(*after(120))

    assert second is not None
    assert (second.start, second.all.visits, second.people, second.shares) == (after(60)[0], 0, 0, {})


def test_what_the_screen_showed_stands_beside_its_visits() -> None:
    day = tally()
    day.add([visit(5.0, happy=1.0), visit(5.0)], people=2, showing="poster-a")
    day.add([visit(5.0, sad=1.0)], people=1, showing="poster-b")
    day.add([visit(5.0)], people=1)

    made = day.due(*after(60))

    assert made is not None
    assert made.all.visits == 4
    assert made.shown == {"poster-a": Tally(2, {"happy": 1}), "poster-b": Tally(1, {"sad": 1})}


@pytest.mark.parametrize("beside", [None, "poster-b"])
def test_no_content_tells_of_fewer_people_than_a_group_not_even_by_subtraction(beside: str | None) -> None:
    day = tally(least=3)
    day.add([visit(5.0)] * 4, people=2, showing="poster-a")
    day.add([visit(5.0)] * 2, people=2, showing=beside)

    made = day.due(*after(60))

    assert made is not None
    assert (made.all.visits, made.shown) == (6, {})


def test_contents_with_a_group_each_are_told() -> None:
    day = tally(least=3)
    day.add([visit(5.0)] * 4, people=2, showing="poster-a")
    day.add([visit(5.0)] * 3, people=2)

    made = day.due(*after(60))

    assert made is not None
    assert made.shown == {"poster-a": Tally(4)}


@pytest.mark.parametrize(
    ("least", "visits", "told"), [(0, 0, False), (0, 1, True), (3, 2, False), (3, 3, True)]
)
def test_the_last_summary_tells_of_some_and_never_of_fewer_than_a_group(
    least: int, visits: int, told: bool
) -> None:
    day = tally(least=least)
    day.add([visit(5.0)] * visits, people=1)

    assert (day.last(*after(10)) is not None) == told


def test_a_day_is_counted_from_midnight_where_the_device_stands() -> None:
    berlin = timezone(timedelta(hours=1))
    evening = datetime(2026, 11, 24, 23, 58, tzinfo=berlin)
    day = SummaryTally(60.0, 0, evening, 0.0)
    day.add([visit(5.0, happy=1.0)], people=1)
    first = day.due(evening + timedelta(minutes=1), 60.0)
    day.add([visit(5.0)] * 2, people=1)
    second = day.due(evening + timedelta(minutes=2), 120.0)
    third = day.due(evening + timedelta(minutes=3), 180.0)

    assert first is not None
    assert first.today == Tally(1, {"happy": 1})
    assert second is not None
    assert second.today == Tally(2)
    assert second.end.utcoffset() == timedelta(0)
    assert third is not None
    assert third.today == Tally(2)

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from oahega_edge.visits.summary import SummaryTally
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
    assert made.visits == 3
    assert made.lengths == (1, 1, 0, 0, 0, 0, 1)
    assert made.shares == pytest.approx({"happy": 0.5, "sad": 0.5})
    assert made.dominant == {"happy": 1, "sad": 1}
    assert made.people == 2


def test_an_interval_that_has_not_ended_has_no_summary() -> None:
    day = tally()
    day.add([visit(5.0)], people=1)

    assert day.due(*after(59.9)) is None


def test_a_summary_of_nobody_says_so() -> None:
    made = tally().due(*after(60))

    assert made is not None
    assert (made.visits, made.shares, made.dominant) == (0, {}, {})


def test_too_few_visits_wait_for_the_next_interval_and_join_it() -> None:
    day = tally(least=3)
    day.add([visit(5.0, happy=1.0), visit(5.0)], people=2)

    assert day.due(*after(60)) is None
    day.add([visit(5.0, sad=3.0)], people=1)
    made = day.due(*after(61))

    assert made is not None
    assert (made.start, made.visits, made.people) == (NOON, 3, 2)
    assert made.shares == pytest.approx({"happy": 0.25, "sad": 0.75})


def test_each_interval_begins_anew() -> None:
    day = tally()
    day.add([visit(5.0, happy=1.0)], people=4)
    day.due(*after(60))

    second = day.due(*after(120))

    assert second is not None
    assert (second.start, second.visits, second.people, second.shares) == (after(60)[0], 0, 0, {})

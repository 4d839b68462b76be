"""What the chart shows: how long each state lasted, minute by minute."""

from __future__ import annotations

from oahega_edge.page.history import History
from page.days import NOON, full_day


def test_a_state_that_lasts_is_split_at_the_minute() -> None:
    history = History()
    history.state("happy", 2, NOON + 50)
    history.state("none", 0, NOON + 80)

    first, second = history.shown(NOON + 90)

    assert (first["seconds"], first["faces"]) == ({"happy": 10.0}, 2)
    assert second["seconds"] == {"happy": 20.0, "none": 10.0}


def test_nothing_is_counted_while_nothing_is_known() -> None:
    history = History()
    history.state("happy", 1, NOON)
    history.unknown(NOON + 10)
    history.state("sad", 1, NOON + 40)

    (minute,) = history.shown(NOON + 45)

    assert minute["seconds"] == {"happy": 10.0, "sad": 5.0}


def test_only_the_last_hour_is_shown() -> None:
    history = History()
    history.state("happy", 1, NOON)

    assert len(history.shown(NOON + 59.5 * 60)) == 60
    assert len(history.shown(NOON + 7200)) <= 61


def test_a_clock_that_is_set_does_not_fill_the_memory_and_one_set_back_does_no_harm() -> None:
    history = History()
    history.state("happy", 1, 0.0)
    history.state("sad", 1, float(NOON))
    history.state("sad", 1, float(NOON - 7200))

    minutes = history.shown(float(NOON - 7190))

    assert all(0 <= seconds <= 60 for minute in minutes for seconds in minute["seconds"].values())


def test_a_day_in_which_every_minute_shows_everything_fits_into_two_megabytes() -> None:
    memory, sent = full_day()

    assert memory < 2 << 20
    assert sent < 20_000


def test_a_second_day_takes_no_more() -> None:
    assert full_day(days=2)[0] < 1.05 * full_day()[0]

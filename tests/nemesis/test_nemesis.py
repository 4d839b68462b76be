"""Schedules of faults that broke a promise once, and how schedules are drawn and shrunk."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign import run
from schedule import FAULTS, Schedule, draw, from_json, shrink, to_json

SCHEDULES = sorted((Path(__file__).parent / "schedules").glob("*.json"))
"""What `campaign.py` found, and what was found before it kept schedules, told again."""


def test_a_seed_gives_the_same_schedule_each_time() -> None:
    assert draw(7, 60) == draw(7, 60)
    assert draw(7, 60) != draw(8, 60)
    assert from_json(to_json(draw(7, 60))) == draw(7, 60)


def test_all_faults_are_drawn() -> None:
    drawn = {(step.part, step.told) for seed in range(30) for step in draw(seed, 60)}

    assert drawn == {(part, told) for part, all_told in FAULTS.items() for told in all_told}


def test_a_failing_schedule_is_shrunk_to_what_makes_it_fail() -> None:
    schedule = draw(1, 60)
    guilty = {schedule[3], schedule[-2]}

    def fails(steps: Schedule) -> bool:
        return guilty <= set(steps)

    assert set(shrink(schedule, fails)) == guilty


@pytest.mark.long
@pytest.mark.broker
@pytest.mark.parametrize("schedule", SCHEDULES, ids=lambda path: path.stem)
def test_what_broke_a_promise_once_does_not_break_it_again(schedule: Path) -> None:
    assert run(from_json(schedule.read_text())).starts > 0

"""Rounds of asked expressions: what is due, what is compared, and when it is said to be worse."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import fisher_exact

from oahega_edge.drift.asked import (
    FALSE_ALARMS,
    FILE,
    MOST_DAYS,
    ROUND,
    AskedRecord,
    Counts,
    chance_of,
    judged,
)
from oahega_edge.drift.words import asked_problem

LABELS = ("angry", "happy", "neutral", "sad", "surprise")
DAY = date(2026, 3, 1)


def after(days: int) -> date:
    return DAY + timedelta(days)


def asked(faces: int, right: int) -> Counts:
    """Faces of all labels in turn, the first ones right."""
    counts = Counter(LABELS[i % len(LABELS)] for i in range(faces))
    read = Counter(LABELS[i % len(LABELS)] for i in range(right))
    return {label: (counts[label], read[label]) for label in counts}


@pytest.mark.parametrize(
    ("days", "today", "due"),
    [
        ({}, DAY, 12),
        ({DAY: asked(12, 9)}, DAY, 0),
        ({DAY: asked(12, 9)}, after(29), 0),
        ({DAY: asked(12, 9)}, after(30), 12),
        ({DAY: asked(5, 4), after(3): asked(5, 5)}, after(4), 2),
        ({DAY: asked(50, 40)}, after(10), 0),
    ],
)
def test_a_dozen_faces_a_month_are_due(days: Mapping[date, Counts], today: date, due: int) -> None:
    assert judged(days, today).due == due


@pytest.mark.parametrize(
    ("days", "round_", "before"),
    [
        ({DAY: asked(12, 9)}, (12, 9), (0, 0)),
        ({DAY: asked(12, 9), after(31): asked(12, 10)}, (12, 10), (12, 9)),
        ({DAY: asked(12, 9), after(31): asked(5, 5), after(33): asked(8, 7)}, (13, 12), (12, 9)),
        ({DAY: asked(12, 9), after(31): asked(5, 5)}, (5, 5), (12, 9)),
        ({DAY: asked(30, 20), after(1): asked(50, 40)}, (50, 40), (30, 20)),
    ],
)
def test_a_round_is_the_newest_days_with_a_dozen_faces(
    days: Mapping[date, Counts], round_: tuple[int, int], before: tuple[int, int]
) -> None:
    found = judged(days, after(40))

    assert (found.faces, found.right) == round_
    assert (found.before, found.before_right) == before


@pytest.mark.parametrize("faces", [0, 1, ROUND - 1])
def test_with_too_few_faces_nothing_is_said(faces: int) -> None:
    short = judged({DAY: asked(60, 60), after(31): asked(faces, 0)} if faces else {}, after(31))
    first = judged({DAY: asked(faces, faces), after(31): asked(60, 0)} if faces else {}, after(31))

    assert short.chance is first.chance is None
    assert not short.is_worse


@pytest.mark.parametrize("faces", [1, ROUND, 48])
@pytest.mark.parametrize("ahead", [1, 40, 40_000])
def test_faces_of_a_clock_that_was_ahead_keep_no_round_from_being_judged(faces: int, ahead: int) -> None:
    usual = {DAY: asked(48, 43), after(31): asked(12, 5)}
    wrong = {after(31 + ahead): asked(faces, faces)}

    found = judged(usual | wrong, after(31))

    assert (found.faces, found.right, found.due) == (12, 5, 0)
    assert found.before == 48 + faces
    assert found.is_worse
    assert judged(wrong, after(31)).due == ROUND


def test_with_one_expression_it_is_fishers_exact_test() -> None:
    for now, before in [((12, 7), (36, 33)), ((12, 12), (12, 0)), ((20, 3), (15, 9)), ((3, 0), (4, 0))]:
        table = [[now[1], now[0] - now[1]], [before[1], before[0] - before[1]]]
        assert chance_of({"happy": now}, {"happy": before}) == pytest.approx(
            fisher_exact(table, alternative="less").pvalue
        )


def test_asking_for_harder_expressions_is_no_problem() -> None:
    """Sad faces are read half as often as happy ones, now as before; only more of them were asked for."""
    before = {"happy": (200, 200), "sad": (200, 100)}

    assert chance_of({"happy": (2, 2), "sad": (40, 20)}, before) > 0.3
    assert chance_of({"all": (42, 22)}, {"all": (400, 300)}) < FALSE_ALARMS


@pytest.mark.parametrize("accuracy", [0.55, 0.75, 0.9, 0.98])
def test_false_alarms_are_as_rare_as_promised(accuracy: float) -> None:
    rng = np.random.default_rng(1)

    def drawn(faces: int) -> Counts:
        return {label: (faces, int(rng.binomial(faces, accuracy))) for label in LABELS}

    alarms = sum(chance_of(drawn(3), drawn(15)) < FALSE_ALARMS for _ in range(2000))

    assert alarms / 2000 <= 1.5 * FALSE_ALARMS


def test_a_device_that_reads_much_worse_is_noticed() -> None:
    found = judged({DAY: asked(48, 43), after(31): asked(12, 5)}, after(31))

    assert found.is_worse
    assert asked_problem(found) == (
        "asked expressions are read right less often: 42% of 12 faces, 90% of 48 in earlier rounds "
        "(since 2026-04-01)"
    )


def test_the_interval_holds_the_share() -> None:
    for right in range(ROUND + 1):
        low, high = judged({DAY: asked(ROUND, right)}, DAY).interval or (1, 0)

        assert 0 <= low <= right / ROUND <= high <= 1
        assert high - low > 0.2
    assert judged({}, DAY).interval is None


def test_rounds_outlive_a_restart_and_only_counts_are_kept(tmp_path: Path) -> None:
    record = AskedRecord(tmp_path, lambda: DAY)
    record.add("happy", right=True)
    record.add("happy", right=False)
    record.add("sad", right=False)

    assert AskedRecord(tmp_path, lambda: DAY).judged(DAY) == record.judged(DAY)
    assert (record.judged(DAY).faces, record.judged(DAY).right) == (3, 1)
    assert json.loads((tmp_path / FILE).read_text()) == {"2026-03-01": {"happy": [2, 1], "sad": [1, 0]}}


def test_what_is_said_follows_the_calendar(tmp_path: Path) -> None:
    record = AskedRecord(tmp_path, lambda: DAY)
    for _ in range(ROUND):
        record.add("happy", right=True)
    assert record.judged(DAY).due == 0

    assert record.judged(after(30)).due == ROUND


def test_old_days_go(tmp_path: Path) -> None:
    today = [DAY]
    record = AskedRecord(tmp_path, lambda: today[0])
    for day in range(MOST_DAYS + 5):
        today[0] = after(day)
        record.add("happy", right=True)

    assert len(json.loads((tmp_path / FILE).read_text())) == MOST_DAYS


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"2026-03-01": 7}',
        '{"2026-03-01": {"happy": [1]}}',
        '{"2026-03-01": {"happy": [1, 2]}}',
        '{"2026-03-01": {"happy": [1.5, 1]}}',
        '{"2026-03-01": {"happy": [true, true]}}',
        '{"a day": {}}',
        "[" * 100_000,
        "\x00" * 40,
    ],
)
def test_a_damaged_file_is_said_and_begins_anew(
    text: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).write_text(text)

    record = AskedRecord(tmp_path, lambda: DAY)

    assert record.judged(DAY).faces == 0
    assert "rounds begin anew" in caplog.text
    record.add("happy", right=True)
    assert AskedRecord(tmp_path, lambda: DAY).judged(DAY).faces == 1


def test_a_disk_that_refuses_is_said_and_the_round_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()

    record = AskedRecord(tmp_path, lambda: DAY)
    record.add("happy", right=True)

    assert record.judged(DAY).faces == 1
    assert "is lost at a restart" in caplog.text

"""The watch of a running device: its file, its resets, its words."""

from __future__ import annotations

import json
import logging
import threading
from datetime import date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from edge.drift.faces import MONDAY, faces
from oahega_edge.drift.drift import LEARNED_BLOCKS, Drifted
from oahega_edge.drift.folder import MOST_RECORDS
from oahega_edge.drift.keeper import FACES_A_WRITE, FACES_AT_FIRST, FACES_AT_ONCE, DriftWatch, NoWatch
from oahega_edge.drift.look import BINS, QUANTITIES
from oahega_edge.drift.words import LIKELY, problem
from waiting import PATIENCE, await_end, beside, wait_until

KEY, OTHER = "a" * 64, "b" * 64


class Calendar:
    """A wall clock that may be wrong, and a monotonic one."""

    def __init__(self) -> None:
        self.now = MONDAY
        self.wrong = timedelta()

    def __call__(self) -> datetime:
        return self.now + self.wrong

    def seconds(self) -> float:
        return self.now.timestamp()

    def next_day(self) -> None:
        self.now += timedelta(days=1)


@pytest.fixture
def calendar() -> Calendar:
    return Calendar()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def watch_of(folder: Path | None, calendar: Calendar, key: str = KEY) -> DriftWatch:
    watch = DriftWatch(folder, calendar, calendar.seconds)
    watch.use(key, 3, None)
    return watch


def week(
    watch: DriftWatch, calendar: Calendar, rng: np.random.Generator, days: int, **changed: float
) -> None:
    for _ in range(days):
        watch.saw(faces(rng, 200, **changed))
        calendar.next_day()
        watch.report()


def test_it_goes_on_where_it_was_after_a_restart(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    week(watch, calendar, rng, LEARNED_BLOCKS)
    watch.keep()

    again = watch_of(tmp_path, calendar)
    week(again, calendar, rng, 1, brightness=50.0)

    said = again.report()
    assert not said.is_learning
    assert said.since == (calendar.now - timedelta(days=1)).date()
    assert "darker" in (said.problem or "")


def test_it_says_what_drifts_in_the_log_once(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of(tmp_path, calendar)
    week(watch, calendar, rng, LEARNED_BLOCKS)

    with caplog.at_level(logging.INFO, logger="oahega_edge.drift"):
        week(watch, calendar, rng, 3, brightness=50.0)

    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_another_bundle_begins_anew_and_the_old_one_finds_its_first_days_again(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    week(watch, calendar, rng, LEARNED_BLOCKS)

    watch.use(OTHER, 5, None)
    assert watch.report().learned == 0
    watch.use(KEY, 3, None)

    assert not watch.report().is_learning


def test_only_the_newest_records_are_kept(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    for number in range(MOST_RECORDS + 2):
        watch = watch_of(tmp_path, calendar, f"{number:064d}"[::-1])
        watch.saw(faces(rng, FACES_A_WRITE))
        watch.keep()

    assert len(list((tmp_path / "drift").iterdir())) == MOST_RECORDS


def test_a_reset_forgets_the_first_days_on_the_disk_too(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    week(watch, calendar, rng, LEARNED_BLOCKS + 1)

    watch.reset()

    assert watch.report().learned == 0
    wait_until(lambda: watch_of(tmp_path, calendar).report().learned == 0)


def test_the_file_never_shows_what_one_face_was_like(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    watch.saw(faces(rng, FACES_A_WRITE))
    watch.keep()
    (file,) = (tmp_path / "drift").iterdir()
    before = file.read_bytes()

    watch.saw(faces(rng, 1))
    watch.keep()

    assert file.read_bytes() == before


def shown(folder: Path) -> list[int]:
    """Faces of the present day by part of the day, on the disk."""
    (file,) = (folder / "drift").iterdir()
    return [sum(part) for part in json.loads(file.read_bytes())["block"]["shown"]]


def test_a_face_counts_for_the_hour_in_which_it_ended_however_late_it_is_counted(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    for hour, count in ((2, 3), (11, 30), (12, 2), (23, 4)):
        calendar.now = MONDAY.replace(hour=hour, minute=59)
        for look in faces(rng, count):
            watch.saw((look,))

    watch.keep()

    assert shown(tmp_path) == [3, 0, 0, 30, 2, 0, 0, 4]


@pytest.mark.parametrize("wrong", [timedelta(hours=-9), timedelta(hours=6), timedelta(days=-300)])
def test_faces_that_wait_count_for_their_hour_when_the_clock_is_put_right(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator, wrong: timedelta
) -> None:
    calendar.wrong = wrong
    watch = watch_of(tmp_path, calendar)
    watch.saw(faces(rng, 20))
    calendar.now += timedelta(minutes=10)

    calendar.wrong = timedelta()
    watch.saw(faces(rng, 20))
    calendar.now += timedelta(minutes=10)
    watch.report()
    watch.keep()

    assert shown(tmp_path) == [0, 0, 0, 0, 40, 0, 0, 0]


def test_faces_of_before_midnight_belong_to_their_day(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    calendar.now = MONDAY.replace(hour=23, minute=50)
    watch.saw(faces(rng, FACES_AT_ONCE))
    watch.saw(faces(rng, 30))

    calendar.now += timedelta(minutes=20)
    watch.saw(faces(rng, 7))
    watch.report()

    assert watch.counted == 7
    assert watch.report().learned == FACES_AT_ONCE + 30


def test_faces_that_end_do_not_read_the_calendar(calendar: Calendar, rng: np.random.Generator) -> None:
    read = []
    watch = DriftWatch(None, lambda: read.append(1) or calendar(), calendar.seconds)
    watch.use(KEY, 3, None)
    before = len(read)

    for enough in (FACES_AT_FIRST, FACES_AT_ONCE):
        for look in faces(rng, enough - 1):
            calendar.now += timedelta(seconds=20)
            watch.saw((look,))
        assert len(read) == before

        watch.saw(faces(rng, 1))
        assert len(read) == before + 1
        before += 1


def test_a_power_cut_loses_fewer_faces_than_are_written_at_once(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    every = FACES_AT_FIRST + 2 * FACES_AT_ONCE + FACES_A_WRITE

    for seen in range(1, every):
        watch.saw(faces(rng, 1))
        calendar.now += timedelta(seconds=40)
        watch.report()
        written = 0 if seen < FACES_AT_FIRST else seen - (seen - FACES_AT_FIRST) % FACES_AT_ONCE
        if seen % 33 == 0 or seen == written:
            wait_until(lambda written=written: watch_of(tmp_path, calendar).counted == written)

    watch.saw(faces(rng, 1))
    watch.keep()
    assert watch_of(tmp_path, calendar).counted == every


def test_a_device_that_is_unplugged_every_evening_keeps_what_it_saw(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    for evening in range(1, 4):
        watch = watch_of(tmp_path, calendar)
        for _ in range(FACES_AT_FIRST + FACES_A_WRITE):
            watch.saw(faces(rng, 1))
        assert watch.settle(PATIENCE)
        del watch
        assert watch_of(tmp_path, calendar).counted == evening * FACES_AT_FIRST


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b"\xff\xfe", b"[" * 100_000, b'{"format": 1}'])
def test_a_damaged_file_is_said_and_learned_anew(
    tmp_path: Path, calendar: Calendar, damage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drift").mkdir()
    (tmp_path / "drift" / f"{KEY[:16]}.json").write_bytes(damage)

    watch = watch_of(tmp_path, calendar)

    assert watch.report().is_learning
    assert "learned anew" in caplog.text


def test_a_folder_that_cannot_be_written_is_said_once_and_ends_nothing(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "drift").write_text("a file stands in the way")
    watch = watch_of(tmp_path, calendar)

    for _ in range(3):
        watch.saw(faces(rng, FACES_A_WRITE))
        watch.keep()

    assert caplog.text.count("cannot be written") == 1
    assert watch.report().is_learning


def test_faces_that_end_while_another_thread_asks_are_all_counted(
    tmp_path: Path, calendar: Calendar, rng: np.random.Generator
) -> None:
    watch = watch_of(tmp_path, calendar)
    looks, ended = faces(rng, 1000), threading.Event()
    asking = beside(lambda: [watch.keep() for _ in iter(ended.is_set, True)])

    for look in looks:
        watch.saw((look,))
    ended.set()
    await_end(asking)
    watch.keep()

    assert watch_of(tmp_path, calendar).counted == len(looks)


def test_without_a_state_folder_it_is_kept_in_memory(calendar: Calendar, rng: np.random.Generator) -> None:
    watch = watch_of(None, calendar)

    week(watch, calendar, rng, LEARNED_BLOCKS)

    assert not watch.report().is_learning


def test_switched_off_it_says_nothing() -> None:
    assert NoWatch().report() is None


BEFORE = date(2026, 1, 1)


@pytest.mark.parametrize(("name", "sign"), LIKELY)
def test_every_drift_has_its_words(name: str, sign: int) -> None:
    found = {name: Drifted(0.5 * sign, 0.2, BEFORE)}

    assert problem(found, (), None) == f"{LIKELY[name, sign]} (since 2026-01-01)"


def test_the_likelier_cause_is_named_first() -> None:
    found = {
        "confidence": Drifted(-0.6, 0.2, BEFORE),
        "sharpness": Drifted(-0.4, 0.2, BEFORE),
        "height": Drifted(0.1, 0.2, None),
    }

    assert "out of focus" in (problem(found, (), None) or "")


def test_the_reference_of_the_bundle_only_explains() -> None:
    middles = tuple(2 if name == "brightness" else 16 for name in QUANTITIES)
    reference = {"brightness": [100 if 10 <= place < 20 else 0 for place in range(BINS)]}
    found = {"brightness": Drifted(-0.6, 0.2, BEFORE)}

    said = problem(found, middles, reference)
    assert said is not None
    assert "darker than the pictures that the bundle learned from" in said
    assert "learned from" not in (problem(found, middles, None) or "")
    assert "learned from" not in (problem(found, (15,) * len(QUANTITIES), reference) or "")
    assert problem({"brightness": Drifted(-0.1, 0.2, None)}, middles, reference) is None


def test_asked_expressions_that_are_read_worse_are_a_problem_and_relearning_begins_anew(
    tmp_path: Path, calendar: Calendar, caplog: pytest.LogCaptureFixture
) -> None:
    watch = watch_of(tmp_path, calendar)
    for _ in range(30):
        watch.asked("happy", right=True)
    calendar.now += timedelta(days=31)
    for _ in range(12):
        watch.asked("happy", right=False)
    watch.report()

    report = watch.report()
    assert "asked expressions are read right less often: 0% of 12" in (report.problem or "")
    assert report.since == calendar.now.date()
    assert caplog.text.count("read right less often") == 1
    assert watch_of(tmp_path, calendar).report().problem == report.problem

    watch.reset()

    assert watch.report().asked.faces == 0
    assert watch.report().problem is None


def test_nobody_who_is_not_watched_is_counted() -> None:
    NoWatch().asked("happy", right=True)

    assert NoWatch().report() is None

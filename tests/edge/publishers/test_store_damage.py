"""A damaged store: what can be read of it is taken over in order, the rest is counted, with a reason."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.mqtt_samples import events
from edge.stored import Clock, run_program, waiting
from oahega_edge.publishers.store import FILE_NAME, LOWEST, RETRY_DISK_S, Store, StoreOptions

NUMBER = 300


@pytest.fixture
def clock() -> Clock:
    return Clock()


def filled(folder: Path, clock: Clock) -> tuple[bytes, bytes]:
    """A store as the daemon leaves it; file and log as a SIGKILL would."""
    with contextlib.closing(Store(StoreOptions(folder=folder), clock)) as store:
        made = events(NUMBER)
        for first in range(0, NUMBER, 10):
            store.append(waiting(made[first : first + 10], clock, first + 1))
        return (folder / FILE_NAME).read_bytes(), (folder / f"{FILE_NAME}-wal").read_bytes()


@contextlib.contextmanager
def reopened(folder: Path, clock: Clock, **changes: object) -> Iterator[Store]:
    options = StoreOptions(folder=folder, **changes)  # type: ignore[arg-type]
    with contextlib.closing(Store(options, clock)) as store:
        yield store


def seqs(store: Store) -> list[int]:
    return [each.event.seq for each in store.after(LOWEST, 100_000)]


def run(file: Path, *lines: str) -> None:
    with contextlib.closing(sqlite3.connect(file)) as disk:
        for line in lines:
            disk.execute(line)
        disk.commit()


def emptied(file: Path) -> None:
    file.write_bytes(b"")


def removed(file: Path) -> None:
    file.unlink()


def replaced(file: Path) -> None:
    file.write_bytes(random.Random(1).randbytes(50_000))


def cut(file: Path) -> None:
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])


def flipped(file: Path) -> None:
    content, rng = bytearray(file.read_bytes()), random.Random(1)
    for _ in range(200):
        content[rng.randrange(100, len(content))] ^= 1 << rng.randrange(8)
    file.write_bytes(content)


def without_header(file: Path) -> None:
    file.write_bytes(bytes(100) + file.read_bytes()[100:])


def a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def a_pipe(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)


def a_log_that_is_a_pipe(file: Path) -> None:
    os.mkfifo(f"{file}-wal")


def without_table(file: Path) -> None:
    run(file, "DROP TABLE waiting")


def another_table(file: Path) -> None:
    run(file, "DROP TABLE waiting", "CREATE TABLE waiting (key INTEGER PRIMARY KEY, what TEXT)")


def newer(file: Path) -> None:
    run(file, "PRAGMA user_version = 2")


DAMAGES: dict[Callable[[Path], None], int] = {
    emptied: 0,
    removed: 0,
    replaced: 0,
    cut: 100,
    flipped: 100,
    without_header: NUMBER,
    a_folder: 0,
    a_pipe: 0,
    a_log_that_is_a_pipe: NUMBER,
    without_table: 0,
    another_table: 0,
    newer: 0,
}


@pytest.mark.parametrize(("damage", "least"), DAMAGES.items(), ids=[each.__name__ for each in DAMAGES])
def test_what_can_be_read_is_taken_over_and_the_rest_is_counted(
    tmp_path: Path, clock: Clock, damage: Callable[[Path], None], least: int
) -> None:
    filled(tmp_path, clock)
    damage(tmp_path / FILE_NAME)

    with reopened(tmp_path, clock) as store:
        taken_over = seqs(store)

        assert taken_over == sorted(set(taken_over))
        assert len(taken_over) >= least
        assert len(taken_over) + store.dropped == NUMBER
        assert "could not be used" in str(store.damage)
        assert store.place == "disk"
        assert (store.reason is None) == (store.dropped == 0)
        assert store.append(waiting(events(1), clock, store.last_key() + 1)) == 1
    assert damage is removed or os.path.lexists(tmp_path / "events.broken")
    with reopened(tmp_path, clock) as store:
        assert (len(store), store.dropped, store.damage) == (len(taken_over) + 1, 0, None)


def test_a_newer_store_is_not_touched_and_its_release_is_named(tmp_path: Path, clock: Clock) -> None:
    filled(tmp_path, clock)
    newer(tmp_path / FILE_NAME)

    with reopened(tmp_path, clock) as store:
        assert "a newer release wrote it: format 2, this one reads 1" in str(store.damage)
    with contextlib.closing(sqlite3.connect(tmp_path / "events.broken")) as disk:
        assert disk.execute("SELECT count(*) FROM waiting").fetchone() == (NUMBER,)


@pytest.mark.parametrize("how", ["cut off", "garbled", "gone"])
def test_a_log_that_sqlite_passes_over_is_read_from_its_pages(tmp_path: Path, clock: Clock, how: str) -> None:
    file, log = filled(tmp_path, clock)
    (tmp_path / FILE_NAME).write_bytes(file)
    kept = {"cut off": log[: len(log) // 2], "gone": b""}.get(how, log[:9000] + bytes(9000) + log[18_000:])
    (tmp_path / f"{FILE_NAME}-wal").write_bytes(kept)

    with reopened(tmp_path, clock) as store:
        taken_over = seqs(store)

        assert taken_over == sorted(set(taken_over))
        assert len(taken_over) + store.dropped == NUMBER
        assert len(taken_over) > {"cut off": 100, "gone": -1}.get(how, NUMBER - 30)
        assert store.damage is not None


def test_what_was_delivered_before_a_kill_is_not_counted_as_lost(tmp_path: Path, clock: Clock) -> None:
    """The note beside the file is as old as the last sync; the rows are gone since."""
    store = Store(StoreOptions(folder=tmp_path), clock)
    store.append(waiting(events(20), clock))
    clock.pass_by(2)
    store.sync()
    store.remove(range(1, 21))  # and then nothing is closed

    with reopened(tmp_path, clock) as after:
        assert (len(after), after.dropped, after.damage) == (0, 0, None)
        assert after.last_key() == 20
    store.close()


MIGRATED = {
    "one more column": ["ALTER TABLE waiting ADD COLUMN extra TEXT"],
    "no face": ["ALTER TABLE waiting DROP COLUMN face"],
    "no clock": ["ALTER TABLE waiting DROP COLUMN steady", "ALTER TABLE waiting DROP COLUMN steady_origin"],
    "no version": ["PRAGMA user_version = 0"],
    "a key without a next one": ["UPDATE waiting SET key = 9223372036854775807 WHERE key = 300"],
    "keys below all": ["UPDATE waiting SET key = -9223372036854775808 WHERE key = 1"],
}


@pytest.mark.parametrize("lines", MIGRATED.values(), ids=MIGRATED)
def test_another_layout_is_migrated(tmp_path: Path, clock: Clock, lines: list[str]) -> None:
    filled(tmp_path, clock)
    run(tmp_path / FILE_NAME, *lines)

    with reopened(tmp_path, clock) as store:
        assert seqs(store) == list(range(NUMBER))
        assert (store.dropped, store.place) == (0, "disk")
        assert store.append(waiting(events(1), clock, store.last_key() + 1)) == 1


LOOSE = (
    "CREATE TABLE loose (key INTEGER PRIMARY KEY, face, wall, steady, steady_origin, event)",
    "INSERT INTO loose SELECT * FROM waiting",
    "DROP TABLE waiting",
    "ALTER TABLE loose RENAME TO waiting",
)
NONSENSE = {
    "infinite": (["UPDATE waiting SET wall = -9e999, steady_origin = 'x' WHERE key = 5"], 0),
    "infinite on this start's clock": (["UPDATE waiting SET steady = 9e999 WHERE key = 5"], 0),
    "beyond every number": (["UPDATE waiting SET steady = -1e308 WHERE key = 5"], 0),
    "in the future": (["UPDATE waiting SET wall = 9e15, steady_origin = 'x'"], 0),
    "no event": (["UPDATE waiting SET event = '{' WHERE key % 2"], 150),
    "no text": (["UPDATE waiting SET event = CAST(x'ff00fe' AS TEXT) WHERE key = 3"], 1),
    "NULL": ([*LOOSE, "UPDATE waiting SET event = NULL WHERE key = 7"], 1),
    "NULL for a time": ([*LOOSE, "UPDATE waiting SET wall = NULL WHERE key = 7"], 0),
    "other types": (
        [*LOOSE, "UPDATE waiting SET event = x'7b', wall = 'noon', steady = '' WHERE key = 7"],
        1,
    ),
    "a number for an event": ([*LOOSE, "UPDATE waiting SET event = 7 WHERE key < 3"], 2),
}


@pytest.mark.parametrize(("lines", "lost"), NONSENSE.values(), ids=NONSENSE)
def test_a_row_of_nonsense_costs_itself_only(
    tmp_path: Path, clock: Clock, lines: list[str], lost: int
) -> None:
    filled(tmp_path, clock)
    run(tmp_path / FILE_NAME, *lines)

    with reopened(tmp_path, clock) as store:
        store.trim(kept=())
        found = store.after(LOWEST, 100_000)

        assert (len(found), store.dropped) == (NUMBER - lost, lost)
        assert [each.key for each in found] == sorted(each.key for each in found)
        assert all(clock().since(each.since) < 1e11 for each in found)
        assert (store.reason is None) == (lost == 0)


def test_rows_of_an_earlier_start_come_before_what_waited_in_memory(tmp_path: Path, clock: Clock) -> None:
    """The disk could not be read at the start and can be later: both have a first event."""
    filled(tmp_path, clock)
    with contextlib.closing(sqlite3.connect(tmp_path / FILE_NAME)) as other:
        other.execute("BEGIN IMMEDIATE")
        store = Store(StoreOptions(folder=tmp_path), clock)
        new = events(5, boot_id="new")
        store.append(waiting(new, clock))
        assert (store.place, store.last_key()) == ("memory", 5)
        other.rollback()
    clock.pass_by(RETRY_DISK_S + 1)

    assert store.tend() == 5

    found = [each.event for each in store.after(LOWEST, 1000)]
    assert [each.seq for each in found] == [*range(NUMBER), *range(5)]
    assert found[NUMBER:] == new
    assert (store.place, store.openings) == ("disk", 1)
    store.close()
    with reopened(tmp_path, clock) as again:
        assert (len(again), again.dropped) == (NUMBER + 5, 0)


def test_what_waits_in_memory_is_written_at_the_end(tmp_path: Path, clock: Clock) -> None:
    """The disk is well again, and nobody has tried it since."""
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = Store(StoreOptions(folder=blocked), clock)
    store.append(waiting(events(3), clock))
    blocked.unlink()

    store.close()

    with reopened(blocked, clock) as again:
        assert seqs(again) == [0, 1, 2]


def test_memory_is_bounded_like_the_disk(tmp_path: Path, clock: Clock) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with reopened(blocked, clock, max_events=10) as store:
        for first in range(1, 101, 5):
            store.append(waiting(events(5), clock, first))
            store.trim(kept=())
            assert len(store) <= 10

        assert [each.key for each in store.after(LOWEST, 99)] == list(range(91, 101))
        assert store.dropped == 90
        assert store.reason == "90 events were given up: more than store.max_events = 10 waited."


FULL_DISK = """
import contextlib
import sys
from pathlib import Path
from edge.mqtt_samples import events
from edge.stored import Clock, waiting
from oahega_edge.publishers.store import LOWEST, RETRY_DISK_S, Store, StoreOptions

folder, ballast = Path(sys.argv[1]), Path(sys.argv[1]) / "ballast"
clock = Clock()
store = Store(StoreOptions(folder=folder / "state", max_events=100), clock)
assert store.append(waiting(events(60), clock)) == 60
with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
    while file.write(bytes(4096)):
        pass
key = 61
while store.place == "disk":
    store.append(waiting(events(10), clock, key))
    key += 10
for _ in range(50):
    store.append(waiting(events(10), clock, key))
    key += 10
    store.trim(kept=())
    assert 0 <= len(store) <= 100, len(store)
kept = [each.key for each in store.after(LOWEST, 1000)]
assert kept == list(range(key - 100, key)), kept
store.remove(kept[:30])
assert len(store) == 70, len(store)
ballast.unlink()
clock.pass_by(RETRY_DISK_S + 1)
store.tend()
assert store.place == "disk", store.problem
assert [each.key for each in store.after(LOWEST, 1000)] == kept[30:]
store.close()
again = Store(StoreOptions(folder=folder / "state", max_events=100), clock)
assert [each.key for each in again.after(LOWEST, 1000)] == kept[30:]
assert (len(again), again.dropped) == (70, 0), (len(again), again.dropped, again.damage)
again.close()
"""


FULL_AT_THE_START = """
import contextlib
import sys
from pathlib import Path
from edge.mqtt_samples import events
from edge.stored import Clock, waiting
from oahega_edge.publishers.store import LOWEST, RETRY_DISK_S, Store, StoreOptions

folder, ballast = Path(sys.argv[1]), Path(sys.argv[1]) / "ballast"
clock = Clock()
(folder / "state").mkdir()
with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
    while file.write(bytes(4096)):
        pass
store = Store(StoreOptions(folder=folder / "state"), clock)
assert store.append(waiting(events(20), clock)) == 0
assert store.place == "memory", store.place
ballast.unlink()
clock.pass_by(RETRY_DISK_S + 1)
assert store.tend() == 20
assert (store.place, store.problem, store.damage, store.dropped) == ("disk", None, None, 0), store.damage
assert [each.key for each in store.after(LOWEST, 1000)] == list(range(1, 21))
store.close()
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
@pytest.mark.parametrize("program", [FULL_DISK, FULL_AT_THE_START], ids=["later", "at the start"])
def test_on_a_full_disk_the_bound_holds_and_nothing_done_comes_back(tmp_path: Path, program: str) -> None:
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", tmp_path], capture_output=True
    )
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        run_program(program, tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)

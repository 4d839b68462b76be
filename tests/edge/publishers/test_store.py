"""Events that wait, on real disks: bounded, counted, in order, over restarts, and when the disk fails."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.mqtt_samples import event, events, stamp, summary, summary_stamp
from edge.stored import Clock, run_program, waiting
from oahega_edge.publishers.store import FILE_NAME, RETRY_DISK_S, Policy, Store, StoreOptions
from processes import environment


def seqs(store: Store) -> list[int]:
    return [each.event.seq for each in store.after(0, 100_000)]


def on_disk(folder: Path, **changes: object) -> StoreOptions:
    return StoreOptions(folder=folder, **changes)  # type: ignore[arg-type]


@pytest.fixture
def clock() -> Clock:
    return Clock()


Opener = Callable[[StoreOptions], Store]


@pytest.fixture
def opened(clock: Clock) -> Iterator[Opener]:
    """Opens stores, and closes them after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda options: stack.enter_context(contextlib.closing(Store(options, clock)))


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_events_wait_in_order_until_they_are_removed(
    tmp_path: Path, clock: Clock, opened: Opener, place: str
) -> None:
    store = opened(StoreOptions(folder=tmp_path if place == "disk" else None))
    made = events(10)
    store.append(waiting(made, clock))

    store.remove([1, 2, 5])

    assert store.place == place
    assert [each.event for each in store.after(0, 100)] == [made[n] for n in (2, 3, 5, 6, 7, 8, 9)]
    assert [each.key for each in store.after(6, 2)] == [7, 8]
    assert len(store) == 7


def test_what_is_on_disk_is_accepted_and_what_is_in_memory_is_not(
    tmp_path: Path, clock: Clock, opened: Opener
) -> None:
    assert opened(on_disk(tmp_path)).append(waiting(events(3), clock)) == 3
    assert opened(StoreOptions()).append(waiting(events(3), clock)) == 0


def test_events_survive_a_restart_with_their_keys(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    first = opened(on_disk(tmp_path))
    first.append(waiting(events(5), clock))
    first.close()

    second = opened(on_disk(tmp_path))

    assert seqs(second) == [0, 1, 2, 3, 4]
    assert second.last_key() == 5
    assert second.after(0, 1)[0].since == clock()


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_at_the_bound_the_oldest_go_and_are_counted(
    tmp_path: Path, clock: Clock, opened: Opener, place: str
) -> None:
    folder = tmp_path if place == "disk" else None
    store = opened(StoreOptions(folder=folder, max_events=100))
    store.append(waiting(events(130), clock))

    store.trim(kept=())

    assert seqs(store) == list(range(30, 130))
    assert store.dropped == 30


def test_what_is_being_sent_is_not_dropped(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    store = opened(on_disk(tmp_path, max_events=3))
    store.append(waiting(events(5), clock))

    store.trim(kept=(1,))

    assert [each.key for each in store.after(0, 9)] == [1, 3, 4, 5]
    assert store.dropped == 1


def test_what_is_too_old_goes_and_is_counted(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    store = opened(on_disk(tmp_path, max_age_s=60))
    store.append(waiting(events(2), clock))
    clock.pass_by(50)
    store.append(waiting(events(2), clock, first=3))
    clock.pass_by(20)

    store.trim(kept=())

    assert [each.key for each in store.after(0, 9)] == [3, 4]
    assert store.dropped == 2


def test_a_clock_that_jumps_makes_no_event_old(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    """A Pi has no battery for its clock: it starts in the past and jumps when the time service answers."""
    store = opened(on_disk(tmp_path, max_age_s=60))
    store.append(waiting(events(2), clock))
    clock.wall += 3 * 365 * 86400
    clock.steady += 5

    store.trim(kept=())

    assert len(store) == 2
    assert clock().since(store.after(0, 1)[0].since) == 5


def test_over_a_restart_of_the_board_the_wall_clock_tells_the_age(
    tmp_path: Path, clock: Clock, opened: Opener
) -> None:
    store = opened(on_disk(tmp_path))
    store.append(waiting(events(1), clock))
    clock.wall += 600
    clock.steady, clock.origin = 3.0, "start-2"

    assert clock().since(store.after(0, 1)[0].since) == 600


@pytest.mark.parametrize("place", ["disk", "memory"])
def test_policy_latest_keeps_the_newest_of_each_face(
    tmp_path: Path, clock: Clock, opened: Opener, place: str
) -> None:
    folder = tmp_path if place == "disk" else None
    store = opened(StoreOptions(policy="latest", folder=folder))
    store.append(waiting(events(10, tracks=3), clock))

    store.append(waiting([event(stamp(), "t1")], clock, first=11))

    assert [(each.key, each.event.track) for each in store.after(0, 9)] == [(9, "t2"), (10, "t0"), (11, "t1")]
    assert store.dropped == 8


def test_the_same_track_of_another_start_is_another_face(
    tmp_path: Path, clock: Clock, opened: Opener
) -> None:
    store = opened(on_disk(tmp_path, policy="latest"))

    store.append(waiting([*events(1, boot_id="a"), *events(1, boot_id="b")], clock))

    assert len(store) == 2


def test_policy_none_keeps_nothing_on_disk(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    store = opened(on_disk(tmp_path, policy="none"))

    assert store.place == "none"
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_leaves_events_in_memory_and_says_so(
    tmp_path: Path, clock: Clock, opened: Opener, caplog: pytest.LogCaptureFixture
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = opened(on_disk(blocked / "store"))

    accepted = store.append(waiting(events(3), clock))

    assert (accepted, seqs(store), store.place) == (0, [0, 1, 2], "memory")
    assert "events wait in memory and a restart loses them" in str(store.problem)
    assert len(caplog.records) == 1


def test_a_disk_that_comes_back_takes_what_waited_in_memory(
    tmp_path: Path, clock: Clock, opened: Opener
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    store = opened(on_disk(blocked))
    store.append(waiting(events(3), clock))
    blocked.unlink()
    clock.pass_by(RETRY_DISK_S + 1)

    accepted = store.append(waiting(events(1), clock, first=4))

    assert (accepted, store.place, store.problem) == (4, "disk", None)
    assert [each.key for each in opened(on_disk(blocked)).after(0, 9)] == [1, 2, 3, 4]


FULL_DISK = """
import resource, sys
from pathlib import Path
from edge.mqtt_samples import events
from edge.stored import Clock, waiting
from oahega_edge.publishers.store import Store, StoreOptions

clock = Clock()
store = Store(StoreOptions(folder=Path(sys.argv[1])), clock)
assert store.append(waiting(events(20), clock)) == 20
resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, 60_000))  # what is written beyond fails
accepted = store.append(waiting(events(200), clock, first=21))
assert accepted == 0, accepted
assert store.place == "memory" and "cannot write" in store.problem, store.problem
assert [each.key for each in store.after(0, 999)] == list(range(1, 221))
store.remove(range(1, 31))
assert [each.key for each in store.after(0, 999)] == list(range(31, 221))
assert len(store) == 190, len(store)
"""

READ_ONLY_DISK = """
import sys
from pathlib import Path
from edge.mqtt_samples import events
from edge.stored import Clock, waiting
from oahega_edge.publishers.store import Store, StoreOptions

clock = Clock()
store = Store(StoreOptions(folder=Path(sys.argv[1])), clock)
assert store.append(waiting(events(5), clock)) == 0
assert store.place == "memory" and "cannot" in store.problem, store.problem
assert [each.event.seq for each in store.after(0, 99)] == [0, 1, 2, 3, 4]
"""


def test_on_a_full_disk_events_go_on_from_memory_in_order(tmp_path: Path) -> None:
    run_program(FULL_DISK, tmp_path)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write to any folder; see the test below")
def test_on_a_read_only_disk_events_go_on_from_memory(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)

    run_program(READ_ONLY_DISK, tmp_path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can mount")
def test_on_a_read_only_mount_events_go_on_from_memory(tmp_path: Path) -> None:
    """As with an overlay root of Raspberry Pi OS."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", tmp_path], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting is not allowed here")
    try:
        run_program(READ_ONLY_DISK, tmp_path)
    finally:
        subprocess.run(["umount", tmp_path], check=True)


@pytest.mark.parametrize("damage", [b"this is no database" * 100, b"SQLite format 3\0" + bytes(8000)])
def test_a_broken_file_is_put_aside(tmp_path: Path, clock: Clock, opened: Opener, damage: bytes) -> None:
    (tmp_path / FILE_NAME).write_bytes(damage)

    store = opened(on_disk(tmp_path))

    assert store.append(waiting(events(2), clock)) == 2
    assert (tmp_path / "events.broken").read_bytes() == damage


def test_events_of_another_release_are_dropped_and_counted(
    tmp_path: Path, clock: Clock, opened: Opener
) -> None:
    store = opened(on_disk(tmp_path))
    store.append(waiting(events(3), clock))
    store.close()
    disk = sqlite3.connect(tmp_path / FILE_NAME)
    disk.execute("""UPDATE waiting SET event = '{"schema": "urn:oahega:event:0"}' WHERE key = 2""")
    disk.commit()
    disk.close()

    second = opened(on_disk(tmp_path))

    assert [each.key for each in second.after(0, 9)] == [1, 3]
    assert (second.dropped, len(second)) == (1, 2)


def test_a_file_of_another_format_is_put_aside(tmp_path: Path, clock: Clock, opened: Opener) -> None:
    disk = sqlite3.connect(tmp_path / FILE_NAME)
    disk.execute("PRAGMA user_version = 99")
    disk.close()

    store = opened(on_disk(tmp_path))

    assert store.append(waiting(events(1), clock)) == 1
    assert (tmp_path / "events.broken").exists()


def test_commits_do_not_wait_for_the_card_and_syncs_keep_their_interval(tmp_path: Path, clock: Clock) -> None:
    """100 commits within one interval cost one sync: counted where it matters, in the system calls."""
    if subprocess.run(["which", "strace"], capture_output=True).returncode != 0:
        pytest.skip("no strace on this machine")
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from edge.mqtt_samples import events\n"
        "from edge.stored import Clock, waiting\n"
        "from oahega_edge.publishers.store import Store, StoreOptions\n"
        "clock = Clock()\n"
        "store = Store(StoreOptions(folder=Path(sys.argv[1])), clock)\n"
        "print('begin', flush=True)\n"
        "for n in range(100):\n"
        "    store.append(waiting(events(1), clock, first=1 + n))\n"
        "    store.sync()\n"
        "print('end', flush=True)\n"
    )
    trace = tmp_path / "trace"
    watch = ["strace", "-f", "-e", "trace=fsync,fdatasync,write", "-o", trace]
    subprocess.run(
        [*watch, sys.executable, "-c", program, tmp_path],
        env=environment(),
        check=True,
        capture_output=True,
    )
    lines = trace.read_text().split('"begin')[1].split('"end')[0].splitlines()

    assert len([line for line in lines if "sync(" in line]) == 1


@pytest.mark.parametrize("policy", ["all", "latest"])
def test_summaries_wait_beside_events_and_none_replaces_another(tmp_path: Path, policy: Policy) -> None:
    clock = Clock()
    maker = summary_stamp()
    made = [*events(1), summary(maker), summary(maker)]
    with contextlib.closing(Store(StoreOptions(policy=policy, folder=tmp_path), clock)) as store:
        store.append(waiting(made, clock))

    with contextlib.closing(Store(StoreOptions(policy=policy, folder=tmp_path), clock)) as store:
        assert [each.event for each in store.after(0, 10)] == made

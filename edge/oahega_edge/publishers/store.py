"""Events that wait for the broker: on disk in SQLite, in memory where there is no disk to write to.

Kind to an SD card: with the broker there, an event that is acknowledged within the commit interval never
touches the disk. While it is away, each commit takes all new events at once and is written without waiting
for the card (SIGKILL loses none of it); the card is waited for once per sync interval, and a power cut
loses no more than that.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from oahega_edge.contract.events import Event

log = logging.getLogger(__name__)

Policy = Literal["all", "latest", "none"]
FILE_NAME = "events.sqlite"
FORMAT = 1
RETRY_DISK_S = 30.0

_LAYOUT = """
CREATE TABLE waiting (
    key INTEGER PRIMARY KEY,
    face TEXT NOT NULL,
    wall REAL NOT NULL,
    steady REAL NOT NULL,
    steady_origin TEXT NOT NULL,
    event TEXT NOT NULL
) STRICT;
"""

_READ = "SELECT key, wall, steady, steady_origin, event FROM waiting WHERE key > ? ORDER BY key"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreOptions:
    """How many events wait, how long and where."""

    policy: Policy = "all"
    """all: each; latest: the newest of each face; none: what cannot be sent at once is dropped."""
    folder: Path | None = None
    """None: in memory, lost with the process."""
    max_events: int = 10_000
    max_age_s: float = 86_400.0
    commit_interval_s: float = 0.1
    """How long an event stays in memory, waiting for its acknowledgement and for company."""
    sync_interval_s: float = 1.0
    """What a power cut can cost; at most 1 s."""


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment on the wall clock and on one that is never set (a Pi without network starts in the past)."""

    wall: float
    """Seconds since 1970."""
    steady: float
    """Seconds since the board started."""
    origin: str
    """Which start of the board; steady times of two starts cannot be compared."""

    def since(self, earlier: Instant) -> float:
        """Seconds from `earlier` to here, never negative."""
        if self.origin == earlier.origin:
            return max(0.0, self.steady - earlier.steady)
        return max(0.0, self.wall - earlier.wall)


def device_clock() -> Callable[[], Instant]:
    """The clocks of this machine."""
    try:
        origin = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        origin = f"process-{os.getpid()}-{time.time()}"
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return lambda: Instant(time.time(), time.clock_gettime(clock), origin)


@dataclass(frozen=True, slots=True)
class Waiting:
    """One event on its way."""

    key: int
    """Rises with every event, also over restarts."""
    event: Event
    since: Instant
    """When it was handed over."""

    @property
    def face(self) -> str:
        """Whose latest event the policy `latest` keeps."""
        return f"{self.event.boot_id}/{self.event.track}"


class Store:
    """Used by one thread. Never raises for a disk that cannot be written: goes on in memory and says so."""

    def __init__(self, options: StoreOptions, clock: Callable[[], Instant]) -> None:
        self.options = options
        self.problem: str | None = None
        """What is wrong with the disk, in one sentence."""
        self.dropped = 0
        """Events that were given up: too many, too old, or replaced by a later one of their face."""
        self._clock = clock
        self._disk: sqlite3.Connection | None = None
        self._count = 0
        self._memory: dict[int, Waiting] = {}
        self._gone: set[int] = set()
        """Keys that are done but that a full disk does not let us delete."""
        self._tried_at = float("-inf")
        self._synced_at = float("-inf")
        self._dirty = False
        if options.folder is not None and options.policy != "none":
            self._open_disk()

    @property
    def place(self) -> Literal["disk", "memory", "none"]:
        """Where new events wait."""
        if self.options.policy == "none":
            return "none"
        return "memory" if self._disk is None or self.problem is not None else "disk"

    def __len__(self) -> int:
        return self._count - len(self._gone) + len(self._memory)

    def last_key(self) -> int:
        """The highest key, 0 when empty."""
        on_disk = 0
        if self._disk is not None:
            with self._guarded("read"):
                on_disk = self._disk.execute("SELECT coalesce(max(key), 0) FROM waiting").fetchone()[0]
        return max([on_disk, *self._memory])

    def append(self, events: Iterable[Waiting], kept: Collection[int] = ()) -> int:
        """Put these behind all others; the number of events that are safe on disk now and were not before.

        The policy `latest` does not replace what is in `kept`: those are being sent.
        """
        new = list(events)
        if self.options.policy == "latest":
            new = self._only_latest(new, kept)
        if self._try_disk() and self._write([*self._memory.values(), *new]):
            safe = len(new) + len(self._memory)
            self._memory.clear()
            return safe
        self._memory.update((each.key, each) for each in new)
        return 0

    def after(self, key: int, limit: int) -> list[Waiting]:
        """The next events behind this key, oldest first."""
        found: list[Waiting] = []
        if self._disk is not None:
            with self._guarded("read"), contextlib.closing(self._disk.execute(_READ, (key,))) as rows:
                for row in rows:
                    waiting = self._read(row)
                    if waiting is not None:
                        found.append(waiting)
                    if len(found) >= limit:
                        return found
        found += [each for each in self._memory.values() if each.key > key]
        return found[:limit]

    def remove(self, keys: Collection[int]) -> int:
        """These are done; the number of them that had not been on disk."""
        on_disk = [key for key in keys if self._memory.pop(key, None) is None]
        if self._disk is not None and on_disk:
            self._gone.update(on_disk)
            with self._guarded("write"), self._disk:
                self._count -= self._delete(self._gone)
                self._gone.clear()
                self._dirty = True
        return len(keys) - len(on_disk)

    def trim(self, kept: Collection[int]) -> None:
        """Give up what is too old or too much, oldest first, except `kept`: those are being sent."""
        now = self._clock()
        doomed: list[int] = []
        excess = len(self) - self.options.max_events
        for key, since in self._oldest():
            too_old = now.since(since) > self.options.max_age_s
            if not too_old and excess <= 0:
                break
            excess -= 1
            if key not in kept:
                doomed.append(key)
        if doomed:
            self.dropped += len(doomed)
            self.remove(doomed)

    def sync(self) -> None:
        """Wait for the card, at most once per sync interval."""
        now = self._clock().steady
        if self._dirty and self._disk is not None and now - self._synced_at >= self.options.sync_interval_s:
            self._sync_disk()
            self._synced_at, self._dirty = now, False

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._memory and self._try_disk(at_once=True):
            self.append(())
        if self._disk is not None:
            self._sync_disk()
            with contextlib.suppress(sqlite3.Error):
                self._disk.close()
            self._disk = None

    def _only_latest(self, new: list[Waiting], kept: Collection[int]) -> list[Waiting]:
        latest = {each.face: each for each in new}
        replaced = [each.key for each in self._memory.values() if each.face in latest]
        if self._disk is not None:
            marks = ",".join("?" * len(latest))
            with self._guarded("read"):
                rows = self._disk.execute(f"SELECT key FROM waiting WHERE face IN ({marks})", tuple(latest))
                replaced += [key for (key,) in rows if key not in self._gone]
        replaced = [key for key in replaced if key not in kept]
        self.dropped += len(new) - len(latest) + len(replaced)
        self.remove(replaced)
        return [each for each in new if latest[each.face] is each]

    def _oldest(self) -> Iterator[tuple[int, Instant]]:
        if self._disk is not None:
            with self._guarded("read"):
                rows = self._disk.execute("SELECT key, wall, steady, steady_origin FROM waiting ORDER BY key")
                for key, wall, steady, origin in rows:
                    if key not in self._gone:
                        yield key, Instant(wall, steady, origin)
        for each in list(self._memory.values()):
            yield each.key, each.since

    def _read(self, row: tuple[int, float, float, str, str]) -> Waiting | None:
        key, wall, steady, origin, text = row
        if key in self._gone:
            return None
        try:
            event = Event.model_validate_json(text)
        except ValueError:  # written by another release
            log.warning("Store: event %s cannot be read and is dropped.", key)
            self.dropped += 1
            self._gone.add(key)
            return None
        return Waiting(key, event, Instant(wall, steady, origin))

    def _write(self, events: list[Waiting]) -> bool:
        assert self._disk is not None
        rows = [
            (e.key, e.face, e.since.wall, e.since.steady, e.since.origin, e.event.to_json()) for e in events
        ]
        with self._guarded("write"):
            with self._disk:
                self._disk.executemany("INSERT INTO waiting VALUES (?, ?, ?, ?, ?, ?)", rows)
                deleted = self._delete(self._gone)
            self._count += len(rows) - deleted
            self._gone.clear()
            self._dirty = self._dirty or bool(rows)
            self._recovered()
            return True
        return False

    def _delete(self, keys: Collection[int]) -> int:
        assert self._disk is not None
        return self._disk.executemany("DELETE FROM waiting WHERE key = ?", [(key,) for key in keys]).rowcount

    def _try_disk(self, at_once: bool = False) -> bool:
        """Whether the disk is worth a try: always while it is well, else from time to time."""
        if self.options.folder is None or self.options.policy == "none":
            return False
        if self.problem is not None:
            now = self._clock().steady
            if not at_once and now - self._tried_at < RETRY_DISK_S:
                return False
            self._tried_at = now
        return self._disk is not None or self._open_disk()

    def _open_disk(self) -> bool:
        assert self.options.folder is not None
        path = self.options.folder / FILE_NAME
        with self._guarded("open"):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self._disk = _opened(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._put_aside(path, error)
                self._disk = _opened(path)
            self._count = self._disk.execute("SELECT count(*) FROM waiting").fetchone()[0]
            return True
        return False

    def _put_aside(self, path: Path, error: Exception) -> None:
        """Move a broken file aside: the device goes on, and the file can still be examined."""
        aside = path.with_suffix(".broken")
        log.warning("Store: %s is broken (%s); moved to %s, starting anew.", path, error, aside.name)
        path.replace(aside)
        for tail in ("-wal", "-shm"):
            path.with_name(path.name + tail).unlink(missing_ok=True)

    def _sync_disk(self) -> None:
        """SQLite's commits in WAL mode do not wait for the card; this does, for all of them at once.

        Closing this second descriptor is harmless: SQLite's locks are on the other two files.
        """
        assert self.options.folder is not None
        with self._guarded("write"), contextlib.suppress(FileNotFoundError):
            descriptor = os.open(self.options.folder / f"{FILE_NAME}-wal", os.O_RDONLY)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)

    def _guarded(self, doing: str) -> _Guard:
        return _Guard(lambda error: self._fell_ill(doing, error))

    def _fell_ill(self, doing: str, error: Exception) -> None:
        if self.problem is None:
            self._tried_at = self._clock().steady
            self.problem = (
                f"store.path {self.options.folder}: cannot {doing} ({error}); "
                "events wait in memory and a restart loses them: make room or make it writable."
            )
            log.warning("Store: %s", self.problem)

    def _recovered(self) -> None:
        if self.problem is not None:
            log.info("Store: %s can be written again.", self.options.folder)
            self.problem = None


class _Guard:
    """Turns what the disk raises into a note."""

    def __init__(self, note: Callable[[Exception], None]) -> None:
        self._note = note

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        if isinstance(error, (sqlite3.Error, OSError)):
            self._note(error)
            return True
        return False


def _opened(path: Path) -> sqlite3.Connection:
    disk = sqlite3.connect(path, timeout=1.0)
    try:
        disk.execute("PRAGMA journal_mode = WAL")
        disk.execute("PRAGMA synchronous = NORMAL")
        if disk.execute("PRAGMA quick_check").fetchone()[0] != "ok":
            raise sqlite3.DatabaseError("quick_check failed")
        version = disk.execute("PRAGMA user_version").fetchone()[0]
        if version == 0:
            disk.executescript(f"BEGIN; {_LAYOUT} PRAGMA user_version = {FORMAT}; COMMIT;")
        elif version != FORMAT:
            raise sqlite3.DatabaseError(f"format {version} is not {FORMAT}")
        disk.execute("UPDATE waiting SET key = key WHERE 0")  # a read-only disk is found here, not later
    except BaseException:
        disk.close()
        raise
    return disk

"""Events that wait for the broker: on disk in SQLite, in memory where there is no disk to write to.

Kind to an SD card: with the broker there, an event that is acknowledged within the commit interval never
touches the disk. While it is away, each commit takes all new events at once and is written without waiting
for the card (SIGKILL loses none of it); the card is waited for once per sync interval, and a power cut
loses no more than that.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal

from oahega_edge.disk.file import FILE_NAME, EventFile, is_damage
from oahega_edge.disk.waiting import Instant, Row, Waiting, device_clock, instant_of, waiting_of

__all__ = ["FILE_NAME", "LOWEST", "Instant", "Policy", "Store", "StoreOptions", "Waiting", "device_clock"]

log = logging.getLogger(__name__)

Policy = Literal["all", "latest", "none"]
RETRY_DISK_S = 30.0
LOWEST = -(1 << 62)
"""Below every key."""


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


class Store:
    """Used by one thread. Never raises for a disk that cannot be written: goes on in memory and says so."""

    def __init__(self, options: StoreOptions, clock: Callable[[], Instant]) -> None:
        self.options = options
        self.problem: str | None = None
        """What is wrong with the disk, in one sentence."""
        self.damage: str | None = None
        """What was wrong with the file that was found, in one sentence."""
        self.dropped = 0
        """Events that were given up."""
        self.reason: str | None = None
        """Why events were given up last."""
        self.openings = 0
        """Of the file: at each one, events may lie in it that are older than what was read before."""
        self._clock = clock
        self._file: EventFile | None = None
        self._memory: dict[int, Waiting] = {}
        self._gone: set[int] = set()
        """Keys of rows that are done but that a full disk does not let us delete."""
        self._tried_at = float("-inf")
        self._synced_at = float("-inf")
        self._dirty = False
        self._drops: Counter[str] = Counter()
        self._first: int | None = None
        """The first key of this start; None until it is known."""
        if options.folder is not None and options.policy != "none":
            self._open()
        self._first = self.last_key() + 1

    @property
    def place(self) -> Literal["disk", "memory", "none"]:
        """Where new events wait."""
        if self.options.policy == "none":
            return "none"
        return "memory" if self._file is None or self.problem is not None else "disk"

    def __len__(self) -> int:
        on_disk = 0 if self._file is None else max(0, len(self._file) - len(self._gone))
        return on_disk + len(self._memory)

    def last_key(self) -> int:
        """The highest key that was given, 0 for a new store."""
        return max([0 if self._file is None else self._file.last, *self._memory])

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
        with self._guarded("read"):
            for row in self._rows(key):
                waiting = waiting_of(row)
                if waiting is None:
                    self._drop(1, "they cannot be read: another release wrote them, or they are damaged")
                    self._gone.add(row[0])
                else:
                    found.append(waiting)
                if len(found) >= limit:
                    return found
        found += [each for each in self._memory.values() if each.key > key]
        return found[:limit]

    def remove(self, keys: Collection[int]) -> int:
        """These are done; the number of them that had not been on disk."""
        on_disk = [key for key in keys if self._memory.pop(key, None) is None]
        if self._file is not None and on_disk:
            self._gone.update(on_disk)
            self._write([])
        return len(keys) - len(on_disk)

    def trim(self, kept: Collection[int]) -> None:
        """Give up what is too old or too much, oldest first, except `kept`: those are being sent."""
        now = self._clock()
        old: list[int] = []
        excess: list[int] = []
        too_many = len(self) - self.options.max_events
        for key, since in self._oldest():
            too_old = since is not None and now.since(since) > self.options.max_age_s
            if not too_old and too_many <= 0:
                break
            too_many -= 1
            if key not in kept:
                (old if too_old else excess).append(key)
        self._give_up(old, f"they waited longer than store.max_age_s = {self.options.max_age_s:g}")
        self._give_up(excess, f"more than store.max_events = {self.options.max_events} waited")

    def tend(self) -> int:
        """What waits in memory goes to a disk that is well again; as `append`."""
        return self.append(()) if self._memory or self._gone else 0

    def sync(self) -> None:
        """Wait for the card, at most once per sync interval."""
        now = self._clock().steady
        if self._dirty and self._file is not None and now - self._synced_at >= self.options.sync_interval_s:
            self._sync()
            self._synced_at, self._dirty = now, False

    def close(self) -> None:
        """Write what is left and let go of the file."""
        if self._memory and self._try_disk(at_once=True):
            self._write(list(self._memory.values()))
        if self._file is not None:
            self._sync()
        self._let_go()

    def _only_latest(self, new: list[Waiting], kept: Collection[int]) -> list[Waiting]:
        latest = {each.face: each for each in new}
        replaced = [each.key for each in self._memory.values() if each.face in latest]
        if self._file is not None and latest:
            with self._guarded("read"):
                replaced += [key for key in self._file.keys_of(latest) if key not in self._gone]
        replaced = [key for key in replaced if key not in kept]
        self._give_up(replaced, "store.policy = latest: later ones of the same face replaced them")
        self._drop(len(new) - len(latest), "store.policy = latest: later ones of the same face replaced them")
        return [each for each in new if latest[each.face] is each]

    def _oldest(self) -> Iterator[tuple[int, Instant | None]]:
        with self._guarded("read"):
            for key, wall, steady, origin, _ in self._rows(LOWEST):
                yield key, instant_of(wall, steady, origin)
        for each in list(self._memory.values()):
            yield each.key, each.since

    def _rows(self, key: int) -> Iterator[Row]:
        """Of the file, without those that are done."""
        if self._file is not None:
            with contextlib.closing(self._file.after(key)) as rows:
                yield from (row for row in rows if row[0] not in self._gone)

    def _give_up(self, keys: list[int], reason: str) -> None:
        if keys:
            self._drop(len(keys), reason)
            self.remove(keys)

    def _drop(self, number: int, reason: str) -> None:
        if number > 0:
            self.dropped += number
            self._drops[reason] += number
            self.reason = f"{self._drops[reason]} events were given up: {reason}."

    def _write(self, events: list[Waiting]) -> bool:
        """Add these and delete what is done; False, and nothing has changed, where the disk refuses."""
        assert self._file is not None
        with self._guarded("write"):
            self._file.write(events, self._gone)
            self._gone.clear()
            self._dirty = True
            self._recovered()
            return True
        return False

    def _try_disk(self, at_once: bool = False) -> bool:
        """Whether the disk is worth a try: always while it is well, else from time to time."""
        if self.options.folder is None or self.options.policy == "none":
            return False
        if self.problem is not None:
            now = self._clock().steady
            if not at_once and now - self._tried_at < RETRY_DISK_S:
                return False
            self._tried_at = now
        return self._file is not None or self._open()

    def _open(self) -> bool:
        """Open the file; what lies in it is older than all that this start has made."""
        assert self.options.folder is not None
        with self._guarded("open"):
            opened = EventFile(self.options.folder)
            try:
                if self._first is not None:
                    opened.move_below(self._first)
            except BaseException:
                opened.close()
                raise
            self._file = opened
            self._gone.clear()
            self.openings += 1
            if opened.reason is not None:
                self.damage = f"{opened.reason}."
                self.dropped += opened.lost
                self.reason = self.damage if opened.lost else self.reason
            return True
        return False

    def _sync(self) -> None:
        with self._guarded("write"):
            if self._file is not None:
                self._file.sync()

    def _let_go(self) -> None:
        if self._file is not None:
            with contextlib.suppress(sqlite3.Error):
                self._file.close()
            self._file = None
            self._gone.clear()

    def _guarded(self, doing: str) -> _Guard:
        return _Guard(lambda error: self._fell_ill(doing, error))

    def _fell_ill(self, doing: str, error: Exception) -> None:
        if is_damage(error):
            self._let_go()  # it is set aside when it is opened again
        if self.problem is None:
            self._tried_at = float("-inf") if is_damage(error) else self._clock().steady
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

"""The promises, checked against what the daemon noted, what the broker delivered and what lay on the disk."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from oahega_edge.contract.events import Event
from oahega_edge.publishers.store import Store, StoreOptions, device_clock

CLOSED_WITHIN = 1.0
"""Seconds from the answer to a mute until the camera is closed."""
MORE_DESCRIPTORS, MORE_MB = 24, 60
"""Most growth after a start has settled."""
SETTLED_AFTER = 15.0
"""Seconds after a start."""
COMMITTED_WITHIN = 1.0
"""Seconds from an event until it is on a disk that is well."""
WATCHDOG_S = 30.0
"""As in systemd's unit: a daemon that is silent for longer is killed."""


class Broken(AssertionError):
    """A promise that was not kept."""


class Deadline:
    """Seconds in which a daemon and its children must do something.

    The time in which they waited for a processor that others had does not count (/proc/PID/schedstat).
    """

    def __init__(self, process: psutil.Process, seconds: float) -> None:
        self._process = process
        self._seconds = seconds
        self._began, self._waited = time.monotonic(), _waited_for_processors(process)

    @property
    def since(self) -> float:
        """Seconds by the clock."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        if self.since <= self._seconds:
            return False
        waited = max(0.0, _waited_for_processors(self._process) - self._waited)
        return self.since - waited > self._seconds


def _waited_for_processors(process: psutil.Process) -> float:
    """Seconds, of all threads of it and its children."""
    nanoseconds = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for each in (process, *process.children()):
            with contextlib.suppress(OSError):  # a child that is gone meanwhile
                for thread in Path(f"/proc/{each.pid}/task").iterdir():
                    with contextlib.suppress(OSError):
                        nanoseconds += int((thread / "schedstat").read_text().split()[1])
    return nanoseconds / 1e9


@dataclass
class Figures:
    """What a schedule measured."""

    starts: int = 0
    mutes: int = 0
    closed_after: list[float] = field(default_factory=list)
    """Seconds from a mute's answer until no connection to the camera was left."""
    started_after: list[float] = field(default_factory=list)
    """Seconds until READY or an end with a reason."""
    ended_after: list[float] = field(default_factory=list)
    """Seconds from a signal until the end."""
    made: int = 0
    heard: int = 0
    owed: int = 0
    """Events that lay, or must have lain, on the disk after a daemon had ended."""
    frames: int = 0
    """That were used."""
    most_mb: float = 0.0
    most_descriptors: int = 0
    grown_mb: float = 0.0
    """Most growth of one daemon after it had settled."""
    grown_descriptors: int = 0

    def __add__(self, other: Figures) -> Figures:
        """Both together: counts and lists are added, of what is most the greater counts."""
        both = {
            name: max(mine, theirs) if name.startswith(("most", "grown")) else mine + theirs
            for (name, mine), theirs in zip(vars(self).items(), vars(other).values(), strict=True)
        }
        return Figures(**both)

    def __str__(self) -> str:
        slowest = f", closed after at most {max(self.closed_after):.2f} s" if self.closed_after else ""
        return (
            f"{self.starts} starts within {max(self.started_after, default=0):.1f} s, "
            f"ends within {max(self.ended_after, default=0):.1f} s; {self.mutes} mutes{slowest}; "
            f"{self.frames} frames used; "
            f"{self.made} events made, {self.heard} heard, {self.owed} on the disk between starts; "
            f"at most {self.most_mb:.0f} MB, {self.most_descriptors} descriptors, "
            f"grown by at most {self.grown_mb:.1f} MB, {self.grown_descriptors} descriptors"
        )


@dataclass
class Made:
    """An event as the daemon noted it."""

    boot: str
    track: int
    seq: int
    moment: float
    """Monotonic seconds."""


@dataclass(frozen=True)
class Arrival:
    """An event as a subscriber heard it."""

    name: str
    moment: float
    """Monotonic seconds."""


class Witness:
    """Knows what must be true now."""

    def __init__(self, notes: Path, camera_port: int) -> None:
        self.figures = Figures()
        self.muted_at: float | None = None
        """When a mute was answered, monotonic seconds."""
        self._notes = notes
        self._camera_port = camera_port
        self._read = 0
        self._made: dict[str, Made] = {}
        self._owed: set[str] = set()
        self._whole_boots: set[str] = set()
        self._closes: Deadline | None = None
        """While the camera may still be open after a mute."""
        self._settled: tuple[int, float, int] | None = None
        self._pings, self._next_ping = -1, Deadline(psutil.Process(), WATCHDOG_S)
        self._made_before = 0
        self._taken = self._committed = 0
        """Events made before the last look at `_commits`, and those that were committed by then."""
        self._commits = Deadline(psutil.Process(), COMMITTED_WITHIN)

    def muted(self, process: psutil.Process) -> None:
        """A mute was answered just now."""
        if self.muted_at is None:
            self.figures.mutes += 1
            self.muted_at = time.monotonic()
            self._closes = Deadline(process, CLOSED_WITHIN)

    @property
    def seen(self) -> int:
        """Events that were made so far."""
        return len(self._made)

    def unmuting(self) -> None:
        """From now on the camera may be open."""
        self.muted_at = None

    def look(self, process: psutil.Process, since_start: float, pings: int) -> None:
        """What must hold at any moment. `pings`: of the watchdog since the start."""
        self._read_notes()
        self._see_camera(process)
        if self._commits.is_over:
            self._committed = self._taken
            self._taken, self._commits = len(self._made), Deadline(process, COMMITTED_WITHIN)
        self._see_growth(process, since_start)
        if pings != self._pings:
            self._pings, self._next_ping = pings, Deadline(process, WATCHDOG_S)
        if self._next_ping.is_over:
            raise Broken(f"silent for {self._next_ping.since:.0f} s: the watchdog would have killed it")

    def started(self) -> None:
        """Another daemon, whose pings and events count anew."""
        self._pings = -1
        self._read_notes()
        self._made_before = self._committed = self._taken = len(self._made)

    def ended(self, state: Path, *, whole: bool, disk_was_well: bool) -> None:
        """A daemon has ended: what lies in its store is owed.

        `whole`: all that it made is owed. `disk_was_well`: all that it had the time to commit is owed.
        """
        self._closes = None  # whatever was open is closed by its end
        copy = state.with_name("copy")
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(state, copy, ignore=shutil.ignore_patterns("fill"))
        self._read_notes()
        with contextlib.closing(Store(StoreOptions(folder=copy), device_clock())) as store:
            self._owed |= {
                each.event.id for each in store.after(0, 1_000_000) if isinstance(each.event, Event)
            }
        if disk_was_well:
            self._owed |= set(list(self._made)[self._made_before : self._committed])
        self.figures.owed = len(self._owed)
        if whole:
            self._whole_boots |= {made.boot for made in list(self._made.values())[self._made_before :]}

    def owes(self, heard: list[str]) -> set[str]:
        """Events that must still arrive."""
        whole = {name for name, made in self._made.items() if made.boot in self._whole_boots}
        return (self._owed | whole) - set(heard)

    def judge(self, arrivals: list[Arrival], interruptions: list[float]) -> None:
        """At the end: nothing lost, nothing invented or doubled, everything in order.

        `interruptions`: when a connection to the broker began, and when the disk changed. After each, a
        daemon may say again what it does not know to have arrived.
        """
        heard = [each.name for each in arrivals]
        self.figures.made, self.figures.heard = len(self._made), len(set(heard))
        if missing := self.owes(heard):
            raise Broken(f"{len(missing)} accepted events never arrived: {sorted(missing)[:3]}")
        if invented := set(heard) - set(self._made):
            raise Broken(f"{len(invented)} events arrived that nobody made: {sorted(invented)[:3]}")
        self._judge_copies(arrivals, interruptions)
        last: dict[tuple[str, int], int] = {}
        for name in dict.fromkeys(heard):  # each at its first arrival
            made = self._made[name]
            if made.seq < last.get((made.boot, made.track), -1):
                raise Broken(f"event {made.seq} of track {made.track} arrived after a later one")
            last[made.boot, made.track] = made.seq

    def _judge_copies(self, arrivals: list[Arrival], interruptions: list[float]) -> None:
        """An event comes once, and at most once more after each interruption since it was made."""
        copies: dict[str, list[float]] = {}
        for each in arrivals:
            copies.setdefault(each.name, []).append(each.moment)
        for name, moments in copies.items():
            made = self._made[name].moment
            for count, moment in enumerate(moments, start=1):
                if count > 1 + sum(made < began < moment for began in interruptions):
                    raise Broken(f"event {name} arrived {count} times with nothing lost in between")

    def _read_notes(self) -> None:
        with self._notes.open() as notes:
            notes.seek(self._read)
            text = notes.read()
        whole = text[: text.rfind("\n") + 1]
        self._read += len(whole)
        for kind, moment, *words in map(str.split, whole.splitlines()):
            late = self.muted_at is not None and float(moment) > self.muted_at
            self.figures.frames += kind == "frame"
            if kind == "frame" and late:
                raise Broken("a frame was used while muted")
            if kind == "event":
                boot, track, seq, name, phase = words
                self._made[name] = Made(boot, int(track), int(seq), float(moment))
                if late and phase != "end":
                    raise Broken(f"an event of phase {phase} was made while muted")

    def _see_camera(self, process: psutil.Process) -> None:
        if self.muted_at is None:
            return
        since = time.monotonic() - self.muted_at
        is_over = self._closes is None or self._closes.is_over
        is_open = any(map(self.has_camera_open, (process, *process.children())))
        if not is_open and self._closes is not None:
            self._closes = None
            self.figures.closed_after.append(since)
        if is_open and is_over:
            raise Broken(f"the camera is open {since:.1f} s after a mute")

    def has_camera_open(self, process: psutil.Process) -> bool:
        """Whether it is connected to the camera."""
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            ends = process.net_connections("tcp")
            return any(each.raddr and each.raddr.port == self._camera_port for each in ends)
        return False

    def _see_growth(self, process: psutil.Process, since_start: float) -> None:
        megabytes, descriptors = process.memory_info().rss / 2**20, process.num_fds()
        self.figures.most_mb = max(self.figures.most_mb, megabytes)
        self.figures.most_descriptors = max(self.figures.most_descriptors, descriptors)
        if since_start < SETTLED_AFTER:
            return
        if self._settled is None or self._settled[0] != process.pid:
            self._settled = (process.pid, megabytes, descriptors)
        _, first_mb, first_descriptors = self._settled
        self.figures.grown_mb = max(self.figures.grown_mb, megabytes - first_mb)
        self.figures.grown_descriptors = max(self.figures.grown_descriptors, descriptors - first_descriptors)
        if megabytes - first_mb > MORE_MB or descriptors - first_descriptors > MORE_DESCRIPTORS:
            raise Broken(
                f"grew from {first_mb:.0f} MB, {first_descriptors} descriptors "
                f"to {megabytes:.0f} MB, {descriptors} descriptors"
            )

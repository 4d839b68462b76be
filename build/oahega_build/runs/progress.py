"""How far a stage is: a bar in a terminal, elsewhere a line every half minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from oahega_build.runs.output import say, screen, seconds_since_said

EVERY = 30.0
"""Seconds between two lines where there is no terminal."""
SILENCE = 40.0
"""Seconds without a line after which a step says that it is running; above EVERY, so progress comes first."""

Item = TypeVar("Item")


class Shown(Protocol):
    """What a stage tells of its way."""

    def advance(self, count: int = 1) -> None:
        """Count further steps as done."""

    def note(self, sentence: str) -> None:
        """The latest figures; the last ones stay on the screen as the result."""


@contextmanager
def progress(what: str, total: int | None, done: int = 0) -> Iterator[Shown]:
    """Shows how many of `total` (None: unknown) are done; an earlier call did `done` of them."""
    shown = _Bar(what, total, done) if screen().isatty() else Lines(what, total, done)
    try:
        yield shown
    finally:
        shown.close()


def track(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """The items, shown as they are taken."""
    with progress(what, total) as shown:
        for item in items:
            yield item
            shown.advance()


@contextmanager
def heartbeat(what: str, silence: float = SILENCE) -> Iterator[None]:
    """Without a terminal: a line whenever a step has said nothing for a while."""
    if screen().isatty():
        yield
        return
    done, begun = threading.Event(), time.monotonic()

    def beat() -> None:
        while not done.wait(max(0.1, silence - seconds_since_said())):
            if seconds_since_said() >= silence:
                say(f"  {what}: running for {duration(time.monotonic() - begun)}")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Lines:
    """A line now and then."""

    def __init__(
        self, what: str, total: int | None, done: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._what = what
        self._total = total
        self._before = self._done = done
        self._clock = clock
        self._begun = self._said = clock()
        self._note = ""

    def advance(self, count: int = 1) -> None:
        """Count further steps as done."""
        self._done += count
        if self._clock() - self._said >= EVERY:
            self._said = self._clock()
            say(f"  {self._what}: {self._way()}{self._noted()}")

    def note(self, sentence: str) -> None:
        """The latest figures."""
        self._note = sentence

    def close(self) -> None:
        """The last figures are the result."""
        if self._note:
            say(f"  {self._note}")

    def _way(self) -> str:
        here = self._done - self._before
        if not self._total or not here:
            return f"{self._done} done"
        left = (self._said - self._begun) / here * (self._total - self._done)
        return f"{self._done / self._total:.0%}, about {duration(left)} left"

    def _noted(self) -> str:
        return f"; {self._note}" if self._note else ""


class _Bar:
    """A bar that goes when the stage is done."""

    def __init__(self, what: str, total: int | None, done: int) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
        self._progress = Progress(
            *columns,
            console=Console(file=screen()),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._what = what
        self._note = ""
        self._progress.start()
        self._task = self._progress.add_task(f"  {what}", total=total, completed=done)

    def advance(self, count: int = 1) -> None:
        """Count further steps as done."""
        self._progress.advance(self._task, count)

    def note(self, sentence: str) -> None:
        """The latest figures."""
        self._note = sentence
        self._progress.update(self._task, description=f"  {sentence}")

    def close(self) -> None:
        """The last figures are the result."""
        self._progress.stop()
        if self._note:
            say(f"  {self._note}")


def duration(seconds: float) -> str:
    """For people, roughly."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

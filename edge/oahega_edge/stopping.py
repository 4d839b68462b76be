"""The end of a process that a signal asks for."""

from __future__ import annotations

import contextlib
import queue
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop(threading.Event):
    """An event that a handler of signals may set at any moment; once set, it stays so.

    A handler runs in the middle of what its thread does. The lock of a plain event is not reentrant: while
    the thread waits for the event, or while another signal sets it, a handler would wait for itself.
    `SimpleQueue.put` may be called anywhere.
    """

    def __init__(self, at_once: bool = False) -> None:
        """`at_once`: the signal also breaks off what runs; a start may wait long for an accelerator."""
        super().__init__()
        self._at_once = at_once
        self._asked = False
        self._wakings: queue.SimpleQueue[None] = queue.SimpleQueue()

    def is_set(self) -> bool:
        """Whether the end was asked for."""
        return self._asked

    def set(self) -> None:
        """Ask for the end; whoever waits goes on."""
        self._asked = True
        self._wakings.put(None)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for at most so many seconds; whether the end was asked for."""
        if not self._asked:
            with contextlib.suppress(queue.Empty):
                self._wakings.get(timeout=timeout)
                self._wakings.put(None)  # another one may wait as well
        return self._asked

    def break_nothing_off(self) -> None:
        """From now on a signal breaks nothing off: a loop looks at this and ends."""
        self._at_once = False

    def ask(self, number: int, frame: FrameType | None) -> None:
        """A handler of signals. A second one breaks nothing off: it would do so in the clean-up."""
        self.set()
        at_once, self._at_once = self._at_once, False
        if at_once:
            raise SystemExit(0)


@contextmanager
def stopped_by_signals(at_once: bool = False) -> Iterator[Stop]:
    """What SIGTERM and SIGINT set. Afterwards they are ignored, because the process ends anyway.

    A signal with a handler gets its default action back as Python ends, and a second one would kill it.
    """
    stop = Stop(at_once)
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop.ask)
        yield stop
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)

"""A loop beside a test, as the daemon's runs beside those who ask it something."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

from waiting import await_end, beside


@contextlib.contextmanager
def looping(turn: Callable[[], object]) -> Iterator[None]:
    """`turn` again and again in a thread of its own, until the context ends."""
    end = threading.Event()

    def loop() -> None:
        while not end.wait(0.002):
            turn()

    thread = beside(loop)
    try:
        yield
    finally:
        end.set()
        await_end(thread)

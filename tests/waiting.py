"""Waiting in tests: for a condition, never for a time.

The deadline says only that something hangs; it holds on a machine far slower than this one.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

PATIENCE = 120.0
"""Seconds after which a wait has failed."""


def wait_until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"what was waited for did not happen within {seconds:g} s")
        time.sleep(0.01)
    return value


def patiently(seconds: float = PATIENCE) -> Iterator[None]:
    """The turns of a loop that tries again at once, for as long as one waits for anything."""
    deadline = time.monotonic() + seconds
    while time.monotonic() <= deadline:
        yield
    raise AssertionError(f"what was tried again and again did not succeed within {seconds:g} s")


def beside(deed: Callable[[], object]) -> threading.Thread:
    """Do it in a thread that has begun; one that hangs cannot keep the process from ending."""
    thread = threading.Thread(target=deed, daemon=True)
    thread.start()
    return thread


def await_end(*threads: threading.Thread) -> None:
    """Until they have ended; one that hangs fails the test."""
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"the thread {thread.name} hangs"

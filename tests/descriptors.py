"""What this process holds open, so that a test can tell a leak from what others close; and none left."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager

Descriptors = set[tuple[str, str]]


def descriptors() -> Descriptors:
    """Every descriptor with what it points at."""
    found = set()
    for number in os.listdir("/proc/self/fd"):
        try:
            found.add((number, os.readlink(f"/proc/self/fd/{number}")))
        except FileNotFoundError:  # the listing's own one
            continue
    return found


@contextmanager
def descriptors_free(count: int) -> Iterator[None]:
    """As on a device whose other parts hold all that a process may have but this many."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + count, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)

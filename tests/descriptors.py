"""What this process holds open, so that a test can tell a leak from what others close meanwhile."""

from __future__ import annotations

import os

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

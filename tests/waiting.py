"""Waiting in tests: for a condition, never for a time.

The deadline says only that something hangs; it holds on a machine far slower than this one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
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

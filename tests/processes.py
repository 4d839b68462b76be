"""Python processes that tests start."""

from __future__ import annotations

import os
import sys


def environment(**more: str) -> dict[str, str]:
    """For a process that imports what the test that starts it can import."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **more}

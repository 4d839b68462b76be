"""Days in front of a device, as its page keeps them."""

from __future__ import annotations

import json
import tracemalloc

from oahega_edge.page.history import MINUTES, History

NOON = 1_800_000_000 // 60 * 60
EMOTIONS = ("angry", "happy", "neutral", "sad", "surprise", "ahegao", "uncertain", "none")
EACH_S = 7
"""Between two changes; every minute has all of EMOTIONS."""


def full_day(days: int = 1) -> tuple[int, int]:
    """Bytes that days without a quiet minute take, and bytes of the chart that a browser gets."""
    tracemalloc.start()
    history = History()
    for second in range(0, days * MINUTES * 60, EACH_S):
        history.state(EMOTIONS[second // EACH_S % len(EMOTIONS)], 50, float(NOON + second))
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return memory, len(json.dumps(history.shown(float(NOON + days * MINUTES * 60))))

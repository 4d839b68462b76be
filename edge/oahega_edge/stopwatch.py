"""How long each stage of a step takes, kept for the last few hundred steps."""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np

KEPT = 512
"""Measurements per stage; at 15 fps about half a minute."""


class Stopwatch:
    """Measures named stages with the clock that it is given (seconds). Any thread may read them meanwhile."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter, kept: int = KEPT) -> None:
        self._clock = clock
        self.clear(kept)

    def clear(self, kept: int = KEPT) -> None:
        """Forget all measurements; from now on keep this many per stage."""
        self._times: dict[str, deque[float]] = defaultdict(lambda: deque(maxlen=kept))

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Measure the block under this name."""
        started = self._clock()
        yield
        self._times[name].append(self._clock() - started)

    @property
    def stages(self) -> tuple[str, ...]:
        """Names in the order of their first use."""
        return tuple(self._times)

    def milliseconds(self, name: str) -> list[float]:
        """The kept measurements of one stage, oldest first."""
        kept = list(self._times.get(name, ()))  # in one step: another thread may measure meanwhile
        return [seconds * 1000 for seconds in kept]

    def percentile(self, name: str, percent: float) -> float:
        """Milliseconds; 0 before the first measurement."""
        times = self.milliseconds(name)
        return float(np.percentile(times, percent)) if times else 0.0

"""Averaging of one face's probabilities over its last N frames (paper, section 4)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Mean = Literal["arithmetic", "geometric"]
"""arithmetic is the paper's; geometric averages log-probabilities, so that a sure frame weighs more."""

_LEAST = 1e-6
"""Keeps one frame from vetoing a label for the whole window of a geometric mean."""


@dataclass(frozen=True, slots=True)
class Average:
    """What the window says at one moment."""

    scores: NDArray[np.float64]
    """Probability per label; sums to 1."""
    frames: int
    """Frames in the window; fewer than N while the face is new or was hidden."""
    window: float
    """Seconds from the oldest frame to the newest."""


class Window:
    """The last `frames` score vectors of one face that are not older than `max_age` seconds."""

    def __init__(self, *, frames: int, max_age: float, mean: Mean) -> None:
        self._frames = frames
        self._max_age = max_age
        self._mean = mean
        self._entries: deque[tuple[float, NDArray[np.float64], float]] = deque()

    def resize(self, frames: int) -> None:
        """Change N while running; a shorter window keeps the newest."""
        self._frames = frames

    def add(self, scores: NDArray[np.float64], now: float, weight: float = 1.0) -> Average:
        """Take in one frame's probabilities (labels,) and average."""
        self._entries.append((now, scores, weight))
        while len(self._entries) > self._frames or now - self._entries[0][0] > self._max_age:
            self._entries.popleft()
        return self._average()

    def _average(self) -> Average:
        stacked = np.stack([scores for _, scores, _ in self._entries])
        weights = np.array([weight for _, _, weight in self._entries])
        weights = weights / weights.sum()
        if self._mean == "geometric":
            powers = np.exp(weights @ np.log(np.maximum(stacked, _LEAST)))
            mean = powers / powers.sum()
        else:
            mean = weights @ stacked
        return Average(mean, len(self._entries), self._entries[-1][0] - self._entries[0][0])

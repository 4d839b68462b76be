"""Smooths the scores of one face over its last frames: the paper's average, or a belief.

The paper (section 4) averages the probabilities of the last N frames. A mean weighs old and new alike, so it
is either unsteady or late. The belief is the forward filter of a hidden Markov model with one state per
emotion (Rabiner 1989, section III.A): the belief fades slowly, because expressions last; each frame
multiplies its probabilities in, to the power 1/N, because neighbouring frames repeat each other. N frames
thus count as much as their geometric mean, and a sure frame counts more than an unsure one. The class prior
of the training set (more people smile than scowl in it) is divided out of every frame, because it would
otherwise be counted again with each (scaled likelihoods: Bourlard and Morgan 1994, chapter 7).

What is told is how often such a belief is right. N frames repeat each other, but not wholly, so they are
worth a little more than one look; the frames of a new face, fewer than N so far, are worth as much already.
And some faces are misread however long they are seen, because all their frames share one pose and one light:
a lapse (the ceiling of a psychometric function: Wichmann and Hill 2001).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

Mean = Literal["belief", "arithmetic", "geometric"]
"""arithmetic is the paper's; geometric averages log-probabilities, so that a sure frame weighs more."""

_LEAST = 1e-6
"""Keeps one frame from vetoing a label for the whole window of a geometric mean."""

_LEAST_EVIDENCE = 1e-3
"""No frame is surer than this: beyond it, the network's probabilities are not calibrated."""


@dataclass(frozen=True, slots=True)
class Average:
    """The smoothed scores at one moment."""

    scores: NDArray[np.float64]
    """Probability per label; sums to 1."""
    frames: int
    """Frames in the window; fewer than N while the face is new or was hidden."""
    window: float
    """Seconds from the oldest frame to the newest."""


class Smoothing(Protocol):
    """One face's memory."""

    def resize(self, frames: int) -> None:
        """Change N while running."""
        ...

    def add(
        self, scores: NDArray[np.float64], now: float, weight: float = 1.0, *, in_sight: bool = False
    ) -> Average:
        """Take in one frame's probabilities (labels,); the smoothed ones.

        `in_sight`: the face was read in the frame before as well, so the time between is the camera's pace.
        """
        ...


class Window:
    """The last `frames` score vectors of one face that are not older than `max_age` seconds.

    Frames in sight all stay, however slow the camera is: the time between two of them counts as an even share
    of `max_age` at most.
    """

    def __init__(
        self, *, frames: int, max_age: float, mean: Literal["arithmetic", "geometric"] = "arithmetic"
    ) -> None:
        self._frames = frames
        self._max_age = max_age
        self._mean = mean
        self._entries: deque[tuple[float, NDArray[np.float64], float]] = deque()
        self._ages: deque[float] = deque()
        """Seconds that count between each frame and the next one."""

    def resize(self, frames: int) -> None:
        """Change N while running; a shorter window keeps the newest."""
        self._frames = frames

    def add(
        self, scores: NDArray[np.float64], now: float, weight: float = 1.0, *, in_sight: bool = False
    ) -> Average:
        """Take in one frame's probabilities (labels,) and average."""
        gap = now - self._entries[-1][0] if self._entries else 0.0
        self._ages.append(min(gap, self._max_age / self._frames) if in_sight else gap)
        self._entries.append((now, scores, weight))
        while len(self._entries) > self._frames or self._age() > self._max_age:
            self._entries.popleft()
            self._ages.popleft()
        return self._average()

    def _age(self) -> float:
        """Of the oldest frame; the gap before it does not count."""
        return sum(self._ages) - self._ages[0]

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


class Belief:
    """Probability of each emotion, given all frames of one face so far."""

    def __init__(
        self,
        *,
        frames: int,
        max_age: float,
        lasting: float,
        prior: Sequence[float] | None = None,
        lapse: float = 0.0,
    ) -> None:
        """`frames`: N, neighbouring frames that together count as one look; `max_age`: seconds unseen after
        which the belief is reset; `lasting`: seconds that an expression lasts on average; `prior`:
        class prior of the training set; None: uniform; `lapse`: share of faces about which all frames tell
        nothing.
        """
        self._log_prior = 0.0 if prior is None else np.log(np.maximum(prior, _LEAST_EVIDENCE))
        self._frames = frames
        self._max_age = max_age
        self._lasting = lasting
        self._lapse = lapse
        self._belief: NDArray[np.float64] | None = None
        self._look = 0.0
        """Share of a look that the frames so far make up, at most 1."""
        self._times: deque[float] = deque(maxlen=frames)

    def resize(self, frames: int) -> None:
        """Change N while running; the belief stays."""
        self._frames = frames
        self._times = deque(self._times, maxlen=frames)

    def add(
        self, scores: NDArray[np.float64], now: float, weight: float = 1.0, *, in_sight: bool = False
    ) -> Average:
        """Take in one frame's probabilities (labels,)."""
        before = self._faded(len(scores), now, in_sight)
        said = np.log(np.maximum(scores, _LEAST_EVIDENCE)) - self._log_prior
        evidence = said * (weight / self._frames)
        self._look = min(1.0, self._look + weight / self._frames)
        powers = before * np.exp(evidence - evidence.max())
        self._belief = powers / powers.sum()
        self._times.append(now)
        return Average(self._told(self._belief), len(self._times), now - self._times[0])

    def _told(self, belief: NDArray[np.float64]) -> NDArray[np.float64]:
        """How often a face with this belief shows each expression."""
        powers = np.ones_like(belief) if self._look == 0 else belief ** (1 / self._look)
        return np.asarray((1 - self._lapse) * powers / powers.sum() + self._lapse / len(belief), np.float64)

    def _faded(self, labels: int, now: float, in_sight: bool) -> NDArray[np.float64]:
        """The previous belief, faded: the expression may have changed to any other since."""
        if self._belief is None or (now - self._times[-1] > self._max_age and not in_sight):
            self._times.clear()
            self._look = 0.0
            return np.full(labels, 1 / labels)
        stayed = math.exp(-(now - self._times[-1]) / self._lasting)
        changed = (1 - self._belief) / (labels - 1)
        return np.asarray(stayed * self._belief + (1 - stayed) * changed, np.float64)


class Tilted:
    """Another memory whose scores favour some labels: `log_odds` (labels,) are added to those of each score.

    After smoothing, so that one frame and a hundred are tilted alike.
    """

    def __init__(self, memory: Smoothing, log_odds: Sequence[float]) -> None:
        self._memory = memory
        self._log_odds = log_odds

    def resize(self, frames: int) -> None:
        """Change N while running."""
        self._memory.resize(frames)

    def add(
        self, scores: NDArray[np.float64], now: float, weight: float = 1.0, *, in_sight: bool = False
    ) -> Average:
        """Take in one frame's probabilities (labels,)."""
        average = self._memory.add(scores, now, weight, in_sight=in_sight)
        return replace(average, scores=tilted(average.scores, self._log_odds))


def tilted(scores: NDArray[np.float64], log_odds: Sequence[float]) -> NDArray[np.float64]:
    """Probabilities (labels,) after adding to their logarithms."""
    powers = scores * np.exp(np.asarray(log_odds))
    return np.asarray(powers / powers.sum(), np.float64)


def new_smoothing(
    mean: Mean, *, frames: int, max_age: float, lasting: float, prior: Sequence[float] | None, lapse: float
) -> Smoothing:
    """The memory of a new face; `lasting`, `prior` and `lapse` matter for the belief only."""
    if mean == "belief":
        return Belief(frames=frames, max_age=max_age, lasting=lasting, prior=prior, lapse=lapse)
    return Window(frames=frames, max_age=max_age, mean=mean)

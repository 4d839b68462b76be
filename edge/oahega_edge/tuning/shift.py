"""A shift of the answers, fitted on labelled faces of one place: one factor, and one offset per expression.

It can say that a place's *sad* is said too rarely, or everything too surely. It cannot teach an expression.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LEAST_FACES = 25
STIFFNESS = 8.0
"""How strongly the shift is held to none. Chosen with draws of 25 and 50 faces of the part `choose` of
other_cameras, tested on its other faces (docs/decisions/0067-tune-more-carefully.md)."""
MOST_OFFSET, SCALES = 4.0, (0.2, 5.0)
STEPS, SPLITS, RESAMPLES = 50, 20, 2000

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Shift:
    """Probabilities become softmax(scale * log(probabilities) + offsets)."""

    scale: float
    offsets: tuple[float, ...]

    def apply(self, logits: Floats) -> Floats:
        """Logits (faces, expressions), or logarithms of probabilities, after the shift."""
        return np.asarray(self.scale * logits + np.asarray(self.offsets))


@dataclass(frozen=True, slots=True)
class Proof:
    """What the shift brings on faces that it was not fitted on."""

    faces: int
    before: float
    """Balanced accuracy without the shift."""
    after: float
    interval: tuple[float, float]
    """95 % of the gain in balanced accuracy, by resampling faces."""
    loss_before: float
    """Mean logarithmic loss, every expression counting the same."""
    loss_after: float

    @property
    def gain(self) -> float:
        """In balanced accuracy."""
        return self.after - self.before

    @property
    def holds(self) -> bool:
        """Answers on faces that were held back are righter, or surer where they are right, than before."""
        return self.gain > 0 or self.loss_after < self.loss_before


def fit_shift(logits: Floats, truth: Classes, stiffness: float = STIFFNESS) -> Shift:
    """The best shift for logits (faces, expressions) of faces that show `truth` (faces,).

    Every expression counts the same, however many faces show it. Newton's method on a convex loss.
    """
    count = logits.shape[1]
    weight = _weights(truth, count) * len(truth)
    wanted = np.eye(count)[truth]
    features = np.concatenate(
        [logits[:, :, None], np.broadcast_to(np.eye(count), (len(truth), count, count))], 2
    )
    none = np.r_[1.0, np.zeros(count)]
    at = none
    for _ in range(STEPS):
        shares = _softmax(features @ at)
        slope = np.einsum("n,nk,nkp->p", weight, shares - wanted, features) + stiffness * (at - none)
        mean = np.einsum("nk,nkp->np", shares, features)
        curvature = np.einsum("n,nk,nkp,nkq->pq", weight, shares, features, features)
        curvature -= np.einsum("n,np,nq->pq", weight, mean, mean)
        step = np.linalg.solve(curvature + stiffness * np.eye(count + 1), slope)
        at = at - step
        if np.abs(step).max() < 1e-9:
            break
    offsets = np.clip(at[1:], -MOST_OFFSET, MOST_OFFSET)
    return Shift(float(np.clip(at[0], *SCALES)), tuple(round(float(offset), 6) for offset in offsets))


def prove(logits: Floats, truth: Classes, seed: int = 0) -> Proof:
    """Fit on one half of the faces, look at the other, and so for many splits."""
    rng = np.random.default_rng(seed)
    count = logits.shape[1]
    right = (logits.argmax(1) == truth).astype(float)
    shifted_right, loss = np.zeros(len(truth)), np.zeros(len(truth))
    for _ in range(SPLITS):
        half = _halves(truth, rng)
        for side in (0, 1):
            told = fit_shift(logits[half != side], truth[half != side]).apply(logits[half == side])
            shifted_right[half == side] += told.argmax(1) == truth[half == side]
            loss[half == side] += _loss(told, truth[half == side])
    shifted_right /= SPLITS
    loss /= SPLITS
    draws = [rng.integers(0, len(truth), len(truth)) for _ in range(RESAMPLES)]
    gains = [_balanced(shifted_right[d] - right[d], truth[d], count) for d in draws]
    low, high = np.quantile(gains, (0.025, 0.975))
    return Proof(
        len(truth),
        _balanced(right, truth, count),
        _balanced(shifted_right, truth, count),
        (float(low), float(high)),
        _balanced(_loss(logits, truth), truth, count),
        _balanced(loss, truth, count),
    )


def _halves(truth: Classes, rng: np.random.Generator) -> NDArray[np.int64]:
    """0 or 1 for each face, half of each expression's faces each."""
    half = np.zeros(len(truth), np.int64)
    for label in np.unique(truth):
        mine = rng.permutation(np.flatnonzero(truth == label))
        half[mine[rng.integers(2) :: 2]] = 1
    return half


def _weights(truth: Classes, count: int) -> Floats:
    """Per face, so that every expression that is there weighs the same; they sum to 1."""
    faces = np.bincount(truth, minlength=count)
    weights = 1 / faces[truth]
    return np.asarray(weights / weights.sum(), np.float64)


def _balanced(values: Floats, truth: Classes, count: int) -> float:
    return float(_weights(truth, count) @ values)


def _loss(logits: Floats, truth: Classes) -> Floats:
    shares = _softmax(logits)
    return np.asarray(-np.log(np.maximum(shares[np.arange(len(truth)), truth], 1e-12)))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))

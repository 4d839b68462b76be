"""One face as one observation: what was measured when it was nearest, and where that lies on fixed scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 32
SCALES = {
    "confidence": (-2.0, 8.0),
    "entropy": (0.0, 1.0),
    "height": (4.0, 10.0),
    "brightness": (0.0, 256.0),
    "sharpness": (-5.0, 1.0),
    "score": (0.0, 1.0),
    "wait": (-6.0, 4.0),
}
"""Lowest and highest value of each quantity: log-odds of the likeliest expression; entropy as a share of the
greatest one; log2 of the height in pixels; mean of the pixels; log2 of the sharpness; the detector's score;
log2 of the seconds from the first detection to the first reading."""
QUANTITIES = tuple(SCALES)
_LOW, _HIGH = (np.array(ends) for ends in zip(*SCALES.values(), strict=True))
_LEAST = 1e-6


@dataclass(frozen=True, slots=True)
class Look:
    """A face at its nearest. Nothing tells whose it is."""

    scores: NDArray[np.float64]
    """Probability of each expression in this one frame."""
    height: float
    """Pixels of the frame."""
    brightness: float
    """Mean of the classifier's picture, 0 to 255."""
    sharpness: float
    """Of the classifier's picture, see `sharpness_of`."""
    score: float
    """The detector's."""
    wait: float
    """Seconds from the first detection to the first reading."""
    beside: NDArray[np.float64] | None = None
    """Probability of each expression by a bundle in the shadow of the one in use."""


def brightness_of(picture: NDArray[np.uint8]) -> float:
    """Mean of a picture (height, width[, 3])."""
    return float(picture.mean())


def sharpness_of(picture: NDArray[np.uint8]) -> float:
    """Mean difference of neighbouring pixels in units of the picture's contrast, so light does not count."""
    values = picture.astype(np.float32)
    step = np.abs(np.diff(values, axis=0)).mean() + np.abs(np.diff(values, axis=1)).mean()
    return float(step / (values.std() + 1.0))


def bins_of(looks: Sequence[Look]) -> NDArray[np.int64]:
    """Bin of each quantity (looks, quantities)."""
    return binned(
        np.array([look.scores for look in looks]),
        np.array([(look.height, look.brightness, look.sharpness, look.score, look.wait) for look in looks]),
    )


def binned(scores: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bins (faces, quantities) of probabilities (faces, labels) and the other fields of `Look` (faces, 5)."""
    chances = np.clip(scores, _LEAST, 1 - _LEAST)
    best = chances.max(axis=1)
    entropy = -(chances * np.log(chances)).sum(axis=1) / np.log(scores.shape[1])
    height, brightness, sharpness, score, wait = measured.T
    values = np.stack(
        [
            np.log(best / (1 - best)),
            entropy,
            np.log2(np.maximum(height, 1.0)),
            brightness,
            np.log2(np.maximum(sharpness, _LEAST)),
            score,
            np.log2(np.maximum(wait, _LEAST)),
        ],
        axis=1,
    )
    places = np.floor((values - _LOW) / (_HIGH - _LOW) * BINS)
    return np.asarray(np.clip(np.nan_to_num(places), 0, BINS - 1), np.int64)

"""One face as one observation: what was measured when it was nearest, and where that lies on fixed scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
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
_BINS_A_UNIT = BINS / (_HIGH - _LOW)
_LEAST = 1e-6
_LOGARITHMIC = slice(QUANTITIES.index("height"), None, 2)
"""Height, sharpness and wait."""
_SMALLEST = np.array([1.0, _LEAST, _LEAST])


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
    channels = picture.shape[2] if picture.ndim == 3 else 1
    return float(np.sum(cv2.mean(picture))) / channels  # of four values, those of absent channels 0


def sharpness_of(picture: NDArray[np.uint8]) -> float:
    """Mean difference of neighbouring pixels in units of the picture's contrast, so light does not count."""
    step = _mean_difference(picture[1:], picture[:-1]) + _mean_difference(picture[:, 1:], picture[:, :-1])
    _, deviation = cv2.meanStdDev(picture.reshape(len(picture), -1))
    return step / (float(deviation[0, 0]) + 1.0)


def _mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    return float(cv2.norm(one, other, cv2.NORM_L1)) / one.size


def bins_of(looks: Sequence[Look]) -> NDArray[np.int64]:
    """Bin of each quantity (looks, quantities)."""
    return binned(
        np.array([look.scores for look in looks]),
        np.array([(look.height, look.brightness, look.sharpness, look.score, look.wait) for look in looks]),
    )


def binned(scores: NDArray[np.float64], measured: NDArray[np.float64]) -> NDArray[np.int64]:
    """Bins (faces, quantities) of probabilities (faces, labels) and the other fields of `Look` (faces, 5)."""
    chances = np.minimum(np.maximum(scores, _LEAST), 1 - _LEAST)
    best = chances.max(axis=1)
    values = np.empty((len(scores), len(QUANTITIES)))
    values[:, 0] = np.log(best / (1 - best))
    values[:, 1] = (chances * np.log(chances)).sum(axis=1) / -math.log(scores.shape[1])
    values[:, 2:] = measured
    wide = values[:, _LOGARITHMIC]
    np.log2(np.maximum(wide, _SMALLEST, out=wide), out=wide)
    places = np.floor((values - _LOW) * _BINS_A_UNIT)
    return np.asarray(np.fmin(np.fmax(places, 0), BINS - 1), np.int64)  # no number lies in the first bin

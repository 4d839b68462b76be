"""One face as one observation: what was measured when it was nearest, and where that lies on fixed scales."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from operator import attrgetter

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
LEAST = 1e-6
"""Of a probability, of sharpness and of seconds, before their logarithm is taken; of a height, one pixel."""
_LOW, _HIGH = (np.array(ends) for ends in zip(*SCALES.values(), strict=True))
_BINS_A_UNIT = BINS / (_HIGH - _LOW)
_LOGARITHMIC = [QUANTITIES.index(name) for name in ("height", "sharpness", "wait")]
_LEASTS = np.array([1.0, LEAST, LEAST])
_MEASURED = attrgetter("height", "brightness", "sharpness", "score", "wait")
_APART = np.minimum(np.arange(256), 256 - np.arange(256)).astype(np.uint8)
"""How far two bytes lie apart, by their difference modulo 256; too little where that is more than 128."""

Bins = NDArray[np.int64]


Light = tuple[float, float, float, bool]
"""What a face looks like in one frame: its height in pixels of the frame, brightness and sharpness of the
classifier's picture (see `Look`), and whether the face is smaller than that picture, which is then less sharp
than that of a nearer face. A plain tuple: to make a named one takes 3 us where code is cold.
"""

Measured = tuple[NDArray[np.float64], Light]
"""Probabilities (labels,) of a face, and its light."""


@dataclass(slots=True)
class Look:
    """A face at its nearest. Nothing tells whose it is."""

    scores: NDArray[np.float64]
    """Probability of each expression in this one frame."""
    height: float
    """Pixels of the frame."""
    brightness: float
    """Mean of the classifier's picture, 0 to 255."""
    sharpness: float
    """Of the classifier's picture, see `light_of`."""
    score: float
    """The detector's."""
    wait: float
    """Seconds from the first detection to the first reading."""
    beside: NDArray[np.float64] | None = None
    """Probability of each expression by a bundle in the shadow of the one in use."""


def light_of(picture: NDArray[np.uint8]) -> tuple[float, float]:
    """Brightness and sharpness of a picture (height, width[, 3]).

    Brightness is the mean of all values. Sharpness is the mean difference of neighbouring pixels in units of
    the picture's contrast, so that light does not count.

    Between two faces the caches forget nearly all of both libraries, so what counts is how many of their
    functions are called, not how often, and not the arithmetic. A table is read anyway to quantize.
    """
    rows = picture.reshape(len(picture), -1)
    channels = rows.shape[1] // picture.shape[1]
    mean, deviation = cv2.meanStdDev(rows)
    down, _ = cv2.meanStdDev(cv2.LUT(rows[1:] - rows[:-1], _APART))
    across, _ = cv2.meanStdDev(cv2.LUT(rows[:, channels:] - rows[:, :-channels], _APART))
    return mean.item(), (down.item() + across.item()) / (deviation.item() + 1.0)


def bins_of(looks: Sequence[Look]) -> Bins:
    """Bin of each quantity (faces, quantities)."""
    return binned(*values_of(looks))


def values_of(looks: Sequence[Look]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Probabilities (faces, labels) and the next five fields (faces, 5)."""
    return np.array([look.scores for look in looks]), np.array([*map(_MEASURED, looks)])


def binned(scores: NDArray[np.float64], measured: NDArray[np.float64]) -> Bins:
    """The same (faces, quantities) of probabilities (faces, labels) and of the next five fields of a `Look`
    (faces, 5).
    """
    chances = np.clip(scores, LEAST, 1 - LEAST)
    best = chances.max(axis=1)
    values = np.empty((len(scores), len(QUANTITIES)))
    values[:, 0] = np.log(best / (1 - best))
    values[:, 1] = (chances * np.log(chances)).sum(axis=1) / -math.log(scores.shape[1])
    values[:, 2:] = measured
    values[:, _LOGARITHMIC] = np.log2(np.maximum(values[:, _LOGARITHMIC], _LEASTS))
    places = (values - _LOW) * _BINS_A_UNIT
    return np.asarray(
        np.fmin(np.fmax(places, 0), BINS - 1), np.int64
    )  # what is no number lies in the first bin

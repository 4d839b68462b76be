"""One face as one observation: what was measured when it was nearest, and where that lies on fixed scales."""

from __future__ import annotations

import math
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
LEAST = 1e-6
"""Of a probability, of sharpness and of seconds, before their logarithm is taken; of a height, one pixel."""
_SCALES = tuple((low, high, BINS / (high - low)) for low, high in SCALES.values())


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
    """
    rows = picture.reshape(len(picture), -1)
    channels = rows.shape[1] // picture.shape[1]
    mean, deviation = cv2.meanStdDev(rows)
    step = _mean_difference(rows[1:], rows[:-1])
    step += _mean_difference(rows[:, channels:], rows[:, :-channels])
    return float(mean[0, 0]), step / (float(deviation[0, 0]) + 1.0)


def _mean_difference(one: NDArray[np.uint8], other: NDArray[np.uint8]) -> float:
    """cv2.norm and cv2.absdiff take longer: each call has a fixed cost of 8 us on some virtual machines."""
    difference = np.maximum(one, other) - np.minimum(one, other)
    return float(cv2.mean(difference)[0])  # type: ignore[index]


def bins_of(look: Look) -> tuple[int, ...]:
    """Bin of each quantity. Faces come one at a time; arrays of seven values would take far longer."""
    chances = [min(max(chance, LEAST), 1 - LEAST) for chance in look.scores.tolist()]
    best = max(chances)
    values = (
        math.log(best / (1 - best)),
        -sum([chance * math.log(chance) for chance in chances]) / math.log(len(chances)),
        math.log2(max(look.height, 1.0)),
        look.brightness,
        math.log2(max(look.sharpness, LEAST)),
        look.score,
        math.log2(max(look.wait, LEAST)),
    )
    return tuple(
        [
            (int((value - low) * bins_a_unit) if value < high else BINS - 1) if value > low else 0
            for value, (low, high, bins_a_unit) in zip(values, _SCALES, strict=True)
        ]
    )  # what is no number lies in the first bin

"""Logits to calibrated probabilities. Shared with the trainer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.detection import dequantize
from oahega_edge.manifest import EmotionEntry, output_of


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[np.float64]:
    """Probabilities along the last axis of logits divided by `temperature`."""
    scaled = np.asarray(logits, np.float64) / temperature
    powers = np.exp(scaled - scaled.max(axis=-1, keepdims=True))
    result: NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return result


def calibrated(logits: NDArray[np.floating], entry: EmotionEntry) -> NDArray[np.float64]:
    """Probabilities (..., labels) of real logits at the entry's operating point: temperature and offsets."""
    scaled = np.asarray(logits, np.float64) / entry.temperature
    return softmax(scaled if entry.offsets is None else scaled + np.asarray(entry.offsets))


def probabilities(stored: NDArray[Any], entry: EmotionEntry) -> NDArray[np.float64]:
    """The `logits` output (1, labels) as stored -> calibrated probabilities (labels,) that sum to 1."""
    return calibrated(dequantize(stored.reshape(-1), output_of(entry, "logits")), entry)

"""Figures of an exported emotion model, through the device's own code."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oahega_build.calibrate import expected_calibration_error, risk_coverage
from oahega_build.quantize import Exported
from oahega_edge.detection import dequantize
from oahega_edge.manifest import EmotionEntry, output_of
from oahega_edge.preprocess import Quantizer


def file_logits(data: bytes, entry: EmotionEntry, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    """Real logits (n, labels) of crops that have the input's size, by the file."""
    quantizer = Quantizer(entry.input)
    output = output_of(entry, "logits")
    answers = Exported(data, entry.outputs).run_all(quantizer(face) for face in faces)
    return np.stack([dequantize(answer["logits"].reshape(-1), output) for answer in answers])


def summary(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, float]:
    """The figures that one line holds."""
    predicted = probabilities.argmax(axis=1)
    classes = np.unique(labels)
    _, coverage, precision = risk_coverage(probabilities, labels)
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(np.mean([(predicted[labels == c] == c).mean() for c in classes])),
        "ece": expected_calibration_error(probabilities, labels),
        "precision_at_80_coverage": float(precision[np.argmax(coverage >= 0.8)]),
    }

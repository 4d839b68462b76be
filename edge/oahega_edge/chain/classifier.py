"""From a face in a picture to probabilities: crop, quantize, run, calibrate. Shared with the trainer."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, crop_face
from oahega_edge.drift.look import brightness_of, sharpness_of
from oahega_edge.manifest import EmotionEntry
from oahega_edge.runtimes.port import Model
from oahega_edge.stopwatch import Stopwatch


class Classifier(Protocol):
    """Reads one face."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        ...

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box` of a full frame (height, width, 3)."""
        ...


class EmotionClassifier:
    """A frame and a face's box in, calibrated probabilities out."""

    def __init__(self, entry: EmotionEntry, model: Model, watch: Stopwatch | None = None) -> None:
        self._entry = entry
        self._model = model
        self._quantize = Quantizer(entry.input)
        self._watch = watch or Stopwatch()

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self._entry.labels

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box`."""
        with self._watch.stage("emotion_input"):
            tensor = self._quantize(crop_face(pixels, box, self._entry.input, self._entry.crop))
        with self._watch.stage("emotion"):
            outputs = self._model.run(tensor)
        return probabilities(outputs["logits"], self._entry)


class FaceGauge:
    """Measures what the classifier sees of a face."""

    def __init__(self, entry: EmotionEntry) -> None:
        self._entry = entry

    def __call__(self, pixels: Pixels, box: Box) -> tuple[float, float, float]:
        """Height in pixels, brightness and sharpness of the face at `box` of a full frame."""
        picture = crop_face(pixels, box, self._entry.input, self._entry.crop)
        return box.height * pixels.shape[0], brightness_of(picture), sharpness_of(picture)

"""From a face in a picture to probabilities: crop, quantize, run, calibrate. Shared with the trainer."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, crop_face
from oahega_edge.drift.look import Measured, light_of
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


class MeasuringClassifier(Classifier, Protocol):
    """Reads one face, and measures it where that is asked for."""

    def measured(self, pixels: Pixels, box: Box) -> Measured:
        """The same as a call, and the light of what the classifier sees."""
        ...


class EmotionClassifier:
    """A frame and a face's box in, calibrated probabilities out."""

    def __init__(
        self,
        entry: EmotionEntry,
        model: Model,
        watch: Stopwatch | None = None,
    ) -> None:
        self._entry = entry
        self._model = model
        self._quantize = Quantizer(entry.input)
        self._height = entry.input.height
        self._watch = watch or Stopwatch()

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self._entry.labels

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box`."""
        with self._watch.stage("emotion_input"):
            tensor = self._quantize(self._crop(pixels, box))
        return self._read(tensor)

    def measured(self, pixels: Pixels, box: Box) -> Measured:
        """Probabilities and light of the face at `box`."""
        height = box.height * pixels.shape[0]
        with self._watch.stage("emotion_input"):
            picture = self._crop(pixels, box)
            brightness, sharpness = light_of(picture)  # now: a model leaves nothing of it in the caches
            tensor = self._quantize(picture)
        return self._read(tensor), (height, brightness, sharpness, height < self._height)

    def _crop(self, pixels: Pixels, box: Box) -> NDArray[np.uint8]:
        return crop_face(pixels, box, self._entry.input, self._entry.crop)

    def _read(self, tensor: NDArray[Any]) -> NDArray[np.float64]:
        with self._watch.stage("emotion"):
            outputs = self._model.run(tensor)
        return probabilities(outputs["logits"], self._entry)

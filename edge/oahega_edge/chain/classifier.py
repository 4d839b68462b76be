"""From a face in a picture to probabilities: crop, quantize, run, calibrate. Shared with the trainer.

A model may have a second crop: every second frame of a face is then cropped otherwise, and mirrored. What the
network gets wrong in one it often gets right in the other, and frames are averaged anyway. It costs no time:
each frame of a video is read once.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, cut_face, cuts_of
from oahega_edge.drift.look import Measured, light_of
from oahega_edge.manifest import EmotionEntry
from oahega_edge.runtimes.port import Model
from oahega_edge.stopwatch import Stopwatch

LEAST = 1e-12
"""Probability below which an answer is no answer."""


class Classifier(Protocol):
    """Reads one face."""

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        ...

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box` of a full frame (height, width, 3).

        `second`: by the second crop, if the model has one.
        """
        ...


class MeasuringClassifier(Classifier, Protocol):
    """Reads one face, and measures it where that is asked for."""

    def measured(self, pixels: Pixels, box: Box) -> Measured:
        """The same as a call, by the first crop, and the light of what the classifier sees."""
        ...


def both_crops(classifier: Classifier, pixels: Pixels, box: Box) -> NDArray[np.float64]:
    """Probabilities (labels,) of the face at `box` of a single picture.

    The geometric mean of both crops: what a belief without prior and lapse makes of two frames.
    """
    first, second = (np.maximum(classifier(pixels, box, turn), LEAST) for turn in (False, True))
    both = np.sqrt(first * second)
    return np.asarray(both / both.sum(), np.float64)


class EmotionClassifier:
    """A frame and a face's box in, calibrated probabilities out."""

    def __init__(
        self,
        entry: EmotionEntry,
        model: Model,
        watch: Stopwatch | None = None,
    ) -> None:
        self._entry = entry
        self._cuts = cuts_of(entry)
        self._model = model
        self._quantize = Quantizer(entry.input)
        self._height = entry.input.height
        self._watch = watch or Stopwatch()

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self._entry.labels

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box`."""
        with self._watch.stage("emotion_input"):
            cut = self._cuts[-1 if second else 0]
            tensor = self._quantize(cut_face(pixels, box, self._entry.input, cut))
        return self._read(tensor)

    def measured(self, pixels: Pixels, box: Box) -> Measured:
        """Probabilities and light of the face at `box`."""
        height = box.height * pixels.shape[0]
        with self._watch.stage("emotion_input"):
            picture = cut_face(pixels, box, self._entry.input, self._cuts[0])
            brightness, sharpness = light_of(picture)  # now: a model leaves nothing of it in the caches
            tensor = self._quantize(picture)
        return self._read(tensor), (height, brightness, sharpness, height < self._height)

    def _read(self, tensor: NDArray[Any]) -> NDArray[np.float64]:
        with self._watch.stage("emotion"):
            outputs = self._model.run(tensor)
        return probabilities(outputs["logits"], self._entry)

"""From a face in a picture to probabilities: crop, quantize, run, calibrate. Shared with the trainer."""

from __future__ import annotations

from typing import Protocol
from weakref import ReferenceType, ref

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, crop_face
from oahega_edge.drift.look import light_of
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


class FaceCrop:
    """What a classifier sees of a face. The same face of the same frame is cropped once."""

    def __init__(self, entry: EmotionEntry) -> None:
        self._entry = entry
        self._of: tuple[ReferenceType[Pixels], Box] | None = None
        self._picture: NDArray[np.uint8] | None = None

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.uint8]:
        """The face at `box` of a full frame in the size and colour of the classifier's input."""
        if self._picture is None or self._of is None or self._of[0]() is not pixels or self._of[1] != box:
            self._picture = crop_face(pixels, box, self._entry.input, self._entry.crop)
            self._of = ref(pixels, self._forget), box
        return self._picture

    def _forget(self, frame: ReferenceType[Pixels]) -> None:
        """A face is kept no longer than its frame."""
        if self._of is not None and self._of[0] is frame:
            self._of = self._picture = None


class EmotionClassifier:
    """A frame and a face's box in, calibrated probabilities out."""

    def __init__(
        self,
        entry: EmotionEntry,
        model: Model,
        watch: Stopwatch | None = None,
        crop: FaceCrop | None = None,
    ) -> None:
        """`crop`: shared with what else looks at the same faces."""
        self._entry = entry
        self._model = model
        self._crop = crop or FaceCrop(entry)
        self._quantize = Quantizer(entry.input)
        self._watch = watch or Stopwatch()

    @property
    def labels(self) -> tuple[str, ...]:
        """In the order of the probabilities."""
        return self._entry.labels

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        """Probabilities (labels,) of the face at `box`."""
        with self._watch.stage("emotion_input"):
            tensor = self._quantize(self._crop(pixels, box))
        with self._watch.stage("emotion"):
            outputs = self._model.run(tensor)
        return probabilities(outputs["logits"], self._entry)


class FaceGauge:
    """Measures what the classifier sees of a face."""

    def __init__(self, crop: FaceCrop) -> None:
        """`crop`: the classifier's."""
        self._crop = crop

    def __call__(self, pixels: Pixels, box: Box) -> tuple[float, float, float]:
        """Height in pixels, brightness and sharpness of the face at `box` of a full frame."""
        picture = self._crop(pixels, box)
        return box.height * pixels.shape[0], *light_of(picture)

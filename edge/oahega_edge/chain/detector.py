"""From a picture to faces and people: fit, quantize, run, decode, boost. Shared with the trainer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from oahega_edge.chain.detection import (
    Decoder,
    Detection,
    boost_faces_on_shoulders,
    with_covers,
)
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.preprocess import Placement, Quantizer, fit_picture
from oahega_edge.manifest import COVERED_FACE, DetectorEntry
from oahega_edge.runtimes.port import Model
from oahega_edge.stopwatch import Stopwatch


class Detector:
    """A bundle's detector with its model."""

    def __init__(
        self,
        entry: DetectorEntry,
        model: Model,
        scores: Mapping[str, float],
        *,
        nms_iou: float | None = None,
        person_score: float = 0.0,
        watch: Stopwatch | None = None,
    ) -> None:
        """`scores`: least score of faces and of persons, 0..1; covered faces have the one that the entry
        suggests. `nms_iou`: overlap above which two boxes are one, by default as the entry suggests;
        `person_score`: least score of a person who supports a face.
        """
        self._input, self._resize = entry.input, entry.resize
        self._model = model
        self._quantize = Quantizer(entry.input)
        suggested = entry.suggested
        covered = {label: score for label, score in suggested.score.items() if label == COVERED_FACE}
        overlap = suggested.nms_iou if nms_iou is None else nms_iou
        self._decoder = Decoder(entry, {**scores, **covered}, overlap)
        self._person_score = person_score
        self._watch = watch or Stopwatch()

    def __call__(self, frame: Frame) -> list[Detection]:
        """Faces and people, in unit coordinates of the frame."""
        return self.find(frame.view)

    def find(self, pixels: Pixels) -> list[Detection]:
        """Faces and people in RGB pixels, in unit coordinates."""
        return self.decode(*self.run(pixels))

    def run(self, pixels: Pixels) -> tuple[Mapping[str, NDArray[Any]], Placement]:
        """The model's outputs by role, and where the picture lies on its input."""
        with self._watch.stage("detector_input"):
            small, placement = fit_picture(pixels, self._input, self._resize)
            tensor = self._quantize(small)
        with self._watch.stage("detector"):
            return self._model.run(tensor), placement

    def decode(self, outputs: Mapping[str, NDArray[Any]], placement: Placement) -> list[Detection]:
        """What `run` gave, as detections."""
        with self._watch.stage("decode"):
            found = with_covers(self._decoder(outputs, placement))
            return boost_faces_on_shoulders(found, self._person_score)

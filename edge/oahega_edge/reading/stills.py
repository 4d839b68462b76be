"""Faces of one picture by itself: no second frame confirms a face, and one frame is read by both crops."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Self

import numpy as np

from oahega_edge.chain.classifier import both_crops
from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.detection import FACE, PERSON, Detection, without_nested
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.smoothing import Average, tilted
from oahega_edge.chain.trigger import UNCERTAIN
from oahega_edge.contract.events import rounded_shares, unit_xywh
from oahega_edge.errors import SettingsError
from oahega_edge.service.chains import tilt_of
from oahega_edge.service.engine import Engine
from oahega_edge.service.health import utc_now
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Face:
    """A face on a picture."""

    expression: str
    """A label of `scores`, or `uncertain` when none reaches the threshold or the face is too small."""
    confidence: float
    """Probability of that label, 0..1; of the best when uncertain; 0 for a face too small to be read."""
    scores: dict[str, float]
    """Probability of each label; they sum to 1. Empty for a face too small to be read."""
    box: tuple[float, float, float, float]
    """Left, top, width, height in shares of the picture, origin top left, as in events."""
    detection: float
    """How sure the detector is that this is a face, 0..1."""


class StillReader:
    """Finds and classifies the faces of single pictures. Close it, or use it in a `with` block."""

    def __init__(self, setup: Setup) -> None:
        """Opens and tests the models. The camera's settings and masks do not apply to pictures."""
        if setup.settings.trigger.min_group:
            raise SettingsError(
                f"trigger.min_group = {setup.settings.trigger.min_group} forbids to read single faces; "
                "set it to 0 to read pictures of your own"
            )
        self._settings = setup.settings
        self._engine = Engine(setup, Stopwatch())
        self._tilt = tilt_of(setup.settings, self._engine.labels)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def engine(self) -> Engine:
        """The open models."""
        return self._engine

    @property
    def labels(self) -> tuple[str, ...]:
        """Expressions that a face may have."""
        return self._engine.labels

    def close(self) -> None:
        """Close the models; may be called twice."""
        self._engine.close()

    def look(self, pixels: Pixels) -> tuple[Frame, Step]:
        """The faces of an RGB picture, from left to right, as a step of one frame."""
        frame = Frame(np.ascontiguousarray(pixels), 0.0, utc_now(), 0)
        found = self._engine.pipeline.detector(frame)
        sure = [d for d in found if d.label == FACE and d.score >= self._settings.detection.face_score]
        faces = sorted(without_nested(sure), key=lambda d: d.box.left)
        people = sum(d.label == PERSON for d in found)
        return frame, Step(tuple(self._face(i, d, frame) for i, d in enumerate(faces, 1)), people, ())

    def read(self, pixels: Pixels) -> list[Face]:
        """The faces of an RGB picture (height, width, 3) uint8, from left to right."""
        _, step = self.look(pixels)
        return self.faces(step)

    def faces(self, step: Step) -> list[Face]:
        """What `look` found, for people who read it."""
        return [_described(face, self.labels) for face in step.faces]

    def _face(self, number: int, detection: Detection, frame: Frame) -> TrackedFace:
        box, pipeline = detection.box, self._engine.pipeline
        if detection.covered or box.height * frame.height < pipeline.face_rules.min_height_px:
            return TrackedFace(number, box, detection.score, None, UNCERTAIN)
        scores = tilted(both_crops(pipeline.classifier, frame.pixels, box), self._tilt)
        best = int(scores.argmax())
        is_sure = float(scores[best]) >= self._settings.trigger.threshold
        emotion = self.labels[best] if is_sure else UNCERTAIN
        return TrackedFace(number, box, detection.score, Average(scores, 1, 0.0), emotion)


def _described(face: TrackedFace, labels: tuple[str, ...]) -> Face:
    average = {} if face.average is None else dict(zip(labels, map(float, face.average.scores), strict=True))
    scores = rounded_shares(average)
    return Face(
        expression=face.emotion,
        confidence=max(scores.values(), default=0.0),
        scores=scores,
        box=unit_xywh(face.box),
        detection=round(face.score, 4),
    )

"""A chain whose detector follows a script and whose classifier knows the answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from oahega_edge.chain.classifier import Classifier
from oahega_edge.chain.decider import Decider
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import FaceRules, Pipeline
from oahega_edge.chain.smoothing import Window
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import TriggerRules
from oahega_edge.drift.look import Measured
from oahega_edge.stopwatch import Stopwatch

LABELS = ("happy", "neutral", "sad")


LEFT, RIGHT = Box(0.1, 0.2, 0.3, 0.5), Box(0.6, 0.2, 0.8, 0.5)


class Mood:
    """A classifier that knows the answer from where the face is: happy on the left, sad on the right."""

    labels = LABELS

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, pixels: np.ndarray, box: Box, second: bool = False) -> np.ndarray:
        self.calls += 1
        return np.array([0.8, 0.1, 0.1]) if box.center[0] < 0.5 else np.array([0.1, 0.1, 0.8])

    def measured(self, pixels: np.ndarray, box: Box) -> Measured:
        """A picture has as many rows as the face has pixels."""
        return self(pixels, box), (box.height * len(pixels), 100.0, 0.5, False)


def pipeline(
    script: Callable[[int], Sequence[Detection]],
    *,
    rules: FaceRules | None = None,
    mood: Classifier | None = None,
    hold: float = 0.0,
) -> Pipeline:
    def detect(frame: Frame) -> list[Detection]:
        return list(script(frame.sequence))

    classifier = mood or Mood()
    return Pipeline(
        detector=detect,
        classifier=classifier,
        decider=Decider(
            Tracker(match_iou=0.3, start_score=0.5, start_hits=2, lost_after=0.3),
            classifier.labels,
            lambda frames: Window(frames=frames, max_age=2.0, mean="arithmetic"),
            frames=4,
            rules=TriggerRules(
                threshold=0.6, hysteresis=0.1, dwell=0.0, heartbeat=0, min_interval=0, min_frames=2
            ),
            hold=hold,
        ),
        face_rules=rules or FaceRules(min_height_px=10),
        watch=Stopwatch(lambda: 0.0),
    )


def face(box: Box) -> Detection:
    return Detection("face", box, 0.9)

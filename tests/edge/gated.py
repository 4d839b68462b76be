"""A chain behind a gate, and a still scene with the grain of a sensor."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from oahega_edge.chain.decider import Decider
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import Gate
from oahega_edge.chain.pipeline import FaceRules, Pipeline
from oahega_edge.chain.smoothing import Window
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import TriggerRules
from oahega_edge.stopwatch import Stopwatch

Detect = Callable[[Frame], list[Detection]]


class Unread:
    labels = ("happy", "sad")

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> np.ndarray:
        return np.array([0.5, 0.5])


def chain(detect: Detect, gate: Gate, every: int = 1) -> Pipeline:
    return Pipeline(
        detector=detect,
        classifier=Unread(),
        decider=Decider(
            Tracker(match_iou=0.3, start_score=0.5, start_hits=2, lost_after=0.5),
            Unread.labels,
            lambda frames: Window(frames=frames, max_age=2.0, mean="arithmetic"),
            frames=4,
            rules=TriggerRules(0.6, 0.1, 0.0, 0, 0, 2),
        ),
        face_rules=FaceRules(min_height_px=10),
        watch=Stopwatch(lambda: 0.0),
        every=every,
        gate=gate,
    )


def nobody(frame: Frame) -> list[Detection]:
    return []


def scene() -> Pixels:
    """A picture with edges and areas, 640x480."""
    rng = np.random.default_rng(1)
    coarse = rng.integers(40, 200, (12, 16, 3), np.uint8)
    return np.asarray(cv2.resize(coarse, (640, 480), interpolation=cv2.INTER_CUBIC), np.uint8)


def noisy(picture: Pixels, seed: int, sigma: float = 5.0) -> Pixels:
    grain = np.random.default_rng(seed).normal(0, sigma, picture.shape)
    return np.clip(picture + grain, 0, 255).astype(np.uint8)

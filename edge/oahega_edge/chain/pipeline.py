"""From a frame to decisions: detect, track, crop, classify, average, decide. Pure but for the models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classifier import Classifier
from oahega_edge.chain.decider import Decider, Reading, TrackedFace
from oahega_edge.chain.detection import FACE, PERSON, SAME_FACE, Detection
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import Gate, OpenGate
from oahega_edge.chain.trigger import Decision, TriggerRules
from oahega_edge.drift.look import Look, Measured
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.visits.visit import Visit


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame brought."""

    faces: tuple[TrackedFace, ...]
    people: int
    decisions: tuple[Decision, ...]
    visits: tuple[Visit, ...] = ()
    """Of the faces that ended with this frame; single visits leave the device with events only."""
    looks: tuple[Look, ...] = ()
    """At the faces that ended; only counts of them are kept."""


class Disclosure(Protocol):
    """Decides what of a step may leave the chain."""

    def disclosed(self, step: Step, frame: Frame) -> Step:
        """The step as it leaves the chain."""
        ...

    def final(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """Those of the decisions at the end that may leave the chain."""
        ...

    def adjust(self, rules: TriggerRules) -> None:
        """Change the rules while running."""
        ...


class EveryFace:
    """Discloses everything."""

    def disclosed(self, step: Step, frame: Frame) -> Step:
        """The step itself."""
        return step

    def final(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """All of them."""
        return decisions

    def adjust(self, rules: TriggerRules) -> None:
        """It has no rules of its own."""


Gauge = Callable[[Pixels, Box], Measured]
"""Reads the face at a box of a full frame as the classifier does, and measures it."""
Beside = Callable[[Pixels, Box], NDArray[np.float64] | None]
"""What another classifier reads from the face at a box of a full frame."""


@dataclass(frozen=True, slots=True)
class FaceRules:
    """Which faces are read at all."""

    min_height_px: float
    """Lower faces are counted and not classified."""
    masks: tuple[Box, ...] = ()
    """Faces and people whose center lies in one of these are ignored."""


@dataclass(slots=True)
class Pipeline:
    """One camera's chain. `process` is called with frames in order, from one thread."""

    detector: Callable[[Frame], list[Detection]]
    classifier: Classifier
    decider: Decider
    face_rules: FaceRules
    watch: Stopwatch
    every: int = 1
    """The detector looks at each frame of this number; in between, faces go on as they moved."""
    gate: Gate = field(default_factory=OpenGate)
    """Says when an empty scene need not be looked at."""
    disclosure: Disclosure = field(default_factory=EveryFace)
    gauge: Gauge | None = None
    """Measures faces when they are read."""
    watched: bool = True
    """For the watch on drift."""
    beside: Beside | None = None
    """Reads measured faces, too, and decides nothing. Exchanged by `read_beside`."""
    _unlooked: int | None = None
    """Frames since the detector's last look; None before the first."""
    _people: int = 0
    _covered: tuple[Box, ...] = ()
    """Faces that were covered when the detector looked last."""

    def process(self, frame: Frame) -> Step:
        """Everything that this frame brings and that may leave the chain."""
        return self.disclosure.disclosed(self._seen(frame), frame)

    def finish(self) -> Step:
        """The last decision on every face and its visit, when the source ends or the camera closes."""
        last = self.decider.finish()
        self.gate.forget()
        self._unlooked = None
        decisions = self.disclosure.final(tuple(last.decisions))
        return Step((), 0, decisions, tuple(last.visits), tuple(last.looks))

    def adjust(self, *, frames: int, threshold: float) -> None:
        """Change the paper's two settings while running."""
        self.decider.adjust(frames=frames, threshold=threshold)
        self.disclosure.adjust(self.decider.rules)

    def read_beside(self, beside: Beside | None) -> None:
        """From now on; what another one has said of faces in view is forgotten."""
        self.beside = beside
        self.decider.forget_beside()

    def _seen(self, frame: Frame) -> Step:
        if self._is_idle(frame):
            return Step((), self._people, ())
        found = self._look(frame) if self._is_due() else None
        seen = self.decider.see(
            found,
            lambda box, lit, second: self._read(box, frame, lit, second),
            frame.taken_at,
            frame.captured_at,
            measured=self.gauge is not None and (self.watched or self.beside is not None),
            beside=self._beside(frame),
        )
        if found is not None and self.decider.is_empty:
            self.gate.looked(frame)
        return Step(
            tuple(seen.faces), self._people, tuple(seen.decisions), tuple(seen.visits), tuple(seen.looks)
        )

    def _beside(self, frame: Frame) -> Callable[[Box], NDArray[np.float64] | None] | None:
        beside = self.beside
        return None if beside is None else lambda box: beside(frame.pixels, box)

    def _is_idle(self, frame: Frame) -> bool:
        """No face is followed, and the scene is as still as when none was found."""
        if self._unlooked is not None:
            self._unlooked += 1
        with self.watch.stage("gate"):
            return self.decider.is_empty and self.gate.is_still(frame)

    def _is_due(self) -> bool:
        """At once after a face that is new or was missed, else each k-th frame."""
        return self._unlooked is None or self._unlooked >= self.every or not self.decider.is_settled

    def _look(self, frame: Frame) -> list[Detection]:
        """The faces that the detector finds; people are counted."""
        found = [d for d in self.detector(frame) if not self._is_masked(d.box)]
        self._unlooked = 0
        self._people = sum(d.label == PERSON for d in found)
        self._covered = tuple(d.box for d in found if d.covered)
        return [d for d in found if d.label == FACE]

    def _is_masked(self, box: Box) -> bool:
        x, y = box.center
        return any(m.left <= x < m.right and m.top <= y < m.bottom for m in self.face_rules.masks)

    def _read(self, box: Box, frame: Frame, lit: bool, second: bool) -> Reading | None:
        """Classify one face, if it is large enough, inside the picture and not covered."""
        if box.height * frame.height < self.face_rules.min_height_px or box.clipped() is None:
            return None
        if any(box.iou(cover) >= SAME_FACE for cover in self._covered):
            return None
        if lit and self.gauge is not None:
            return self.gauge(frame.pixels, box)
        return self.classifier(frame.pixels, box, second), None


def dominant(faces: Sequence[TrackedFace]) -> TrackedFace | None:
    """The face that stands for the picture: the largest."""
    return max(faces, key=lambda face: face.box.area, default=None)

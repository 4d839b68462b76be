"""From a frame to decisions: detect, track, crop, classify, average, decide. Pure but for the models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.detection import FACE, PERSON, Decoder, Detection, heads_first, without_nested
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import Gate, OpenGate
from oahega_edge.chain.preprocess import Quantizer, crop_face, fit_picture
from oahega_edge.chain.smoothing import Average, Smoothing
from oahega_edge.chain.tracking import Track, Tracker
from oahega_edge.chain.trigger import Decision, Sighting, Trigger, TriggerRules
from oahega_edge.manifest import DetectorEntry, EmotionEntry
from oahega_edge.runtimes.port import Model
from oahega_edge.stopwatch import Stopwatch


class FaceDetector:
    """A frame in, detections out."""

    def __init__(self, entry: DetectorEntry, model: Model, decoder: Decoder, watch: Stopwatch) -> None:
        self._entry = entry
        self._model = model
        self._decode = decoder
        self._quantize = Quantizer(entry.input)
        self._watch = watch

    def __call__(self, frame: Frame) -> list[Detection]:
        """Faces and people, in unit coordinates of the frame."""
        with self._watch.stage("detector_input"):
            view = frame.pixels if frame.overview is None else frame.overview
            small, placement = fit_picture(view, self._entry.input, self._entry.resize)
            tensor = self._quantize(small)
        with self._watch.stage("detector"):
            outputs = self._model.run(tensor)
        with self._watch.stage("decode"):
            return heads_first(self._decode(outputs, placement))


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

    def __init__(self, entry: EmotionEntry, model: Model, watch: Stopwatch) -> None:
        self._entry = entry
        self._model = model
        self._quantize = Quantizer(entry.input)
        self._watch = watch

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


@dataclass(frozen=True, slots=True)
class TrackedFace:
    """One face as it stands in this frame."""

    track: int
    box: Box
    score: float
    """The detector's."""
    average: Average | None
    """None when the face is too small to be read."""
    emotion: str
    """What holds for this face now, a label or `uncertain`."""


@dataclass(frozen=True, slots=True)
class Step:
    """What one frame brought."""

    faces: tuple[TrackedFace, ...]
    people: int
    decisions: tuple[Decision, ...]


class Disclosure(Protocol):
    """What of a step may be told to anybody."""

    def told(self, step: Step, frame: Frame) -> Step:
        """The step as it leaves the chain."""
        ...

    def last_words(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """Those of the decisions at the end that may be told."""
        ...

    def adjust(self, rules: TriggerRules) -> None:
        """Change the rules while running."""
        ...


class EveryFace:
    """Everything is told."""

    def told(self, step: Step, frame: Frame) -> Step:
        """The step itself."""
        return step

    def last_words(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """All of them."""
        return decisions

    def adjust(self, rules: TriggerRules) -> None:
        """There are none of its own."""


@dataclass(slots=True)
class _Memory:
    """What is remembered of one face."""

    window: Smoothing
    trigger: Trigger
    average: Average | None = None


@dataclass(frozen=True, slots=True)
class FaceRules:
    """Which faces are read at all."""

    min_height_px: float
    """Lower faces are counted and not classified."""
    masks: tuple[Box, ...] = ()
    """Faces and people whose middle lies in one of these are not seen."""


@dataclass(slots=True)
class Pipeline:
    """One camera's chain. `process` is called with frames in order, from one thread."""

    detector: Callable[[Frame], list[Detection]]
    classifier: Classifier
    tracker: Tracker
    new_window: Callable[[int], Smoothing]
    """Makes the memory of a new face, given N."""
    frames: int
    """N of the paper."""
    trigger_rules: TriggerRules
    face_rules: FaceRules
    watch: Stopwatch
    every: int = 1
    """The detector looks at each frame of this number; in between, faces go on as they moved."""
    hold: float = 0.0
    """Seconds that a face which the detector missed is still said to be there."""
    gate: Gate = field(default_factory=OpenGate)
    """Says when an empty scene need not be looked at."""
    disclosure: Disclosure = field(default_factory=EveryFace)
    """Stands between what is seen and what is told."""
    _memories: dict[int, _Memory] = field(default_factory=dict)
    _unlooked: int | None = None
    """Frames since the detector's last look; None before the first."""
    _people: int = 0

    def process(self, frame: Frame) -> Step:
        """Everything that this frame brings and that may be told."""
        return self.disclosure.told(self._seen(frame), frame)

    def _seen(self, frame: Frame) -> Step:
        if self._rests(frame):
            return Step((), self._people, ())
        seen, ended = self._look(frame) if self._is_due() else (self.tracker.between(), [])
        decisions = [self._forget(track) for track in ended]
        decisions += [self._read(track, frame) for track in seen]
        held = self.tracker.held(frame.captured_at, self.hold)
        return Step(
            faces=tuple(self._face(track, frame.captured_at) for track in (*seen, *held)),
            people=self._people,
            decisions=tuple(d for d in decisions if d is not None),
        )

    def _rests(self, frame: Frame) -> bool:
        """Nobody is followed and the picture is the one in which nobody was."""
        if self._unlooked is not None:
            self._unlooked += 1
        with self.watch.stage("gate"):
            return self.tracker.is_empty and self.gate.is_still(frame)

    def _is_due(self) -> bool:
        """At once after a face that is new or was missed, else each k-th frame."""
        return self._unlooked is None or self._unlooked >= self.every or not self.tracker.is_settled

    def _look(self, frame: Frame) -> tuple[list[Track], list[Track]]:
        found = [d for d in self.detector(frame) if not self._masked(d.box)]
        self._unlooked = 0
        self._people = sum(d.label == PERSON for d in found)
        with self.watch.stage("track"):
            faces = without_nested([d for d in found if d.label == FACE])
            seen, ended = self.tracker.update(faces, frame.captured_at)
        if self.tracker.is_empty:
            self.gate.looked(frame)
        return seen, ended

    def finish(self) -> tuple[Decision, ...]:
        """The last word on every face, when the source ends or the camera closes."""
        decisions = [memory.trigger.end() for memory in self._memories.values()]
        self._memories.clear()
        self.tracker.clear()
        self.gate.forget()
        self._unlooked = None
        return self.disclosure.last_words(tuple(d for d in decisions if d is not None))

    def adjust(self, *, frames: int, threshold: float) -> None:
        """Change the paper's two settings while running."""
        self.frames = frames
        self.trigger_rules = replace(self.trigger_rules, threshold=threshold)
        self.disclosure.adjust(self.trigger_rules)
        for memory in self._memories.values():
            memory.window.resize(frames)
            memory.trigger.rules = self.trigger_rules

    def _masked(self, box: Box) -> bool:
        x, y = box.center
        return any(m.left <= x < m.right and m.top <= y < m.bottom for m in self.face_rules.masks)

    def _read(self, track: Track, frame: Frame) -> Decision | None:
        """Classify one face, if it is large enough and inside the picture."""
        memory = self._memories.get(track.id) or self._remember(track)
        box = track.predicted(frame.captured_at)
        if box.height * frame.height < self.face_rules.min_height_px or box.clipped() is None:
            return None
        scores = self.classifier(frame.pixels, box)
        with self.watch.stage("decide"):
            memory.average = memory.window.add(scores, frame.captured_at)
            return memory.trigger.see(Sighting(memory.average, box, frame.taken_at, frame.captured_at))

    def _remember(self, track: Track) -> _Memory:
        trigger = Trigger(str(track.id), self.classifier.labels, self.trigger_rules)
        return self._memories.setdefault(track.id, _Memory(self.new_window(self.frames), trigger))

    def _forget(self, track: Track) -> Decision | None:
        memory = self._memories.pop(track.id, None)
        return None if memory is None else memory.trigger.end()

    def _face(self, track: Track, now: float) -> TrackedFace:
        memory = self._memories[track.id]
        return TrackedFace(
            track.id, track.predicted(now), track.score, memory.average, memory.trigger.current
        )


def dominant(faces: Sequence[TrackedFace]) -> TrackedFace | None:
    """The face that stands for the picture: the largest."""
    return max(faces, key=lambda face: face.box.area, default=None)


def scores_of(face: TrackedFace, labels: Sequence[str]) -> Mapping[str, float]:
    """The averaged probabilities by label; empty when the face was not read."""
    if face.average is None:
        return {}
    return dict(zip(labels, face.average.scores.tolist(), strict=True))

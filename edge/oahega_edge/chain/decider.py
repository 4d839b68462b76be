"""From detections and scores to decisions: track, average, trigger. It needs no picture and plays records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.detection import Detection, without_nested
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Average, Smoothing
from oahega_edge.chain.tracking import Track, Tracker
from oahega_edge.chain.trigger import UNCERTAIN, Decision, Sighting, Trigger, TriggerRules
from oahega_edge.drift.look import Light, Look
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.visits.visit import Visit, VisitTally

Reading = tuple[NDArray[np.float64], Light | None]
"""Probabilities (labels,) of a face, and its light where that was asked for."""
Read = Callable[[Box, bool, bool], Reading | None]
"""Of the face in a box of this frame, with its light or without, by the second crop or the first.
None for a face that is not to be read."""
Beside = Callable[[Box], NDArray[np.float64] | None]
"""What another classifier reads there."""
NEARER = 1.05
"""Growth of a face's height from which it is looked at anew."""
DOUBLED = 2**0.5
"""The same for the light of a face that was enlarged to be read: its area has doubled."""
UNREAD: NDArray[np.float64] = np.zeros(0)
"""Probabilities of a face that was never read."""


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


@dataclass(slots=True)
class Nearest(Look):
    """The look at a face that is followed, so that nothing is left to do when it ends."""

    height: float = 0.0
    brightness: float = 0.0
    sharpness: float = 0.0
    score: float = 0.0
    wait: float = 0.0
    frame: float = 0.0
    """Height of the frame in pixels; 0 while the face was never read."""
    anew: float = 0.0
    """Share of the frame's height beyond which the face is looked at anew."""
    lit_anew: float = 0.0
    """The same for its light."""

    def read(self, box: Box, score: float, read: Read, beside: Beside | None) -> Reading | None:
        """What `read` gives of the face of this frame, which is remembered: it is nearer than before."""
        height = box.height
        found = read(box, height > self.lit_anew, False)
        if found is not None:
            self.scores, light = found
            if light is not None:
                pixels, self.brightness, self.sharpness, is_enlarged = light
                self.frame = pixels / height
                self.lit_anew = DOUBLED * height if is_enlarged else math.inf
            self.height, self.anew, self.score = height * self.frame, NEARER * height, score
            if beside is not None:
                self.beside = beside(box)
        return found


@dataclass(slots=True)
class _Memory:
    """What is remembered of one face."""

    smoothing: Smoothing
    trigger: Trigger
    nearest: Nearest
    average: Average | None = None
    read_at: float | None = None
    second: bool = False
    """It is the turn of the second crop."""
    tally: VisitTally = field(default_factory=VisitTally)


@dataclass(frozen=True, slots=True)
class Seen:
    """What one frame brought, or the end of the source."""

    faces: Sequence[TrackedFace]
    decisions: Sequence[Decision]
    visits: Sequence[Visit]
    """Of the faces that ended, also of those that were never read."""
    looks: Sequence[Look] = ()
    """At the faces that ended, where they are measured."""
    ended: Sequence[int] = ()
    """Tracks of the faces that ended, in the order of `visits`."""


class Decider:
    """Follows the faces of one camera and decides what each shows. Call `see` with frames in order."""

    def __init__(
        self,
        tracker: Tracker,
        labels: Sequence[str],
        new_smoothing: Callable[[int], Smoothing],
        *,
        frames: int,
        rules: TriggerRules,
        hold: float = 0.0,
        watch: Stopwatch | None = None,
    ) -> None:
        """`new_smoothing` makes the memory of a new face, given `frames`, the paper's N; `hold`: seconds that
        a face which the detector missed still counts as present.
        """
        self.rules = rules
        self._tracker = tracker
        self._labels = tuple(labels)
        self._new_smoothing = new_smoothing
        self._frames = frames
        self._hold = hold
        self._watch = watch or Stopwatch()
        self._memories: dict[int, _Memory] = {}
        self._now: float | None = None
        self._before: float | None = None

    @property
    def is_empty(self) -> bool:
        """No face is followed, not even one that waits to be confirmed."""
        return self._tracker.is_empty

    @property
    def is_settled(self) -> bool:
        """Every face is confirmed and was found when the detector looked last."""
        return self._tracker.is_settled

    def see(
        self,
        found: Sequence[Detection] | None,
        read: Read,
        taken_at: datetime,
        captured_at: float,
        *,
        measured: bool = False,
        beside: Beside | None = None,
    ) -> Seen:
        """The faces of this frame, and the decisions and ended visits that it brings.

        `found`: faces that the detector found; None where it did not look, and faces go on as they moved.
        `taken_at` in UTC, `captured_at` in monotonic seconds. `measured`: faces are looked at;
        `beside` reads them, too.
        """
        self._before, self._now = self._now, captured_at
        seen, ended = self._follow(found, captured_at)
        gone = self._forget([track.id for track in ended])
        made = [self._read(track, read, taken_at, captured_at, measured, beside) for track in seen]
        decisions = [*gone.decisions, *(decision for decision in made if decision is not None)]
        faces = [
            self._face(track, captured_at) for track in (*seen, *self._tracker.held(captured_at, self._hold))
        ]
        return replace(gone, faces=faces, decisions=decisions)

    def finish(self) -> Seen:
        """The last decision on every face and its visit, when the source ends or the camera closes."""
        gone = self._forget(list(self._memories))
        self._tracker.clear()
        return gone

    def adjust(self, *, frames: int, threshold: float) -> None:
        """Change the paper's two settings while running."""
        self._frames = frames
        self.rules = replace(self.rules, threshold=threshold)
        for memory in self._memories.values():
            memory.smoothing.resize(frames)
            memory.trigger.rules = self.rules

    def forget_beside(self) -> None:
        """What was said of faces in view by a classifier that is not beside this one any more."""
        for memory in self._memories.values():
            memory.nearest.beside = None

    def _follow(self, found: Sequence[Detection] | None, now: float) -> tuple[list[Track], list[Track]]:
        if found is None:
            return self._tracker.between(), []
        with self._watch.stage("track"):
            return self._tracker.update(without_nested(found), now)

    def _read(
        self,
        track: Track,
        read: Read,
        taken_at: datetime,
        captured_at: float,
        measured: bool,
        beside: Beside | None,
    ) -> Decision | None:
        memory = self._memories.get(track.id) or self._remember(track, captured_at)
        box = track.predicted(captured_at)
        height = box.height
        if measured and height > memory.nearest.anew:
            found = memory.nearest.read(box, track.score, read, beside)
            memory.second = found is not None
        else:
            found = read(box, False, memory.second)
            memory.second ^= found is not None
        with self._watch.stage("decide"):
            decision = None
            if found is not None:
                in_sight = memory.read_at is not None and memory.read_at == self._before
                memory.average = memory.smoothing.add(found[0], captured_at, in_sight=in_sight)
                memory.read_at = captured_at
                decision = memory.trigger.see(Sighting(memory.average, box, taken_at, captured_at))
            current = memory.trigger.current
            memory.tally.see(None if current == UNCERTAIN else current, height, captured_at)
            return decision

    def _remember(self, track: Track, captured_at: float) -> _Memory:
        trigger = Trigger(str(track.id), self._labels, self.rules)
        nearest = Nearest(UNREAD, wait=captured_at - track.first_seen)
        memory = _Memory(self._new_smoothing(self._frames), trigger, nearest)
        return self._memories.setdefault(track.id, memory)

    def _forget(self, tracks: Sequence[int]) -> Seen:
        """The last decisions on faces that are gone, their visits and the looks at them."""
        ended = [track for track in tracks if track in self._memories]
        memories = [self._memories.pop(track) for track in ended]
        visits = [memory.tally.visit() for memory in memories]
        ends = [memory.trigger.end() for memory in memories]
        decisions = [replace(end, visit=of) for end, of in zip(ends, visits, strict=True) if end is not None]
        looks = [memory.nearest for memory in memories if memory.nearest.frame]
        return Seen((), decisions, visits, looks, ended)

    def _face(self, track: Track, now: float) -> TrackedFace:
        memory = self._memories[track.id]
        return TrackedFace(
            track.id, track.predicted(now), track.score, memory.average, memory.trigger.current
        )

"""Turns averaged scores into events: thresholds, dwell, heartbeat, rate. One trigger per face."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Average
from oahega_edge.visits.visit import Visit

UNCERTAIN = "uncertain"
Phase = Literal["new", "update", "end"]


@dataclass(frozen=True, slots=True)
class TriggerRules:
    """The same for every face; can be replaced while running."""

    threshold: float
    """An emotion is entered when its averaged probability reaches this (the paper's setting)."""
    hysteresis: float
    """It is left when its probability falls below threshold minus this."""
    dwell: float
    """Seconds that another emotion must lead before it replaces the current one."""
    heartbeat: float
    """Seconds after which an unchanged emotion is published again; 0: never."""
    min_interval: float
    """Seconds between two updates of one face."""
    min_frames: int
    """Frames in the window before the first decision."""


@dataclass(frozen=True, slots=True)
class Decision:
    """An event before the daemon stamps it with who, where and by which model."""

    track: str
    phase: Phase
    emotion: str
    """A label, or `uncertain`."""
    confidence: float
    """Averaged probability of that label; of the best label when uncertain."""
    scores: Mapping[str, float]
    frames: int
    window_ms: int
    threshold: float
    box: Box
    taken_at: datetime
    captured_at: float
    changed: bool = True
    """False: the heartbeat of an emotion that was published before, or the end of a face."""
    visit: Visit | None = None
    """What the face did while it was seen; with the phase `end` only."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """One frame's averaged view of a face."""

    average: Average
    box: Box
    taken_at: datetime
    captured_at: float


class Trigger:
    """Turns the sightings of one face into decisions."""

    def __init__(self, track: str, labels: Sequence[str], rules: TriggerRules) -> None:
        self.rules = rules
        self._track = track
        self._labels = tuple(labels)
        self._current = UNCERTAIN
        self._rival: str | None = None
        self._rival_since = 0.0
        self._published: tuple[str, float] | None = None
        self._last: Sighting | None = None

    @property
    def current(self) -> str:
        """The emotion that holds now, `uncertain` before the first."""
        return self._current

    def see(self, sighting: Sighting) -> Decision | None:
        """The decision that this sighting brings, if any."""
        self._last = sighting
        if self._published is None and sighting.average.frames < self.rules.min_frames:
            return None
        self._settle(self._wanted(sighting), sighting.captured_at)
        phase = self._due(sighting.captured_at)
        if phase is None:
            return None
        changed = self._published is None or self._published[0] != self._current
        self._published = (self._current, sighting.captured_at)
        return self._decision(sighting, phase, changed)

    def end(self) -> Decision | None:
        """The last decision on a face that is gone, if there was one before."""
        if self._published is None or self._last is None:
            return None
        return self._decision(self._last, "end", changed=False)

    def _wanted(self, sighting: Sighting) -> str:
        """What this sighting alone suggests, given the current emotion: entering is harder than staying."""
        scores = sighting.average.scores
        best = int(scores.argmax())
        if scores[best] >= self.rules.threshold:
            return self._labels[best]
        if self._current in self._labels:
            held = float(scores[self._labels.index(self._current)])
            if held >= self.rules.threshold - self.rules.hysteresis:
                return self._current
        return UNCERTAIN

    def _settle(self, wanted: str, now: float) -> None:
        """Change to what has been wanted for the dwell time; at once while nothing is published."""
        if wanted == self._current:
            self._rival = None
        elif self._published is None:
            self._current = wanted
        elif wanted != self._rival:
            self._rival, self._rival_since = wanted, now
        if self._rival is not None and now - self._rival_since >= self.rules.dwell:
            self._current, self._rival = self._rival, None

    def _due(self, now: float) -> Phase | None:
        """First when an emotion is reached, then when it changes or the heartbeat is due."""
        if self._published is None:
            return None if self._current == UNCERTAIN else "new"
        emotion, at = self._published
        changed = emotion != self._current and now - at >= self.rules.min_interval
        beat = 0 < self.rules.heartbeat <= now - at
        return "update" if changed or beat else None

    def _decision(self, sighting: Sighting, phase: Phase, changed: bool) -> Decision:
        scores = sighting.average.scores
        known = self._current in self._labels
        index = self._labels.index(self._current) if known else int(scores.argmax())
        return Decision(
            track=self._track,
            phase=phase,
            emotion=self._current,
            confidence=float(scores[index]),
            scores={label: float(p) for label, p in zip(self._labels, scores, strict=True)},
            frames=sighting.average.frames,
            window_ms=round(sighting.average.window * 1000),
            threshold=self.rules.threshold,
            box=sighting.box,
            taken_at=sighting.taken_at,
            captured_at=sighting.captured_at,
            changed=changed,
        )

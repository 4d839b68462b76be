"""Labelled sequences: still faces with known expressions, moved through scenes without people.

A scenario is planned from a seed alone and rendered frame by frame, so that a sequence needs the memory of
one frame. The same plan can be rendered at several noise levels, with the same people and expressions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.endings import is_picture

FORMAT = 1
"""Version of the sequences; raise it when the same seed no longer gives the same sequence."""
WIDTH, HEIGHT, FPS = 640, 480, 15
EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
SEEDS = {"held-out": 20261124, "valid": 20261125}
"""Seeds of the reported sequences, per part of the faces; fixed before anything was tuned on them."""
KINDS = ("one", "wander", "cross", "leave", "swap", "three")
"""Kinds of scenarios, in turn: scenario number i has the kind i modulo their number."""
LEAST_SEGMENT = 1.0
"""Minimum duration of the last expression of a sequence, seconds."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Noise:
    """The quality of the picture."""

    name: str
    grain: float
    """Standard deviation of the sensor noise, grey levels."""
    shutter: float
    """Exposed share of the time of a frame, which causes motion blur."""
    focus: float
    """Standard deviation of the blur, pixels at 480 lines."""
    light: float
    """Amplitude of slow changes of brightness, as a share."""
    flicker: float
    """Standard deviation of changes of brightness between frames, as a share."""
    quality: int
    """JPEG quality, 0..100."""


LEVELS = (
    Noise("low", grain=2, shutter=0.2, focus=0.0, light=0.05, flicker=0.0, quality=92),
    Noise("medium", grain=7, shutter=0.5, focus=0.7, light=0.2, flicker=0.02, quality=70),
    Noise("high", grain=14, shutter=0.9, focus=1.3, light=0.35, flicker=0.05, quality=40),
)


@dataclass(frozen=True, slots=True)
class Truth:
    """The true state of one person in one frame."""

    person: int
    box: Box
    """The box that a detector should give."""
    label: int
    visible: bool
    """False if the face is mostly covered or outside the picture; then no answer is expected."""


@dataclass(frozen=True, slots=True, eq=False)
class LabelledFrame:
    """A frame, and the true state of the people in it."""

    frame: Frame
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Scenery:
    """The faces and scenes of which sequences are made."""

    labels: tuple[str, ...]
    stills: Sequence[Sequence[Picture]]
    """Grey pictures of faces, per label."""
    scenes: Sequence[Path]
    """Pictures without people, as background."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A still and the time from which on it is shown."""

    start: float
    label: int
    still: int


@dataclass(frozen=True, slots=True)
class Wave:
    """The function middle + swing * sin(2 pi t / period + phase)."""

    middle: float
    swing: float
    period: float
    phase: float

    def at(self, t: float) -> float:
        """The value at second `t`."""
        return self.middle + self.swing * math.sin(2 * math.pi * t / self.period + self.phase)


@dataclass(frozen=True, slots=True)
class Absence:
    """A walk out of the picture and back."""

    start: float
    """Second at which the walk out begins; negative if the person is absent from the beginning."""
    end: float
    """Second at which the walk back ends."""
    walk: float
    """Duration of each walk, seconds."""
    side: int
    """Side of the exit: -1 left, 1 right."""

    def shift(self, t: float) -> float:
        """Distance to the side at second `t`, picture widths."""
        out = _smooth((t - self.start) / self.walk)
        back = _smooth((t - self.end) / self.walk + 1)
        return 1.25 * self.side * (out - back)


@dataclass(frozen=True, slots=True)
class Person:
    """A drawn person: one path and one sequence of expressions."""

    number: int
    x: Wave
    y: Wave
    height: Wave
    """Height of the still, pixels."""
    roll: Wave
    """In-plane rotation, degrees."""
    absences: tuple[Absence, ...]
    hidden: tuple[tuple[float, float], ...]
    """Start and end, seconds, of times at which something covers the face."""
    shots: tuple[Shot, ...]
    tint: tuple[float, float, float]
    """Factors for red, green and blue that give the grey stills the colour of skin."""
    dissolve: float
    """Duration of the transition between two stills, seconds."""

    def place(self, t: float) -> tuple[float, float, float]:
        """Centre x, centre y and height of the still at second `t`, pixels."""
        x = self.x.at(t) + sum(absence.shift(t) for absence in self.absences)
        return x * WIDTH, self.y.at(t) * HEIGHT, self.height.at(t)

    def is_hidden(self, t: float) -> bool:
        """Whether something covers the face at second `t`."""
        return any(start <= t < end for start, end in self.hidden)

    def shot_at(self, t: float) -> int:
        """Index of the still at second `t`; it changes in the middle of a transition."""
        return max(i for i, shot in enumerate(self.shots) if shot.start <= t or i == 0)


@dataclass(frozen=True, slots=True)
class Scenario:
    """Everything about a sequence except its noise."""

    name: str
    kind: str
    seconds: float
    scene: int
    people: tuple[Person, ...]
    seed: tuple[int, int]


def make_scenery(samples: Sequence[Sample], labels: Sequence[str], scenes: Path) -> Scenery:
    """Combine samples with the pictures of a folder. Raises DataError if either is missing."""
    stills = stills_of(samples, labels)
    empty = [labels[i] for i, pictures in enumerate(stills) if not pictures]
    paths = sorted(p for p in scenes.glob("*") if is_picture(p)) if scenes.is_dir() else []
    if empty or not paths:
        missing = f"pictures of {', '.join(empty)}" if empty else f"pictures in {scenes}"
        raise DataError(f"sequences need {missing}; give a dataset with every class and a folder of scenes")
    return Scenery(tuple(labels), stills, paths)


def stills_of(samples: Sequence[Sample], labels: Sequence[str]) -> list[list[Picture]]:
    """The pictures of each label."""
    return [[s.pixels for s in samples if s.label == label] for label in range(len(labels))]


def plan_scenarios(scenery: Scenery, seed: int, count: int, seconds: float) -> list[Scenario]:
    """Plan `count` scenarios, with all kinds in turn."""
    return [plan_scenario(scenery, seed, index, seconds) for index in range(count)]


def plan_scenario(scenery: Scenery, seed: int, index: int, seconds: float) -> Scenario:
    """Plan scenario number `index` of a seed. The result is the same on every machine."""
    rng = np.random.default_rng([FORMAT, seed, index])
    kind = KINDS[index % len(KINDS)]
    people = [_person(scenery, rng, number, seconds) for number in range(_people(kind, rng))]
    people = _arranged(kind, people, rng, seconds)
    scene = int(rng.integers(len(scenery.scenes)))
    return Scenario(f"{index:03d}-{kind}", kind, seconds, scene, tuple(people), (seed, index))


def _people(kind: str, rng: np.random.Generator) -> int:
    return {"one": 1, "wander": 2, "cross": 2, "leave": int(rng.integers(1, 3)), "swap": 2, "three": 3}[kind]


def _person(scenery: Scenery, rng: np.random.Generator, number: int, seconds: float) -> Person:
    """A person who sways about one place."""
    height = float(np.exp(rng.uniform(math.log(55), math.log(170))))
    swing = height * rng.uniform(0.05, 0.15)
    return Person(
        number=number,
        x=Wave(rng.uniform(0.2, 0.8), rng.uniform(0.02, 0.12), rng.uniform(4, 9), rng.uniform(0, 6.28)),
        y=Wave(rng.uniform(0.35, 0.55), rng.uniform(0.01, 0.05), rng.uniform(3, 7), rng.uniform(0, 6.28)),
        height=Wave(min(height, 200 - swing), swing, rng.uniform(5, 10), rng.uniform(0, 6.28)),
        roll=Wave(rng.uniform(-4, 4), rng.uniform(1, 7), rng.uniform(3, 8), rng.uniform(0, 6.28)),
        absences=(),
        hidden=_hidden(rng, seconds),
        shots=_shots(scenery, rng, seconds),
        tint=(1.0, float(rng.uniform(0.76, 0.88)), float(rng.uniform(0.62, 0.8))),
        dissolve=float(rng.uniform(0.1, 0.25)),
    )


def _hidden(rng: np.random.Generator, seconds: float) -> tuple[tuple[float, float], ...]:
    """Times of 0.3 to 0.8 s, about every eight seconds, at which a face is covered."""
    spans = []
    t = float(rng.uniform(2, 9))
    while t < seconds - 1:
        end = t + float(rng.uniform(0.3, 0.8))
        spans.append((t, end))
        t = end + float(rng.uniform(4, 12))
    return tuple(spans)


def _shots(scenery: Scenery, rng: np.random.Generator, seconds: float) -> tuple[Shot, ...]:
    """Expressions of 2 to 5 s, each made of several stills of 0.35 to 1.1 s."""
    shots: list[Shot] = []
    start, label = 0.0, -1
    while start < seconds - LEAST_SEGMENT:
        label = _next_label(scenery, rng, label)
        end = start + float(rng.uniform(2, 5))
        while start < end - 0.3:
            still = int(rng.integers(len(scenery.stills[label])))
            shots.append(Shot(start, label, still))
            start += float(rng.uniform(0.35, 1.1))
        start = end
    return tuple(shots)


def _next_label(scenery: Scenery, rng: np.random.Generator, before: int) -> int:
    """Draw another label than before, weighted by the square root of the number of stills."""
    weights = np.sqrt([len(pictures) for pictures in scenery.stills])
    if before >= 0:
        weights[before] = 0
    return int(rng.choice(len(weights), p=weights / weights.sum()))


def _arranged(kind: str, people: list[Person], rng: np.random.Generator, seconds: float) -> list[Person]:
    """Change paths as the kind of scenario requires: crossing, leaving, swapping."""
    if kind in ("wander", "three"):
        shares = (np.arange(len(people)) + 0.5) / len(people)
        return [_standing(person, float(x), len(people)) for person, x in zip(people, shares, strict=True)]
    if kind == "cross":
        return _crossing(people, rng)
    if kind == "leave":
        away = float(rng.uniform(0.25, 0.4)) * seconds
        absence = Absence(away, away + float(rng.uniform(2.5, 4.5)), 1.1, int(rng.choice((-1, 1))))
        spread = _arranged("wander", people, rng, seconds)
        return [_changed(spread[0], absences=(absence,)), *spread[1:]]
    if kind == "swap":
        return _swapping(people, rng, seconds)
    return people


def _standing(person: Person, x: float, of: int) -> Person:
    """Place a person beside the others, at most as large as there is room."""
    room = WIDTH / of * 0.75
    middle = min(person.height.middle, room)
    return _changed(
        person,
        x=Wave(x, min(person.x.swing, 0.15 / of), person.x.period, person.x.phase),
        height=Wave(middle, min(person.height.swing, 0.12 * middle), person.height.period, 0),
    )


def _crossing(people: list[Person], rng: np.random.Generator) -> list[Person]:
    """Two people who walk from side to side in opposite directions, one in front of the other."""
    period = float(rng.uniform(7, 12))
    phase = float(rng.uniform(0, 6.28))
    height = float(rng.uniform(70, 150))
    y = float(rng.uniform(0.38, 0.5))
    return [
        _changed(
            person,
            x=Wave(0.5, float(rng.uniform(0.22, 0.32)), period, phase + math.pi * i),
            y=Wave(y + float(rng.uniform(-0.04, 0.04)), 0.01, 5, phase),
            height=Wave(height * (1.0, float(rng.uniform(0.75, 1.0)))[i], 3, 7, phase),
        )
        for i, person in enumerate(people)
    ]


def _swapping(people: list[Person], rng: np.random.Generator, seconds: float) -> list[Person]:
    """One person leaves and the other comes to the same place from the same side, twice."""
    side = int(rng.choice((-1, 1)))
    first, second = seconds * 0.3, seconds * 0.68
    walk = float(rng.uniform(0.8, 1.3))
    gap = float(rng.uniform(0.0, 0.4))
    leaver, comer = people
    place = {"x": leaver.x, "y": leaver.y, "height": leaver.height}
    return [
        _changed(leaver, absences=(Absence(first, second + 2 * walk + gap, walk, side),)),
        _changed(
            comer,
            absences=(
                Absence(-10, first + 2 * walk + gap, walk, side),
                Absence(second, seconds + 10, walk, side),
            ),
            **place,
        ),
    ]


def _changed(person: Person, **changes: object) -> Person:
    return replace(person, **changes)  # type: ignore[arg-type]


def _smooth(share: float) -> float:
    share = min(1.0, max(0.0, share))
    return share * share * (3 - 2 * share)


def describe(scenarios: Sequence[Scenario]) -> Mapping[str, object]:
    """A summary of the sequences for a report."""
    return {
        "format": FORMAT,
        "sequences": len(scenarios),
        "seconds": sum(scenario.seconds for scenario in scenarios),
        "people": sum(len(scenario.people) for scenario in scenarios),
        "seed": scenarios[0].seed[0] if scenarios else None,
    }

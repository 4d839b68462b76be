"""A schedule of faults: drawn from a seed, written as JSON, and shrunk to its shortest failing part."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import asdict, dataclass

FAULTS = {
    "broker": ("away", "slow", "half-open", "refusing", "well"),
    "disk": ("full", "read-only", "slow", "well", "well"),
    "camera": ("stalls", "dies", "hangs", "black", "frozen", "well", "well"),
    "accelerator": ("abort", "hang", "well"),
    "clock": ("a year ahead", "a year behind", "right", "right"),
    "bundle": ("one", "two", "bad", "one"),
    "settings": ("0", "1"),
    "daemon": ("SIGKILL", "SIGTERM", "second", "restart", "SIGKILL in the start", "SIGTERM in the start"),
    "mute": ("on", "off", "on", "off", "on by MQTT"),
}
"""What each part of a device's surroundings may be told; `well` heals."""


@dataclass(frozen=True)
class Step:
    """After so many seconds, tell a part something."""

    after: float
    part: str
    told: str


Schedule = tuple[Step, ...]


def draw(seed: int, seconds: float) -> Schedule:
    """The same for the same seed. Every second schedule leaves out some of the parts.

    What is left then meets longer, a daemon that lives long above all (Groce et al. 2012, Swarm Testing).
    """
    chance = random.Random(seed)
    parts = list(FAULTS)
    if chance.random() < 0.5:
        parts = chance.sample(parts, chance.randint(3, len(parts) - 1))
    steps: list[Step] = []
    while sum(step.after for step in steps) < seconds:
        part = chance.choice(parts)
        steps.append(Step(round(chance.uniform(0.2, 3.0), 2), part, chance.choice(FAULTS[part])))
    return tuple(steps)


def to_json(schedule: Schedule) -> str:
    """One step a line."""
    return "[\n" + ",\n".join(json.dumps(asdict(step)) for step in schedule) + "\n]\n"


def from_json(text: str) -> Schedule:
    """What `to_json` wrote."""
    return tuple(Step(**step) for step in json.loads(text))


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Leave out halves, quarters, ... single steps, as long as the rest still fails."""
    size = len(schedule) // 2
    while size >= 1:
        start = 0
        while start < len(schedule):
            rest = schedule[:start] + schedule[start + size :]
            if rest and fails(rest):
                schedule = rest
            else:
                start += size
        size //= 2
    return schedule

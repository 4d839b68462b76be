"""A shelf, a booth and a person in front of them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from mini_bundle import emotion_entry
from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step
from oahega_edge.manifest import EmotionEntry
from oahega_edge.samples.booth import Booth
from oahega_edge.samples.consent import ASKED
from oahega_edge.samples.sealed import Sample
from oahega_edge.samples.shelf import Shelf

KEY = X25519PrivateKey.generate()
RECIPIENT = KEY.public_key().public_bytes_raw()
ENTRY = EmotionEntry.model_validate_json(json.dumps(emotion_entry()))
LABELS = ("happy", "neutral", "sad")
FACE, OTHER = Box(0.3, 0.2, 0.6, 0.7), Box(0.7, 0.2, 0.9, 0.6)
PICTURE: Pixels = np.random.default_rng(7).integers(0, 256, (120, 160, 3), np.uint8)


@dataclass
class Days:
    """A calendar that the test turns."""

    day: date = date(2026, 3, 1)

    def __call__(self) -> date:
        return self.day

    def pass_by(self, days: int) -> None:
        self.day += timedelta(days)


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Mute:
    """What a booth sees of the mute switch."""

    muted: bool = False
    times: int = 0

    def mute(self) -> None:
        self.times += 1
        self.muted = True


@dataclass
class Setting:
    """A booth with all around it."""

    folder: Path
    most: int = 5
    consent: str = ASKED
    wait: float = 60.0
    masks: tuple[Box, ...] = ()
    days: Days = field(default_factory=Days)
    clock: Clock = field(default_factory=Clock)
    mute: Mute = field(default_factory=Mute)

    def __post_init__(self) -> None:
        self.shelf = Shelf(self.folder, self.most, 30, self.days)
        self.booth = Booth(
            self.shelf,
            RECIPIENT,
            self.consent,
            self.mute,
            clock=self.clock,
            today=self.days,
            least_px=20,
            masks=self.masks,
            wait=self.wait,
        )
        self.booth.use(ENTRY, LABELS, "tiny 1.0")


def png(seed: int = 0, side: int = 48) -> bytes:
    """Grey noise as a file."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side), np.uint8)
    return cv2.imencode(".png", pixels)[1].tobytes()


def a_sample(label: str = "happy", png: bytes = b"\x89PNG plain pixels of a face") -> Sample:
    return Sample(png, label, "tiny 1.0", ASKED, date(2026, 3, 1))


def frame() -> Frame:
    return Frame(PICTURE, 0.0, datetime(2026, 3, 1, tzinfo=UTC), 0)


def step(*boxes: Box) -> Step:
    return Step(tuple(TrackedFace(i, box, 0.9, None, "happy") for i, box in enumerate(boxes)), len(boxes), ())

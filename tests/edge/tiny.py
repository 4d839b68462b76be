"""The committed few-kB models (tests/data/make_tiny_models.py) with their manifest entries."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.manifest import InputTensor, OutputTensor

DATA = Path(__file__).resolve().parents[1] / "data"
NAMES = ("tiny_emotion", "tiny_emotion_float", "tiny_detector")


@dataclass(frozen=True)
class Tiny:
    """One model file and what a manifest says of it."""

    path: Path
    input: InputTensor
    outputs: tuple[OutputTensor, ...]

    def tensor(self, seed: int = 0) -> NDArray[Any]:
        """A valid input."""
        values = np.random.default_rng(seed).integers(-100, 100, self.input.shape)
        return (values / 100 if self.input.dtype == "float32" else values).astype(self.input.dtype)


def tiny(name: str) -> Tiny:
    """`name` of NAMES."""
    facts = json.loads((DATA / f"{name}.json").read_text())
    return Tiny(
        DATA / f"{name}.tflite",
        InputTensor(**facts["input"]),
        tuple(OutputTensor(**output) for output in facts["outputs"]),
    )

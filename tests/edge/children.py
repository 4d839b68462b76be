"""Models in a child process, whose runtime fails as FAULTY_RUNTIME says."""

from __future__ import annotations

from pathlib import Path

from oahega_edge.runtimes.isolated import Deadlines, ModelSpec, open_isolated
from tiny import tiny
from waiting import PATIENCE

FAULTY = f"file:{Path(__file__).with_name('faulty_runtime.py')}"


QUICK = Deadlines(first=PATIENCE, each=1.0)
"""For a child that hangs at a call that is not its model's first."""
PATIENT = Deadlines(first=PATIENCE, each=PATIENCE)
"""For all others: a busy machine must not make a healthy child late."""


def spec(name: str) -> ModelSpec:
    subject = tiny(name)
    return ModelSpec(subject.path, subject.outputs, subject.input)


def opened(name: str = "tiny_emotion_float", **options):
    return open_isolated({"model": spec(name)}, **options)["model"]

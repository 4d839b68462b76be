"""Events that wait, on a clock moved by hand."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from oahega_edge.contract.events import Event
from oahega_edge.publishers.store import Instant, Waiting
from processes import environment


@dataclass
class Clock:
    """Moved by hand."""

    wall: float = 1_800_000_000.0
    steady: float = 100.0
    origin: str = "start-1"

    def __call__(self) -> Instant:
        return Instant(self.wall, self.steady, self.origin)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


def waiting(made: list[Event], clock: Clock, first: int = 1) -> list[Waiting]:
    return [Waiting(first + n, each, clock()) for n, each in enumerate(made)]


def run_program(program: str, folder: Path, **how: object) -> None:
    done = subprocess.run(
        [sys.executable, "-c", program, folder],
        env=environment(),
        capture_output=True,
        text=True,
        **how,  # type: ignore[call-overload]
    )
    assert done.returncode == 0, done.stderr

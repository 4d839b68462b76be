"""What the motion gate saves: processor time per frame of a scene, with the gate and without."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.motion import Gate
from oahega_edge.chain.pipeline import Pipeline
from oahega_edge.errors import CameraError, EndOfSource

Detector = Callable[[Frame], list[Detection]]
READ_TIMEOUT = 10.0
FPS = 15.0
"""Frames get the times of a camera with this rate, so that the gate's seconds mean the same on every clip."""
WARM_UP = 20


@dataclass(frozen=True, slots=True)
class GateTimes:
    """Processor milliseconds per frame, all threads together."""

    decoding: float
    """Reading and decoding alone."""
    with_gate: float
    without_gate: float
    looks: float
    """Share of frames that the detector looked at with the gate."""
    faces: int
    """Faces that were seen; the scene is not empty where there are some."""

    @property
    def saved(self) -> float:
        """How many times less the chain takes with the gate."""
        return self.without_gate / self.with_gate

    @property
    def saved_with_decoding(self) -> float:
        """The same for reading, decoding and chain together."""
        return (self.decoding + self.without_gate) / (self.decoding + self.with_gate)

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "cpu_ms_per_frame": {
                "decoding": round(self.decoding, 3),
                "with_gate": round(self.with_gate, 3),
                "without_gate": round(self.without_gate, 3),
            },
            "looks_share": round(self.looks, 3),
            "faces": self.faces,
            "times_less": round(self.saved, 2),
            "times_less_with_decoding": round(self.saved_with_decoding, 2),
        }

    def as_text(self) -> str:
        """For people."""
        empty = "" if not self.faces else f"; {self.faces} faces were seen: this scene is not empty"
        return "\n".join(
            [
                f"processor time per frame: chain without the gate {self.without_gate:.2f} ms, "
                f"with it {self.with_gate:.2f} ms; decoding {self.decoding:.2f} ms",
                f"{self.saved:.1f} times less, decoding included {self.saved_with_decoding:.1f} times less; "
                f"the detector looked at {self.looks:.0%} of the frames{empty}",
            ]
        )


class CountedDetector:
    """The chain's detector, counted."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.looks = 0

    def __call__(self, frame: Frame) -> list[Detection]:
        """As the detector answers."""
        self.looks += 1
        return self._detector(frame)


def bench_gate(
    camera: Camera, new_pipeline: Callable[[], Pipeline], gates: tuple[Gate, Gate], *, steps: int
) -> GateTimes:
    """Send `steps` frames of a clip, repeated where it is shorter, through the chain with either gate.

    `gates`: closed where it can be, and open. Time is the process's own, not the wall's: another program on
    the machine does not count.
    """
    frames, decoding = _read(camera, steps)
    gated, open_ = new_pipeline(), new_pipeline()
    gated.gate, open_.gate = gates
    counted = CountedDetector(gated.detector)
    gated.detector = counted
    with_gate, faces = _chain(gated, frames, steps)
    without_gate, _ = _chain(open_, frames, steps)
    return GateTimes(decoding, with_gate, without_gate, counted.looks / (steps + WARM_UP), faces)


def _read(camera: Camera, most: int) -> tuple[list[Frame], float]:
    """The first frames of the clip, and processor milliseconds that one takes to come."""
    frames: list[Frame] = []
    with camera:
        started = time.process_time()
        while len(frames) < most:
            try:
                frames.append(camera.read(READ_TIMEOUT))
            except EndOfSource:
                break
        spent = time.process_time() - started
    if not frames:
        raise CameraError("the source has no frame; name another")
    return frames, 1000 * spent / len(frames)


def _chain(pipeline: Pipeline, frames: Sequence[Frame], steps: int) -> tuple[float, int]:
    """Processor milliseconds per frame, and faces seen."""
    faces = 0
    endless = enumerate(cycle(frames))
    timed = (replace(frame, captured_at=i / FPS, sequence=i) for i, frame in endless)
    for frame in islice(timed, WARM_UP):
        pipeline.process(frame)
    started = time.process_time()
    for frame in islice(timed, steps):
        faces += len(pipeline.process(frame).faces)
    return 1000 * (time.process_time() - started) / steps, faces

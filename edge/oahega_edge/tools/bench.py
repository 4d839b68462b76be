"""Times the chain stage by stage on this machine, and compares the whole with the bare models."""

from __future__ import annotations

import resource
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Any

import cv2
import numpy as np

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Pipeline, Step
from oahega_edge.contract.events import EventStamp
from oahega_edge.errors import CameraError, EndOfSource
from oahega_edge.stopwatch import Stopwatch

READ_TIMEOUT = 10.0
WARM_UP = 20
"""Steps that are not counted: first invocations plan memory and fill caches."""
INVOCATIONS = ("detector", "emotion")


@dataclass(frozen=True, slots=True)
class Times:
    """One stage over all counted steps, milliseconds."""

    p50: float
    p95: float
    mean: float
    calls: int


@dataclass(frozen=True, slots=True)
class BenchResult:
    """What `bench` prints."""

    width: int
    height: int
    steps: int
    faces_per_step: float
    stages: dict[str, Times]
    """In the order of the chain; `read` is the camera or file, `step` everything after it, JSON included."""
    invocations: Times
    """The bare models: what a step cannot do without."""
    frames_per_second: float
    """Steps per second, reading not counted."""
    ratio: float
    """Mean step over mean invocations."""
    difference_ms: float
    """Mean step minus mean invocations."""
    peak_memory_mb: float

    def as_json(self) -> dict[str, Any]:
        """For machines, rounded to microseconds."""

        def times(value: Times) -> dict[str, float]:
            return {
                "p50": round(value.p50, 3),
                "p95": round(value.p95, 3),
                "mean": round(value.mean, 3),
                "calls": value.calls,
            }

        return {
            "picture": f"{self.width}x{self.height}",
            "steps": self.steps,
            "faces_per_step": round(self.faces_per_step, 2),
            "stages_ms": {name: times(value) for name, value in self.stages.items()},
            "invocations_ms": times(self.invocations),
            "frames_per_second": round(self.frames_per_second, 1),
            "step_over_invocations": round(self.ratio, 3),
            "step_minus_invocations_ms": round(self.difference_ms, 3),
            "peak_memory_mb": round(self.peak_memory_mb, 1),
        }


def run_bench(
    camera: Camera, pipeline: Pipeline, stamp: EventStamp, *, steps: int, size: tuple[int, int] | None
) -> BenchResult:
    """Send `steps` frames through the chain; a shorter clip is repeated.

    `size` (width, height): frames are brought to this size before, outside of the measurement.
    """
    reading = Stopwatch(time.perf_counter, kept=steps)
    frames = list(_read(camera, reading, steps, size))
    endless = _numbered(cycle(frames))
    for frame in islice(endless, WARM_UP):
        pipeline.process(frame)
    watch = pipeline.watch
    watch.clear(kept=steps * 8)
    faces = 0
    for frame in islice(endless, steps):
        with watch.stage("step"):
            step = pipeline.process(frame)
            _serialised(step, stamp)
        faces += len(step.faces)
    return _result(watch, reading, frames[0], steps, faces)


def _read(camera: Camera, reading: Stopwatch, most: int, size: tuple[int, int] | None) -> Iterator[Frame]:
    with camera:
        for count in range(most):
            try:
                with reading.stage("read"):
                    frame = camera.read(READ_TIMEOUT)
            except EndOfSource:
                if count == 0:
                    raise CameraError("the source has no frame; name another") from None
                return
            if size is not None:
                pixels = np.asarray(cv2.resize(frame.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
                frame = replace(frame, pixels=pixels, overview=None)
            yield frame


def _numbered(frames: Iterable[Frame]) -> Iterator[Frame]:
    """Time goes on when the clip is repeated."""
    for i, frame in enumerate(frames):
        yield replace(frame, captured_at=i / 15, sequence=i)


def _serialised(step: Step, stamp: EventStamp) -> list[str]:
    return [
        stamp.stamp(decision, latency_ms=0, accelerator="cpu", degraded=False, time_synced=True).to_json()
        for decision in step.decisions
    ]


def _result(watch: Stopwatch, reading: Stopwatch, frame: Frame, steps: int, faces: int) -> BenchResult:
    stages = {"read": _times(reading.milliseconds("read"))}
    stages |= {name: _times(watch.milliseconds(name)) for name in watch.stages}
    step = stages["step"]
    per_step = sum(sum(watch.milliseconds(name)) for name in INVOCATIONS) / steps
    invocations = Times(
        p50=sum(stages[name].p50 for name in INVOCATIONS if name in stages),
        p95=sum(stages[name].p95 for name in INVOCATIONS if name in stages),
        mean=per_step,
        calls=sum(stages[name].calls for name in INVOCATIONS if name in stages),
    )
    return BenchResult(
        width=frame.width,
        height=frame.height,
        steps=steps,
        faces_per_step=faces / steps,
        stages=stages,
        invocations=invocations,
        frames_per_second=1000 / step.mean,
        ratio=step.mean / per_step,
        difference_ms=step.mean - per_step,
        peak_memory_mb=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def _times(milliseconds: list[float]) -> Times:
    values = np.array(milliseconds)
    return Times(
        float(np.percentile(values, 50)), float(np.percentile(values, 95)), float(values.mean()), len(values)
    )


def as_table(result: BenchResult) -> str:
    """For people."""
    lines = [f"{'stage':<16}{'p50 ms':>9}{'p95 ms':>9}{'mean ms':>9}{'calls':>8}"]
    for name, times in [*result.stages.items(), ("invocations", result.invocations)]:
        lines.append(f"{name:<16}{times.p50:>9.3f}{times.p95:>9.3f}{times.mean:>9.3f}{times.calls:>8}")
    lines += [
        "",
        f"{result.steps} steps of {result.width}x{result.height}, {result.faces_per_step:.2f} faces each: "
        f"{result.frames_per_second:.1f} frames per second",
        f"the whole step takes {result.ratio:.2f} times the bare models, {result.difference_ms:.2f} ms more",
        f"peak memory {result.peak_memory_mb:.0f} MB",
    ]
    return "\n".join(lines)

"""A file through the chain, in lock step: the same answer on every machine."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.trigger import Decision
from oahega_edge.errors import EndOfSource
from oahega_edge.publishers.jsonlines import JsonLinesPublisher
from oahega_edge.service.assembly import make_camera, make_identity, make_stamp
from oahega_edge.service.engine import Engine
from oahega_edge.service.health import monotonic
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tools.annotate import VideoFile, annotate
from oahega_edge.tools.still import judging

READ_TIMEOUT = 30.0


@dataclass(slots=True)
class ReplaySummary:
    """What a replay saw."""

    frames: int = 0
    frames_with_face: int = 0
    tracks: set[int] = field(default_factory=set)
    events: int = 0
    seconds: float = 0.0

    def add(self, step: Step, events: int) -> None:
        """Count one frame."""
        self.frames += 1
        self.frames_with_face += bool(step.faces)
        self.tracks |= {face.track for face in step.faces}
        self.events += events

    def __str__(self) -> str:
        return (
            f"{self.frames} frames in {self.seconds:.1f} s, {self.frames_with_face} with a face, "
            f"{len(self.tracks)} tracks, {self.events} events"
        )


def replay_source(setup: Setup, source: str, video: Path | None, out: TextIO) -> ReplaySummary:
    """Every frame of `source` through the chain; events to `out`, and drawn to `video` where it is named."""
    camera = make_camera(setup.settings, source)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(judging(setup, source), Stopwatch()))
        pipeline = engine.pipeline
        stack.enter_context(camera)
        publish = _publisher(setup, engine, out)
        writer = stack.enter_context(nullcontext() if video is None else VideoFile(video))
        labels = pipeline.classifier.labels
        summary = ReplaySummary()
        started = monotonic()
        while (frame := _next(camera)) is not None:
            read_at = monotonic()
            step = pipeline.process(frame)
            publish(step.decisions, read_at)
            summary.add(step, len(step.decisions))
            if writer is not None:
                writer.write(annotate(frame, step, labels), frame.captured_at)
        last = pipeline.finish().decisions
        publish(last, monotonic())
        summary.events += len(last)
        summary.seconds = monotonic() - started
    return summary


def _next(camera: Camera) -> Frame | None:
    try:
        return camera.read(READ_TIMEOUT)
    except EndOfSource:
        return None


def _publisher(setup: Setup, engine: Engine, out: TextIO) -> Callable[[tuple[Decision, ...], float], None]:
    stamp = make_stamp(make_identity(setup.settings), engine.bundle)
    lines = JsonLinesPublisher(out)

    def publish(decisions: tuple[Decision, ...], since: float) -> None:
        health = engine.accelerator()
        for decision in decisions:
            lines.publish(
                stamp.stamp(
                    decision,
                    latency_ms=(monotonic() - since) * 1000,
                    accelerator=health.active,
                    degraded=health.degraded,
                    time_synced=True,
                )
            )

    return publish

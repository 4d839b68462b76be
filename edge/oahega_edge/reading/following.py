"""Frames of a camera or file through the chain, with the events of each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.trigger import Decision
from oahega_edge.contract.events import Event
from oahega_edge.errors import CameraStalled, EndOfSource
from oahega_edge.service.assembly import make_identity, make_stamp
from oahega_edge.service.engine import Engine
from oahega_edge.service.health import monotonic
from oahega_edge.service.settings import Settings

READ_TIMEOUT = 30.0
"""Seconds."""


@dataclass(frozen=True, slots=True)
class Followed:
    """What one frame brought."""

    frame: Frame
    step: Step
    events: tuple[Event, ...]


class Follower:
    """Sends an open camera's frames through a chain."""

    def __init__(self, settings: Settings, engine: Engine, *, apart: bool = False) -> None:
        """`apart`: frames are separate pictures, and no face goes on from one to the next."""
        self._engine = engine
        self._apart = apart
        self._stamp = make_stamp(make_identity(settings), engine.bundle)

    def frames(self, camera: Camera) -> Iterator[Followed]:
        """Every frame until a file ends. Raises CameraStalled when a camera gives nothing."""
        while (frame := _next(camera)) is not None:
            since = monotonic()
            step = self._engine.pipeline.process(frame)
            events = self._events(step.decisions, since)
            yield Followed(frame, step, events + self.finish() if self._apart else events)

    def finish(self) -> tuple[Event, ...]:
        """The last event of every face in view."""
        return self._events(self._engine.pipeline.finish().decisions, monotonic())

    def events(self, camera: Camera) -> Iterator[Event]:
        """Every event. A camera that gives nothing ends its faces, and is waited for."""
        while True:
            try:
                for followed in self.frames(camera):
                    yield from followed.events
                break
            except CameraStalled:
                yield from self.finish()
        yield from self.finish()

    def _events(self, decisions: tuple[Decision, ...], since: float) -> tuple[Event, ...]:
        health = self._engine.accelerator()
        return tuple(
            self._stamp.stamp(
                decision,
                latency_ms=(monotonic() - since) * 1000,
                accelerator=health.active,
                degraded=health.degraded,
                time_synced=True,
            )
            for decision in decisions
        )


def _next(camera: Camera) -> Frame | None:
    try:
        return camera.read(READ_TIMEOUT)
    except EndOfSource:
        return None

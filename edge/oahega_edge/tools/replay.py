"""A file through the chain, in lock step: the same answer on every machine."""

from __future__ import annotations

from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from oahega_edge.publishers.jsonlines import lines_for
from oahega_edge.reading.following import Followed, Follower
from oahega_edge.reading.separate import judging, why_apart
from oahega_edge.service.assembly import make_camera
from oahega_edge.service.engine import Engine
from oahega_edge.service.health import monotonic
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tools.annotate import VideoFile, annotate
from oahega_edge.tools.checks import too_small


@dataclass(slots=True)
class ReplaySummary:
    """What a replay saw."""

    frames: int = 0
    frames_with_face: int = 0
    tracks: set[int] = field(default_factory=set)
    read: set[int] = field(default_factory=set)
    """Those of the tracks whose face was large enough to be read."""
    events: int = 0
    seconds: float = 0.0

    def add(self, followed: Followed) -> None:
        """Count one frame."""
        self.frames += 1
        self.frames_with_face += bool(followed.step.faces)
        self.tracks |= {face.track for face in followed.step.faces}
        self.read |= {face.track for face in followed.step.faces if face.average is not None}
        self.events += len(followed.events)

    def __str__(self) -> str:
        return (
            f"{self.frames} frames in {self.seconds:.1f} s, {self.frames_with_face} with a face, "
            f"{len(self.tracks)} tracks, {self.events} events{self._unread()}"
        )

    def _unread(self) -> str:
        """What to do about faces that are followed and never read."""
        unread = len(self.tracks - self.read)
        return f"; {too_small(unread)}" if unread else ""


def replay_source(
    setup: Setup,
    source: str,
    video: Path | None,
    out: TextIO,
    machine: bool = False,
    as_clip: bool | None = None,
) -> ReplaySummary:
    """Every frame of `source` through the chain; events to `out`, and drawn to `video` where it is named.

    `as_clip`: whether the pictures of a folder follow on each other; None finds out.
    """
    camera = make_camera(setup.settings, source)
    apart = _why_apart(source, as_clip)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(judging(setup, source, apart), Stopwatch()))
        stack.enter_context(camera)
        lines = lines_for(out, machine)
        writer = stack.enter_context(nullcontext() if video is None else VideoFile(video))
        follower = Follower(setup.settings, engine, apart=bool(apart))
        summary = ReplaySummary()
        started = monotonic()
        for followed in follower.frames(camera):
            for event in followed.events:
                lines.publish(event)
            summary.add(followed)
            if writer is not None:
                picture = annotate(followed.frame, followed.step, engine.labels)
                writer.write(picture, followed.frame.captured_at)
        for event in follower.finish():
            lines.publish(event)
            summary.events += 1
        summary.seconds = monotonic() - started
    return summary


def _why_apart(source: str, as_clip: bool | None) -> str:
    if as_clip is None:
        return why_apart(source)
    return "" if as_clip else "is taken as separate pictures"

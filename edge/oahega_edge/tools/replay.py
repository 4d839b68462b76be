"""A file through the chain, in lock step: the same answer on every machine."""

from __future__ import annotations

import logging
import re
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TextIO

from oahega_edge.endings import is_picture
from oahega_edge.publishers.jsonlines import lines_for
from oahega_edge.reading.following import Followed, Follower
from oahega_edge.service.assembly import make_camera
from oahega_edge.service.engine import Engine
from oahega_edge.service.health import monotonic
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tools.annotate import VideoFile, annotate
from oahega_edge.tools.still import judging

log = logging.getLogger(__name__)


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
        return f"; {unread} too small to be read: come closer, or set camera.roi" if unread else ""


def replay_source(
    setup: Setup, source: str, video: Path | None, out: TextIO, machine: bool = False
) -> ReplaySummary:
    """Every frame of `source` through the chain; events to `out`, and drawn to `video` where it is named."""
    _point_to_read(source)
    camera = make_camera(setup.settings, source)
    with ExitStack() as stack:
        engine = stack.enter_context(Engine(judging(setup, source), Stopwatch()))
        stack.enter_context(camera)
        lines = lines_for(out, machine)
        writer = stack.enter_context(nullcontext() if video is None else VideoFile(video))
        follower = Follower(setup.settings, engine)
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


def _point_to_read(source: str) -> None:
    """Say so where pictures are unrelated: `replay` takes them for a clip, and follows faces through it."""
    if _is_unordered(Path(source)):
        log.warning(
            "%s holds pictures without a common numbering, and they are played as one clip; "
            "`oahega-edge read` reads the faces of unrelated pictures",
            source,
        )


def _is_unordered(folder: Path) -> bool:
    """Whether the names of a folder's pictures differ in more than a number."""
    if not folder.is_dir():
        return False
    return len({re.sub(r"\d+", "", file.stem) for file in folder.iterdir() if is_picture(file)}) > 1

"""`oahega-edge run` that also writes down how long its steps took: `python soak_daemon.py FILE KEY=VALUE...`.

FILE receives pairs of float32 milliseconds, one pair a frame: the whole step, from the frame's arrival to the
wish for the next one, and the chain alone.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Pipeline, Step
from oahega_edge.service.assembly import make_daemon
from oahega_edge.service.journal import configure
from oahega_edge.service.settings import read_layers
from oahega_edge.service.setup import read_setup

PAIR = struct.Struct("<ff")


class TimedPipeline:
    """A pipeline that knows how long the last frame took."""

    def __init__(self, pipeline: Pipeline) -> None:
        self._pipeline = pipeline
        self.seconds = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pipeline, name)

    def process(self, frame: Frame) -> Step:
        began = time.perf_counter()
        step = self._pipeline.process(frame)
        self.seconds = time.perf_counter() - began
        return step


class TimedCamera(Camera):
    """A camera that measures what its reader does between two reads."""

    def __init__(self, camera: Camera, pipeline: TimedPipeline, out: BinaryIO) -> None:
        self.live = camera.live
        self._camera = camera
        self._pipeline = pipeline
        self._out = out
        self._given_at: float | None = None

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.__exit__(kind, error, trace)

    def read(self, timeout: float) -> Frame:
        if self._given_at is not None:
            whole = time.perf_counter() - self._given_at
            self._out.write(PAIR.pack(whole * 1000, self._pipeline.seconds * 1000))
            self._given_at = None
        frame = self._camera.read(timeout)
        self._given_at = time.perf_counter()
        return frame


def main(file: Path, assignments: list[str]) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *ignored: stop.set())
    setup = read_setup(read_layers(None, os.environ, assignments))
    configure(setup.settings.logging.level, os.environ)
    with file.open("wb") as out, make_daemon(setup, os.environ, stop) as daemon:
        engine = daemon.engines.current
        timed = TimedPipeline(engine.pipeline)
        engine.pipeline = timed  # type: ignore[assignment]
        daemon.camera = TimedCamera(daemon.camera, timed, out)
        daemon.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])

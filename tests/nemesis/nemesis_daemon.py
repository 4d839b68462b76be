"""`oahega-edge run` that writes down what it uses and makes: `python nemesis_daemon.py FILE CONFIG`.

FILE receives a line `frame SECONDS` for each frame that the loop gets, and `event SECONDS BOOT TRACK SEQ ID
PHASE` for each event that it makes, before it is handed over; seconds of the monotonic clock.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.contract.events import Event
from oahega_edge.errors import EdgeError
from oahega_edge.service.assembly import make_daemon, read_lasting_setup
from oahega_edge.service.journal import configure
from oahega_edge.service.settings import read_layers


class Notes:
    """Each line is written at once, so that a kill loses none."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


class NotedCamera(Camera):
    def __init__(self, camera: Camera, notes: Notes) -> None:
        self.live = camera.live
        self._camera = camera
        self._notes = notes

    def __enter__(self) -> Self:
        self._camera.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._camera.__exit__(kind, error, trace)

    def read(self, timeout: float) -> Frame:
        frame = self._camera.read(timeout)
        self._notes.write("frame", time.monotonic())
        return frame


class NotedPublisher:
    def __init__(self, publisher: Any, notes: Notes) -> None:
        self._publisher = publisher
        self._notes = notes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._publisher, name)

    def __enter__(self) -> Self:
        self._publisher.__enter__()
        return self

    def __exit__(self, *details: Any) -> None:
        self._publisher.__exit__(*details)

    def publish(self, event: Event) -> None:
        moment = time.monotonic()
        self._notes.write("event", moment, event.boot_id, event.track, event.seq, event.id, event.phase)
        self._publisher.publish(event)


def main(file: Path, config: Path) -> None:
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *ignored: stop.set())
    notes = Notes(file)
    setup = read_lasting_setup(read_layers(config, os.environ, []), os.environ)
    configure("info", os.environ)
    with make_daemon(setup, os.environ, stop) as daemon:
        daemon.camera = NotedCamera(daemon.camera, notes)
        daemon.publisher = NotedPublisher(daemon.publisher, notes)  # type: ignore[assignment]
        daemon.run()


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except EdgeError as error:
        print(f"oahega-edge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

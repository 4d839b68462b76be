"""`oahega-edge run` that writes down what it uses and makes: `python nemesis_daemon.py FILE CONFIG SLOWNESS`.

FILE receives a line `frame SECONDS` for each frame that is used, and `event SECONDS BOOT TRACK SEQ ID
PHASE` for each event that it makes, before it is handed over; seconds of the monotonic clock. While the file
SLOWNESS is there, the disk takes its time.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.contract.events import Event
from oahega_edge.errors import EdgeError
from oahega_edge.service.assembly import make_daemon, read_lasting_setup
from oahega_edge.service.journal import configure
from oahega_edge.service.settings import read_layers
from oahega_edge.stopping import stopped_by_signals


class Notes:
    """Each line is written at once, so that a kill loses none."""

    def __init__(self, file: Path) -> None:
        self._descriptor = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, *words: object) -> None:
        os.write(self._descriptor, (" ".join(map(str, words)) + "\n").encode())


class NotedOnlooker:
    def __init__(self, notes: Notes) -> None:
        self._notes = notes

    def saw(self, frame: Frame, step: Step) -> None:
        self._notes.write("frame", time.monotonic())


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


SLOW_SYNC_S = 0.7


def slow_down(slowness: Path) -> None:
    """Where a program waits for its card: when it syncs."""

    def slowed(sync: Callable[[int], None]) -> Callable[[int], None]:
        def slow(descriptor: int) -> None:
            if slowness.exists():
                time.sleep(SLOW_SYNC_S)
            sync(descriptor)

        return slow

    os.fsync, os.fdatasync = slowed(os.fsync), slowed(os.fdatasync)


def main(file: Path, config: Path) -> None:
    with stopped_by_signals(at_once=True) as stop:
        notes = Notes(file)
        setup = read_lasting_setup(read_layers(config, os.environ, []), os.environ)
        configure("info", os.environ)
        with make_daemon(setup, os.environ, stop) as daemon:
            stop.at_once = False
            daemon.onlooker = NotedOnlooker(notes)
            daemon.publisher = NotedPublisher(daemon.publisher, notes)  # type: ignore[assignment]
            daemon.run()


if __name__ == "__main__":
    try:
        slow_down(Path(sys.argv[3]))
        main(Path(sys.argv[1]), Path(sys.argv[2]))
    except EdgeError as error:
        print(f"oahega-edge: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

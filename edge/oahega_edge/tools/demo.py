"""`demo`: an embedded broker, the daemon and its page as processes, a subscriber that shows what it hears."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from oahega_edge.contract.events import Event
from oahega_edge.control.folders import SOCKET as CONTROL
from oahega_edge.errors import EdgeError
from oahega_edge.feed.socket import NAME as FEED
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.tools.broker import EmbeddedBroker, free_port
from oahega_edge.tools.demo_clip import SECONDS, write_demo_clip
from oahega_edge.tools.listen import Listener, Received, Summary, View, listen, view_for

DEVICE = "demo"
PAGE_PORT = 8321
GRACE_S = 120.0
"""On top of the clip's length, for slow machines."""
SIDES = ("left", "right")
"""The clip's two faces: one stays in the left half of the picture, one in the right."""


class DemoError(EdgeError):
    """The demo did not show what it is there to show."""


def run_demo(source: str | None, settings: Sequence[str], out: TextIO) -> Summary:
    """Show the chain at work; with the clip of our own, DemoError unless both its faces were spoken of.

    `source`: a camera or file of the user's, watched until it ends or Ctrl-C; None for the clip.
    """
    with tempfile.TemporaryDirectory(prefix="oahega-demo-") as folder, EmbeddedBroker() as broker:
        if source is None:
            _say("drawing the clip from two portraits in the public domain ...")
            clip = write_demo_clip(Path(folder) / "demo.mp4")
        options = BrokerOptions(host=broker.host, port=broker.port, client_id="oahega-demo-subscriber")
        with Listener(options, device=DEVICE) as listener:
            watched = f"loop:{clip}" if source is None else source
            port = _port_of_page(settings)
            chosen = [*settings, f"page.port={port}"] if port else settings
            with _daemon(watched, broker, Path(folder), chosen) as daemon, _page(port, Path(folder)):
                _say("loading the models, then the first faces appear ...")
                faces = _Faces(view_for(out, lines_for_machines=False))
                summary = listen(
                    listener,
                    faces,
                    enough=_until_shown(faces, daemon) if source is None else _until_ended(daemon, listener),
                )
    if source is None:
        absent = [side for side in SIDES if side not in faces.sides]
        if absent:
            raise DemoError(
                f"no event arrived for the face on the {' and the '.join(absent)} within "
                f"{SECONDS + GRACE_S:.0f} s; run `oahega-edge check`"
            )
    elif not summary.events:
        raise DemoError(f"no event arrived from {source}: no face was seen long and surely enough")
    return summary


def _say(step: str) -> None:
    """What the person in front of the screen waits for."""
    print(step, file=sys.stderr, flush=True)


class _Faces:
    """A view that also notes on which side of the picture the faces were."""

    def __init__(self, view: View) -> None:
        self._view = view
        self.sides: set[str] = set()

    def __enter__(self) -> _Faces:
        self._view.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self._view.__exit__(None, None, None)

    def show(self, received: Received) -> None:
        """Note the side, show the message."""
        if received.event is not None:
            self.sides.add(_side(received.event))
        self._view.show(received)


def _side(event: Event) -> str:
    left, _, width, _ = event.box
    return SIDES[left + width / 2 >= 0.5]


def _until_shown(faces: _Faces, daemon: subprocess.Popen[bytes]) -> Callable[[Summary], bool]:
    """The clip has been shown once and both faces were seen, or the time is over, or the daemon died."""
    started = time.monotonic()

    def enough(summary: Summary) -> bool:
        elapsed = time.monotonic() - started
        shown = elapsed > SECONDS and faces.sides == set(SIDES)
        return shown or elapsed > SECONDS + GRACE_S or daemon.poll() is not None

    return enough


def _until_ended(daemon: subprocess.Popen[bytes], listener: Listener) -> Callable[[Summary], bool]:
    """The source has ended and its last events have had a moment to arrive."""
    ended: list[float] = []

    def enough(summary: Summary) -> bool:
        if daemon.poll() is not None and not ended:
            ended.append(time.monotonic())
        return bool(ended) and time.monotonic() - ended[0] > 1.0

    return enough


@contextmanager
def _daemon(
    source: str, broker: EmbeddedBroker, folder: Path, settings: Sequence[str]
) -> Iterator[subprocess.Popen[bytes]]:
    """`oahega-edge run` beside us."""
    chosen = [
        f"camera.source={source}",
        "deployment.context=development",
        f"device.name={DEVICE}",
        f"mqtt.host={broker.host}",
        f"mqtt.port={broker.port}",
        "logging.level=warning",
        *settings,
    ]
    command = [sys.executable, "-m", "oahega_edge", "run", f"--config={os.devnull}"]
    command += [f"--set={assignment}" for assignment in chosen]
    environment = os.environ | {"RUNTIME_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder)}
    with _process(command, environment) as process:
        yield process


def _port_of_page(settings: Sequence[str]) -> int:
    """The usual one, or where that is taken any other; 0: no page, or one that the settings ask for."""
    if importlib.util.find_spec("uvicorn") is None or any(each.startswith("page.") for each in settings):
        return 0
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", PAGE_PORT))
            return PAGE_PORT
    return free_port()


@contextmanager
def _page(port: int, folder: Path) -> Iterator[None]:
    """The device's own page, while the demo runs."""
    if not port:
        yield
        return
    command = [sys.executable, "-m", "oahega_edge.page", f"--port={port}"]
    command += [f"--feed={folder / FEED}", f"--control={folder / CONTROL}"]
    with _process(command, os.environ) as page:
        if _answers(port, page):
            _say(f"the device's own page, while the demo runs: http://127.0.0.1:{port}/")
        yield


def _answers(port: int, page: subprocess.Popen[bytes]) -> bool:
    """Whether the page listens within a few seconds."""
    for _ in range(round(GRACE_S / 0.1)):
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        if page.poll() is not None:
            return False
        time.sleep(0.1)
    return False


@contextmanager
def _process(command: Sequence[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """Stopped as systemd would stop it."""
    process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

"""Whoever reaches the daemon's ports and topics may ask too much of it: frames go on, within bounds."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from brokers import Ear, Mosquitto, free_port, needs_mosquitto
from kiosk import started
from oahega_edge.contract.messages import Health
from oahega_edge.tools.demo_clip import write_demo_clip
from waiting import await_end, beside, wait_until

pytestmark = [pytest.mark.broker, needs_mosquitto]

HEALTHS = 6
"""Messages of health with frames in them, one a second at most, for which a flood lasts."""
MORE_MB = 60
MORE_THREADS = 8


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_demo_clip(tmp_path_factory.mktemp("clip") / "demo.mp4", seconds=4.0)


@pytest.fixture
def metrics() -> int:
    return free_port()


@pytest.fixture
def daemon(tmp_path: Path, clip: Path, mosquitto: Mosquitto, metrics: int) -> Iterator[psutil.Process]:
    with started(tmp_path, clip, mosquitto, metrics__port=metrics) as process:
        yield psutil.Process(process.pid)


def births(ear: Ear, port: int) -> None:
    ear.say("homeassistant/status", b"online")


def infos(ear: Ear, port: int) -> None:
    ear.say("oahega/v1/kiosk/info", json.dumps({"boot_id": "another", "more": "x" * 500_000}).encode())


def commands(ear: Ear, port: int) -> None:
    for name in ("set", "snapshot-state", "nonsense"):
        ear.say(f"oahega/v1/kiosk/cmd/{name}", b"{" * 100_000)
        ear.say(f"oahega/v1/kiosk/cmd/{name}", b"{}")


def retained_commands(ear: Ear, port: int) -> None:
    ear.say(f"oahega/v1/kiosk/cmd/x{time.monotonic_ns()}", b"x" * 1000, retain=True)


def connections(ear: Ear, port: int) -> None:
    for _ in range(20):
        with contextlib.suppress(OSError):
            one = socket.create_connection(("127.0.0.1", port), 1.0)
            one.sendall(b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 10)
            HELD.append(one)


HELD: list[socket.socket] = []
FLOODS = (births, infos, commands, retained_commands, connections)


@pytest.mark.lengthy
@pytest.mark.parametrize("flood", FLOODS, ids=[flood.__name__ for flood in FLOODS])
def test_frames_go_on_in_a_flood(
    daemon: psutil.Process, mosquitto: Mosquitto, metrics: int, flood: object
) -> None:
    with Ear(mosquitto.port) as ear, Ear(mosquitto.port) as other:

        def healths() -> list[Health]:
            return [Health.model_validate_json(each.text) for each in ear.on("/kiosk/health")]

        wait_until(lambda: ear.on("/event") and len(healths()) > 1)
        memory, threads = daemon.memory_info().rss, daemon.num_threads()
        stop = threading.Event()

        def pour() -> None:
            while not stop.is_set():
                flood(other, metrics)  # type: ignore[operator]

        pouring = beside(pour)
        before = len(healths())
        most_threads = threads

        def frames_went_on() -> bool:
            nonlocal most_threads
            most_threads = max(most_threads, daemon.num_threads())
            return sum(health.fps > 0 for health in healths()[before:]) >= HEALTHS

        try:
            wait_until(frames_went_on)
        finally:
            stop.set()
            await_end(pouring)
        events = len(ear.on("/event"))
        wait_until(lambda: len(ear.on("/event")) > events)

        assert most_threads <= threads + MORE_THREADS
        assert daemon.memory_info().rss - memory < MORE_MB << 20
    while HELD:
        HELD.pop().close()

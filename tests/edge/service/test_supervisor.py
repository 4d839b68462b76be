"""systemd's side is a real datagram socket."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys

import pytest

from oahega_edge.service.supervisor import NoSupervisor, SystemdSupervisor, find_supervisor


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    """A listening socket and its address as NOTIFY_SOCKET gives it."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@oahega-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(address.replace("@", "\0"))
        listening.setblocking(False)
        yield listening, address


def received(listening: socket.socket) -> list[str]:
    messages = []
    with contextlib.suppress(BlockingIOError):
        while True:
            messages.append(listening.recv(4096).decode())
    return messages


@contextlib.contextmanager
def supervisor(address: str, watchdog_s: float | None = 3.0, clock: Clock | None = None):
    made = SystemdSupervisor(address, watchdog_s, clock=clock or Clock())
    try:
        yield made
    finally:
        made.close()


def test_ready_is_said_once(systemd):
    listening, address = systemd
    with supervisor(address) as told:
        told.ready()
        told.ready()

    assert received(listening) == ["READY=1"]


def test_alive_is_said_three_times_per_watchdog_period(systemd):
    listening, address = systemd
    clock = Clock()
    with supervisor(address, watchdog_s=3.0, clock=clock) as told:
        for _ in range(90):
            told.alive()
            clock.now += 1 / 30

    assert received(listening) == ["WATCHDOG=1"] * 3


def test_without_a_watchdog_alive_says_nothing(systemd):
    listening, address = systemd
    with supervisor(address, watchdog_s=None) as told:
        told.alive()

    assert received(listening) == []


def test_a_status_is_one_line_and_said_when_it_changes(systemd):
    listening, address = systemd
    with supervisor(address) as told:
        told.status("waiting for the camera")
        told.status("waiting for the camera")
        told.status("two faces\nREADY=0")

    assert received(listening) == ["STATUS=waiting for the camera", "STATUS=two faces READY=0"]


def test_stopping_is_said(systemd):
    listening, address = systemd
    with supervisor(address) as told:
        told.stopping()

    assert received(listening) == ["STOPPING=1"]


def test_a_full_socket_blocks_nothing_and_ready_is_said_later(systemd):
    listening, address = systemd
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as others:
        others.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                others.sendto(b"STATUS=noise", address.replace("@", "\0"))
    with supervisor(address) as told:
        told.ready()
        told.alive()
        while_full = received(listening)
        told.alive()

    assert set(while_full) == {"STATUS=noise"}
    assert received(listening) == ["READY=1", "WATCHDOG=1"]


def test_a_socket_that_is_gone_hurts_nobody(tmp_path):
    with supervisor(str(tmp_path / "nobody")) as told:
        told.ready()
        told.alive()
        told.stopping()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_without_a_usable_socket_nobody_is_told(environment):
    assert isinstance(find_supervisor(environment), NoSupervisor)


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ({"WATCHDOG_USEC": "30000000"}, ["READY=1", "WATCHDOG=1"]),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, ["READY=1"]),
        ({"WATCHDOG_USEC": "soon"}, ["READY=1"]),
        ({}, ["READY=1"]),
    ],
)
def test_the_environment_says_whether_there_is_a_watchdog(systemd, more, expected):
    listening, address = systemd
    code = (
        "from oahega_edge.service.supervisor import find_supervisor\n"
        "told = find_supervisor()\ntold.ready()\ntold.alive()\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith("WATCHDOG")}

    subprocess.run([sys.executable, "-c", code], env=clean | {"NOTIFY_SOCKET": address} | more, check=True)

    assert received(listening) == expected

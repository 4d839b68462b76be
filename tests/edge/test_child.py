"""A process of our own: what it is told, how it ended, and that nothing of it is left."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

import pytest

from descriptors import descriptors
from oahega_edge.child import ChildProcess, bare_environment
from waiting import PATIENCE, wait_until

LISTENS = "import socket, sys; socket.socket(fileno=int(sys.argv[1])).recv(1)"
HANGS = "import signal; signal.pause()"


def child(program: str) -> ChildProcess:
    return ChildProcess([sys.executable, "-I", "-c", program], os.memfd_create("memory"))


def test_a_child_that_is_let_go_ends_in_order_and_leaves_nothing_open() -> None:
    before = descriptors()
    process = child(LISTENS)

    assert process.end(PATIENCE, PATIENCE)

    assert process.fate(0) == "exited with 0"
    assert descriptors() <= before


def test_a_child_that_hangs_is_killed() -> None:
    process = child(HANGS)

    assert process.fate(0.01) is None
    assert process.end(0.01, PATIENCE)

    assert process.fate(0) == "was ended by SIGKILL"


@pytest.mark.parametrize(
    ("program", "fate"),
    [
        ("raise SystemExit(3)", "exited with 3"),
        ("import os; os.abort()", "was ended by SIGABRT"),
        ("import os; os.kill(os.getpid(), 40)", "was ended by signal 40"),
    ],
)
def test_how_a_child_ended_is_said_for_every_code_and_signal(program: str, fate: str) -> None:
    process = child(program)

    assert process.fate(PATIENCE) == fate
    process.end(0, PATIENCE)


@pytest.mark.parametrize("program", ["/nowhere/python", "/", "/dev/null"])
def test_a_start_that_fails_leaves_nothing_open(program: str) -> None:
    before = descriptors()

    with pytest.raises(OSError, match=r"No such file|Permission denied|Is a directory"):
        ChildProcess([program], os.memfd_create("memory"))

    assert descriptors() <= before


def test_a_child_ends_when_its_parent_was_killed(tmp_path: Path) -> None:
    lives = tmp_path / "lives"
    os.mkfifo(lives)
    inside = (
        "import os, signal, sys; from oahega_edge.runtimes.worker import end_with_parent;"
        f"end_with_parent(int(sys.argv[3])); file = os.open({str(lives)!r}, os.O_WRONLY);"
        "os.write(file, b'x'); signal.pause()"
    )
    starts = (
        "import os, signal, sys; from oahega_edge.child import ChildProcess;"
        f"child = ChildProcess([sys.executable, '-c', {inside!r}], os.memfd_create('memory')); signal.pause()"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    parent = os.spawnve(os.P_NOWAIT, sys.executable, [sys.executable, "-c", starts], environment)
    pipe = os.open(lives, os.O_RDONLY | os.O_NONBLOCK)

    def said() -> bytes | None:
        """Nothing before the child has opened it and after it is gone; None while it is silent."""
        with contextlib.suppress(BlockingIOError):
            return os.read(pipe, 1)
        return None

    try:
        wait_until(lambda: said() == b"x")
    finally:
        os.kill(parent, signal.SIGKILL)
        os.waitpid(parent, 0)

    wait_until(lambda: said() == b"")
    os.close(pipe)


def test_a_child_knows_no_setting_and_no_credential(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OAHEGA_CAMERA_SOURCE", "OAHEGA_MQTT_USERNAME", "CREDENTIALS_DIRECTORY", "NOTIFY_SOCKET"):
        monkeypatch.setenv(name, "secret")

    assert "secret" not in bare_environment().values()

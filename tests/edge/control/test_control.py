"""The control socket: it is made where nobody else can put one, and a slow client keeps nobody waiting."""

from __future__ import annotations

import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from descriptors import descriptors_free
from oahega_edge.control import folders
from oahega_edge.control.client import NobodyListens, ask, ask_all
from oahega_edge.control.folders import claimed, not_ours, own_folder, sockets
from oahega_edge.control.server import LONGEST_REQUEST, MOST_CLIENTS, ControlServer
from oahega_edge.errors import EdgeError
from waiting import PATIENCE, wait_until


@pytest.fixture
def folder() -> Iterator[Path]:
    """Of a short name: the path of a socket has at most 107 bytes."""
    with TemporaryDirectory(prefix="oahega-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def server(folder: Path) -> Iterator[Path]:
    with ControlServer(folder / "control.sock", lambda request, value: {"asked": request}):
        yield folder / "control.sock"


def connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(PATIENCE)
    connection.connect(str(path))
    return connection


def drips(connection: socket.socket, stop: threading.Event) -> None:
    """A byte now and then, never a whole request."""
    while not stop.wait(0.05):
        try:
            connection.send(b" ")
        except OSError:
            return


@pytest.mark.parametrize("clients", [1, MOST_CLIENTS, 3 * MOST_CLIENTS])
@pytest.mark.parametrize("talk", ["drips", "is silent", "sends half a request"])
def test_slow_clients_keep_nobody_waiting(server: Path, clients: int, talk: str) -> None:
    stop = threading.Event()
    slow = [connected(server) for _ in range(clients)]
    for connection in slow:
        if talk == "drips":
            threading.Thread(target=drips, args=(connection, stop), daemon=True).start()
        elif talk == "sends half a request":
            connection.send(b'{"request": "sta')

    answer = ask(server, "mute")

    stop.set()
    for connection in slow:
        connection.close()
    assert answer == {"asked": "mute"}


def test_slow_clients_take_a_bounded_number_of_threads(server: Path) -> None:
    before = threading.active_count()
    slow = [connected(server) for _ in range(5 * MOST_CLIENTS)]

    ask(server, "status")

    wait_until(lambda: threading.active_count() <= before + MOST_CLIENTS)
    for connection in slow:
        connection.close()


@pytest.mark.parametrize(
    "request_",
    [b"", b"\n", b"{", b"[]\n", b"[" * 4000 + b"\n", b'{"request"\n', b"\xff\xfe\n", b"x" * LONGEST_REQUEST],
)
def test_a_malformed_request_is_answered_and_the_next_one_too(server: Path, request_: bytes) -> None:
    with connected(server) as connection:
        connection.sendall(request_)
        connection.shutdown(socket.SHUT_WR)
        answer = json.loads(connection.makefile("rb").readline())

    assert "a request is one line of JSON" in answer["error"]
    assert ask(server, "status") == {"asked": "status"}


def test_a_mute_that_comes_while_no_descriptor_is_free_is_answered_afterwards(
    server: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        with descriptors_free(0):
            client.connect(str(server))
            wait_until(lambda: "have to wait" in caplog.text)
        client.settimeout(PATIENCE)
        client.sendall(b'{"request": "mute"}\n')
        answer = client.recv(LONGEST_REQUEST)

    assert json.loads(answer) == {"asked": "mute"}
    assert ask(server, "status") == {"asked": "status"}


def test_a_request_that_fails_is_answered_and_the_next_one_too(folder: Path) -> None:
    def fail(request: str, value: object) -> dict[str, str]:
        return {"asked": {"good": request}[request]}

    with ControlServer(folder / "control.sock", fail):
        with pytest.raises(EdgeError, match="the log says why"):
            ask(folder / "control.sock", "bad")
        assert ask(folder / "control.sock", "good") == {"asked": "good"}


@pytest.mark.parametrize(
    "kind",
    [
        "of another user",
        "inside one of another user",
        "writable by all",
        "inside one writable by all",
        "a link of another user",
        "a link to one writable by all",
    ],
)
def test_no_socket_is_made_where_others_could_put_theirs(folder: Path, kind: str) -> None:
    place = folder / "place"
    place.mkdir(mode=0o700)
    if kind.startswith("a link"):
        place.rename(folder / "elsewhere")
        place.symlink_to(folder / "elsewhere")
    if "of another user" in kind:
        if os.geteuid() != 0:
            pytest.skip("only root can give a folder away")
        os.chown(place, 12345, -1, follow_symlinks=False)
    else:
        place.chmod(0o777)
    if kind.startswith("inside"):
        place = place / "own"
        place.mkdir(mode=0o700)

    with ControlServer(place / "control.sock", lambda request, value: {}):
        assert not (place / "control.sock").exists()
    assert not_ours(place)


def test_the_folder_is_never_a_predictable_one_that_others_may_make() -> None:
    folder = own_folder({"HOME": "/home/somebody"}, "kiosk")

    assert folder == Path("/home/somebody/.local/state/oahega-edge-kiosk")
    assert own_folder({"XDG_RUNTIME_DIR": "/run/user/7"}, "a") == Path("/run/user/7/oahega-edge-a")
    assert own_folder({"RUNTIME_DIRECTORY": "/run/x:/run/y"}, "a") == Path("/run/x")


def test_a_socket_that_a_killed_daemon_left_is_replaced(folder: Path) -> None:
    path = folder / "control.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as dead:
        dead.bind(str(path))

    with pytest.raises(NobodyListens):
        ask(path, "status")
    with ControlServer(path, lambda request, value: {"asked": request}):
        assert ask(path, "status") == {"asked": "status"}


def test_a_socket_at_which_somebody_answers_is_not_taken_away(server: Path) -> None:
    with pytest.raises(EdgeError, match="another oahega-edge listens"), ControlServer(server, lambda *_: {}):
        pass

    assert ask(server, "status") == {"asked": "status"}


def test_a_folder_has_one_daemon_until_that_ends(folder: Path) -> None:
    with claimed([folder]), pytest.raises(EdgeError, match="another oahega-edge uses"), claimed([folder]):
        pass
    with claimed([folder / ".", folder]):
        assert list(folder.iterdir()) == []  # the lock needs no file


@pytest.fixture
def no_service(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A daemon that runs on this machine shall not be muted by a test."""
    monkeypatch.setattr(folders, "SYSTEM", tmp_path)


@pytest.mark.usefixtures("no_service")
def test_one_is_asked_by_its_name_and_all_without(folder: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(folder)}
    left, right = (own_folder(environment, name) / "control.sock" for name in ("left", "right"))

    with (
        ControlServer(left, lambda request, value: {"by": "left"}),
        ControlServer(right, lambda request, value: {"by": "right"}),
    ):
        both = ask_all(environment, "mute", None)
        one = ask_all(environment, "mute", "right")

    assert {path.parent.name for path in sockets(environment)} >= {"oahega-edge-left", "oahega-edge-right"}
    assert both == {"left": {"by": "left"}, "right": {"by": "right"}}
    assert one == {"right": {"by": "right"}}
    with pytest.raises(NobodyListens, match="'middle'"):
        ask_all(environment, "mute", "middle")


@pytest.mark.usefixtures("no_service")
def test_mute_of_all_fails_when_one_does_not_obey_and_says_which_did(folder: Path) -> None:
    environment = {"XDG_RUNTIME_DIR": str(folder)}

    def refuse(request: str, value: object) -> dict[str, str]:
        return {"error": "not now"}

    with (
        ControlServer(
            own_folder(environment, "left") / "control.sock", lambda request, value: {"muted": True}
        ),
        ControlServer(own_folder(environment, "right") / "control.sock", refuse),
        pytest.raises(EdgeError, match=r"not now[\s\S]*answered by left only"),
    ):
        ask_all(environment, "mute", None)


@contextmanager
def as_nobody() -> Iterator[None]:
    """Another user, in no group of ours."""
    groups = os.getgroups()
    os.setgroups([])
    os.setegid(65_534)
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(0)
        os.setgroups(groups)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
@pytest.mark.parametrize("request_", ["status", "mute"])
def test_a_user_outside_of_the_group_is_told_which_one(server: Path, request_: str) -> None:
    server.parent.chmod(0o750)
    with as_nobody(), pytest.raises(EdgeError) as caught:
        ask(server, request_)

    assert "speaks to members of the group root only" in str(caught.value)
    assert "sudo adduser $USER root" in str(caught.value)

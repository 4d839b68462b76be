"""The daemon's side of the control socket: one JSON request and one JSON answer a line.

Each client has a thread, so that a slow one keeps nobody else waiting. There are at most `MOST_CLIENTS`; one
more takes the place of the one that has sent no request for the longest time.
"""

from __future__ import annotations

import json
import logging
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oahega_edge.control.folders import not_ours
from oahega_edge.errors import EdgeError, plain

_log = logging.getLogger(__name__)

LONGEST_REQUEST = 4096
"""Bytes."""
REQUEST_S = 5.0
"""Seconds in which a whole request must arrive."""
MOST_CLIENTS = 16
PAUSE_S = 0.2
"""Seconds before the next client is let in when the system has no room for one."""

Handler = Callable[[str, Any], Mapping[str, Any]]
"""Takes the request and its value, which is None or any JSON."""


class ControlServer:
    """Answers requests on threads of its own. `handler` must be thread-safe."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._listener: socket.socket | None = None
        self._ends = False
        self._clients = _Clients()

    def __enter__(self) -> Self:
        """Listen; where that is impossible the daemon goes on without, and says so."""
        try:
            self._listener = self._listening()
        except OSError as error:
            _log.warning(
                "no control socket at %s (%s); mute and status will not reach this process",
                self._path,
                error.strerror or error,
            )
        else:
            threading.Thread(target=self._serve, args=(self._listener,), name="control", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and take the socket away."""
        self._ends = True
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _listening(self) -> socket.socket:
        self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        reason = not_ours(self._path.parent)
        if reason:
            raise OSError(f"{reason}; set XDG_RUNTIME_DIR to a folder of this user's")
        _replace(self._path)
        new = self._path.with_suffix(".new")  # no longer than the name: an address has at most 108 bytes
        new.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            listener.bind(str(new))
            new.chmod(0o660)
            listener.listen(socket.SOMAXCONN)
            new.rename(self._path)  # whoever sees it is heard
        except OSError:
            listener.close()
            raise
        return listener

    def _serve(self, listener: socket.socket) -> None:
        said: str | None = None
        while True:
            try:
                connection, _ = listener.accept()
            except OSError as error:  # no descriptor or no memory is free, unless it was shut down
                if self._ends:
                    return
                if said != error.strerror:
                    _log.warning("control requests have to wait: %s", error.strerror)
                said = error.strerror
                time.sleep(PAUSE_S)
                continue
            said = None
            self._clients.admit(connection)
            try:
                threading.Thread(target=self._talk, args=(connection,), name="control", daemon=True).start()
            except RuntimeError as error:  # the limit of threads
                _log.warning("a control request was dropped: %s", error)
                self._clients.dismiss(connection)
                connection.close()

    def _talk(self, connection: socket.socket) -> None:
        with connection:
            try:
                line = _read_line(connection)
                self._clients.dismiss(connection)
                connection.settimeout(REQUEST_S)
                connection.sendall(json.dumps(self._answer(line)).encode() + b"\n")
            except OSError as error:
                _log.debug("control request dropped: %s", error)
            finally:
                self._clients.dismiss(connection)

    def _answer(self, line: bytes) -> Mapping[str, Any]:
        try:
            asked = json.loads(line)
            request, value = asked["request"], asked.get("value")
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            return {"error": 'a request is one line of JSON: {"request": "status"}'}
        try:
            return self._handler(str(request), value)
        except Exception:
            _log.exception("control request %s failed", plain(request))
            return {"error": "it failed; the log says why"}


class _Clients:
    """Connections whose request has not arrived yet, the oldest first."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: list[socket.socket] = []

    def admit(self, connection: socket.socket) -> None:
        with self._lock:
            self._waiting.append(connection)
            if len(self._waiting) > MOST_CLIENTS:
                with suppress(OSError):
                    self._waiting.pop(0).shutdown(socket.SHUT_RDWR)  # its thread reads the end and closes it

    def dismiss(self, connection: socket.socket) -> None:
        with self._lock, suppress(ValueError):
            self._waiting.remove(connection)


def _read_line(connection: socket.socket) -> bytes:
    """Up to the end of the line, the connection or the longest request; TimeoutError when that takes long."""
    deadline = time.monotonic() + REQUEST_S
    line = b""
    while b"\n" not in line and len(line) < LONGEST_REQUEST:
        connection.settimeout(max(0.001, deadline - time.monotonic()))
        part = connection.recv(LONGEST_REQUEST - len(line))
        if not part:
            break
        line += part
    return line


def _replace(path: Path) -> None:
    """Take away what a killed daemon left; EdgeError where one still answers."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(REQUEST_S)
        with suppress(OSError):
            probe.connect(str(path))
            raise EdgeError(f"another oahega-edge listens at {path} already; stop it")
    path.unlink(missing_ok=True)

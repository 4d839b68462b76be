"""The local control socket: `status`, `mute` and `unmute` without a network.

One JSON request a line, one JSON answer a line, over a Unix stream socket that only the device's own
users reach.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from oahega_edge.errors import EdgeError

_log = logging.getLogger(__name__)

LONGEST_REQUEST = 4096
"""Bytes."""
TIMEOUT = 5.0
"""Seconds that either side waits for the other."""

Handler = Callable[[str], Mapping[str, Any]]


def socket_path(environment: Mapping[str, str]) -> Path:
    """systemd's RuntimeDirectory where there is one, else the user's."""
    folder = environment.get("RUNTIME_DIRECTORY", "").split(":")[0]
    if folder:
        return Path(folder) / "control.sock"
    service = Path("/run/oahega-edge/control.sock")
    if service.exists():
        return service
    return Path(environment.get("XDG_RUNTIME_DIR") or f"/tmp/oahega-edge-{os.getuid()}") / "control.sock"


class ControlServer:
    """Answers requests on a thread of its own. `handler` must be quick and thread-safe."""

    def __init__(self, path: Path, handler: Handler) -> None:
        self._path = path
        self._handler = handler
        self._listener: socket.socket | None = None
        self._thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        """Listen; where that is impossible the daemon goes on without, and says so."""
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._path.unlink(missing_ok=True)
            self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self._listener.bind(str(self._path))
            self._path.chmod(0o660)
            self._listener.listen(4)
        except OSError as error:
            _log.warning(
                "no control socket at %s (%s); mute and status will not reach this process",
                self._path,
                error.strerror,
            )
            self._listener = None
            return self
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening and take the socket away."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept, which close alone does not
            self._listener.close()
            self._path.unlink(missing_ok=True)

    def _serve(self) -> None:
        listener = self._listener
        assert listener is not None
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return  # shut down
            with connection:
                connection.settimeout(TIMEOUT)
                try:
                    self._answer(connection)
                except OSError as error:
                    _log.debug("control request dropped: %s", error)

    def _answer(self, connection: socket.socket) -> None:
        line = connection.makefile("rb").readline(LONGEST_REQUEST)
        try:
            request = json.loads(line)["request"]
            answer = self._handler(str(request))
        except (ValueError, TypeError, KeyError, RecursionError):
            answer = {"error": 'a request is one line of JSON: {"request": "status"}'}
        connection.sendall(json.dumps(answer).encode() + b"\n")


def ask(path: Path, request: str) -> dict[str, Any]:
    """Send one request to a running daemon and return its answer."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(TIMEOUT)
            connection.connect(str(path))
            connection.sendall(json.dumps({"request": request}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError) as error:
        raise EdgeError(
            f"no daemon answers at {path} ({error}); is oahega-edge running as this user?"
        ) from error
    if "error" in answer:
        raise EdgeError(f"the daemon refused {request!r}: {answer['error']}")
    return dict(answer)

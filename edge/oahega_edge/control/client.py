"""The other side of the control socket: asks one running daemon, or all of them."""

from __future__ import annotations

import errno
import grp
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from oahega_edge.control.folders import name_of, sockets
from oahega_edge.errors import EdgeError

ANSWER_S = 10.0
"""Seconds that an answer may take; closing a camera whose driver hangs takes some."""
_NOBODY = {errno.ENOENT, errno.ECONNREFUSED}
"""No socket, or one that a killed daemon left behind."""


class NobodyListens(EdgeError):
    """No daemon is there."""


class Refused(EdgeError):
    """The daemon says no, and why."""

    def __init__(self, sentence: str, reason: str | None = None) -> None:
        """`reason`: one word for programs, where the daemon has one."""
        super().__init__(sentence)
        self.reason = reason


def ask(path: Path, request: str, value: object = None) -> dict[str, Any]:
    """Send one request, with a value if it takes one, to the daemon at a socket and return its answer.

    Refused when the daemon understands it and says no; another EdgeError when it does not answer.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(ANSWER_S)
            _connect(connection, path)
            connection.sendall(json.dumps({"request": request, "value": value}).encode() + b"\n")
            answer = json.loads(connection.makefile("rb").readline())
    except PermissionError as error:
        raise EdgeError(_not_allowed(path)) from error
    except (OSError, ValueError) as error:
        nobody = isinstance(error, OSError) and error.errno in _NOBODY
        raise (NobodyListens if nobody else EdgeError)(
            f"no daemon answers at {path} ({error}); is oahega-edge running as this user?"
        ) from error
    if "error" in answer:
        raise Refused(f"the daemon refused {request!r}: {answer['error']}", answer.get("reason"))
    return dict(answer)


def _not_allowed(path: Path) -> str:
    """What a user can do who is not in the group of the daemon."""
    try:
        group = grp.getgrgid(path.parent.stat().st_gid).gr_name
    except (OSError, KeyError):
        group = "oahega-edge"
    return (
        f"the daemon at {path} speaks to members of the group {group} only; run "
        f"`sudo adduser $USER {group}` and log in anew, or use sudo"
    )


def _connect(connection: socket.socket, path: Path) -> None:
    """Again while too many others wait to be let in."""
    deadline = time.monotonic() + ANSWER_S
    while True:
        try:
            return connection.connect(str(path))
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.02)


def ask_all(
    environment: Mapping[str, str], request: str, name: str | None, value: object = None
) -> dict[str, dict[str, Any]]:
    """The answers of the daemons of this machine, or of the one called `name`, by their names.

    EdgeError when one of them does not answer, or when there is none; it names those that did answer.
    """
    answers: dict[str, dict[str, Any]] = {}
    failures: list[str] = []
    for path in sockets(environment, name):
        try:
            answers[name_of(path)] = ask(path, request, value)
        except NobodyListens:
            continue
        except EdgeError as error:
            failures.append(str(error))
    if failures and answers:
        failures.append(f"{request} was answered by {', '.join(n or 'oahega-edge' for n in answers)} only")
    if failures:
        raise EdgeError("\n".join(failures))
    if not answers:
        raise NobodyListens(
            f"no daemon{f' called {name!r}' if name else ''} answers {request!r}; "
            "is oahega-edge running as this user?"
        )
    return answers

"""The accelerator's own process: opens models and runs them on behalf of isolated.py.

Executed by its path with `python -I`, possibly by the interpreter of an old environment: Python 3.8
upwards, standard library, numpy and a TFLite runtime, nothing of the package but interpreter.py beside it.

Messages are JSON behind four bytes of length, over a socket pair; models and tensors lie in shared memory.

    worker  {"hello": {...}}                      once the runtime is imported
    daemon  {"open": {content, device, library, threads, input, outputs, offset, size}}
    worker  {"opened": n}                         models count from 0
    daemon  {"run": n, "call": k}
    worker  {"done": k}
    worker  {"failed": sentence, "kind": name}    instead of any of its answers
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import json
import mmap
import os
import platform
import select
import signal
import socket
import struct
import sys
from typing import Any

import numpy as np


class Hosted:
    """One open model and its places in the shared memory."""

    def __init__(self, session: Any, memory: Any, order: dict[str, Any]) -> None:
        self._session = session
        self._input = _view(memory, order["input"])
        self._outputs = [_view(memory, output) for output in order["outputs"]]

    def run(self) -> None:
        """From the input's place to the outputs' places."""
        for place, output in zip(self._outputs, self._session.run(self._input)):  # noqa: B905 (Python 3.10)
            if place.shape != output.shape or place.dtype != output.dtype:
                raise ValueError(
                    f"an output of {output.shape} {output.dtype} came for {place.shape} {place.dtype}"
                )
            place[...] = output


def _view(memory: Any, place: dict[str, Any]) -> Any:
    count = int(np.prod(place["shape"]))
    flat = np.frombuffer(memory, np.dtype(place["dtype"]), count, place["at"])
    return flat.reshape(place["shape"])


def main(arguments: list[str]) -> None:
    """RUNTIME SOCKET MEMORY LIFELINE: a name for interpreter.py, three descriptors."""
    runtime, channel, memory, lifeline = arguments[0], *map(int, arguments[1:])
    ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE: the memory holds what the camera sees
    end_with_parent(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to answer
    stream = socket.socket(fileno=channel)
    with contextlib.suppress(ConnectionError):  # the daemon closed its end and left an answer unread
        try:
            interpreters = _interpreters()
            loaded = interpreters.load_runtime(runtime)
        except Exception as error:
            send(stream, _failure(error))
            return
        send(stream, {"hello": _about(loaded)})
        serve(stream, memory, interpreters, loaded)


def _interpreters() -> Any:
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "interpreter.py")
    spec = importlib.util.spec_from_file_location("interpreter", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def end_with_parent(lifeline: int) -> None:
    """Have the kernel end this process when the daemon is gone, even while it hangs in native code.

    Nothing is ever written to the pipe: its only event is that the daemon's end closes.
    """
    fcntl.fcntl(lifeline, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
    if select.select([lifeline], [], [], 0)[0]:
        sys.exit(0)  # it went before this was set up


def _about(loaded: Any) -> dict[str, str]:
    return {
        "runtime": loaded.package,
        "version": loaded.version,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def serve(stream: Any, memory: int, interpreters: Any, loaded: Any) -> None:
    """Answer until the daemon closes its end."""
    models: list[Hosted] = []
    while True:
        order = receive(stream)
        if order is None:
            return
        try:
            if "open" in order:
                models.append(_opened(order["open"], memory, interpreters, loaded))
                answer: dict[str, Any] = {"opened": len(models) - 1}
            else:
                models[order["run"]].run()
                answer = {"done": order["call"]}
        except Exception as error:
            answer = _failure(error)
        send(stream, answer)


def _opened(order: dict[str, Any], memory: int, interpreters: Any, loaded: Any) -> Hosted:
    interpreter = loaded.open(
        _content(memory, order["content"]),
        threads=order["threads"],
        device=order["device"],
        library=order["library"],
    )
    session = interpreters.Session(
        interpreter, order["input"]["index"], [output["index"] for output in order["outputs"]]
    )
    return Hosted(session, mmap.mmap(memory, order["size"], offset=order["offset"]), order)


def _content(memory: int, place: dict[str, int]) -> bytes:
    with mmap.mmap(memory, place["size"], offset=place["offset"]) as part:
        return part[: place["length"]]


def _failure(error: Exception) -> dict[str, str]:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return {"failed": lines[0].rstrip("."), "kind": type(error).__name__}


def send(stream: Any, message: dict[str, Any]) -> None:
    """One message, whole."""
    body = json.dumps(message).encode()
    stream.sendall(struct.pack("<I", len(body)) + body)


def receive(stream: Any) -> dict[str, Any] | None:
    """The next message, None at the end of the stream."""
    head = _exactly(stream, 4)
    body = _exactly(stream, struct.unpack("<I", head)[0]) if head else None
    if body is None:
        return None
    message: dict[str, Any] = json.loads(body.decode())
    return message


def _exactly(stream: Any, count: int) -> bytes | None:
    parts = b""
    while len(parts) < count:
        part = stream.recv(count - len(parts))
        if not part:
            return None
        parts += part
    return parts


if __name__ == "__main__":
    main(sys.argv[1:])

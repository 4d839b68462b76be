"""A process that answers messages in time, or is gone: the daemon's side of worker.py's protocol."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oahega_edge.child import ChildProcess
from oahega_edge.errors import AcceleratorError

_WORKER = Path(__file__).with_name("worker.py")
_LONGEST_MESSAGE = 65536
"""Bytes; what is longer is not a message."""
_NONSENSE = "wrote something else than messages"
FAREWELL_S, REAPED_WITHIN_S = 2.0, 0.1
"""Seconds for an end in order, so that the device is released, and until a killed process is gone."""


class Child:
    """One worker process. Whatever it does, a question ends within its deadline, in an answer or an error."""

    def __init__(self, python: Path, runtime: str, memory: int, explain: Callable[[str, str], str]) -> None:
        """Start it; AcceleratorError when `python` cannot be run.

        `memory`: descriptor of the shared memory, closed together with the child. `explain`: kind and text
        of an error over there to words for whoever operates the device.
        """
        self._explain = explain
        self._ended: str | None = None
        try:
            self._process = ChildProcess([python, "-I", _WORKER, runtime], memory)
        except OSError as error:
            raise AcceleratorError(
                f"the accelerator's interpreter {python} cannot be started ({error.strerror}); "
                "correct its path or leave it out"
            ) from None
        self._socket = self._process.channel

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def check_running(self) -> None:
        """AcceleratorError with the reason when it is gone."""
        if self._ended is not None:
            raise AcceleratorError(f"the accelerator's process {self._ended}")

    def ask(self, message: dict[str, Any], wanted: str, seconds: float) -> Any:
        """Send a message; the value of `wanted` in the answer. Every failure ends the process and raises."""
        self.check_running()
        body = json.dumps(message).encode()
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(struct.pack("<I", len(body)) + body)
        except TimeoutError:
            raise self.failed(f"took no order within {seconds:g} s") from None
        except OSError:
            raise self.failed(self._how_it_ended()) from None
        return self.answer(wanted, seconds)

    def answer(self, wanted: str, seconds: float) -> Any:
        """The value of `wanted` in the next message, as for `ask`."""
        message = self._receive(seconds)
        if isinstance(message, dict) and wanted in message:
            return message[wanted]
        if isinstance(message, dict) and "failed" in message:
            raise self.failed(self._explain(str(message.get("kind")), str(message["failed"])))
        raise self.failed(_NONSENSE)

    def failed(self, how: str) -> AcceleratorError:
        """The error to raise for what no healthy child does; the process is gone by then."""
        self._ended = how
        self._process.end(0.0, REAPED_WITHIN_S)
        return AcceleratorError(f"the accelerator's process {how}")

    def close(self) -> None:
        """Let it end in order, so that it releases the device, and kill it when it does not."""
        if self._ended is not None:
            return
        self._ended = "was closed"
        self._process.end(FAREWELL_S, REAPED_WITHIN_S)

    def _receive(self, seconds: float) -> Any:
        until = time.monotonic() + seconds
        try:
            (length,) = struct.unpack("<I", self._exactly(4, until))
            if length <= _LONGEST_MESSAGE:
                return json.loads(self._exactly(length, until))
        except TimeoutError:
            raise self.failed(f"gave no answer within {seconds:g} s") from None
        except (EOFError, ConnectionError):
            raise self.failed(self._how_it_ended()) from None
        except (ValueError, RecursionError):
            raise self.failed(_NONSENSE) from None
        raise self.failed(_NONSENSE)

    def _exactly(self, count: int, until: float) -> bytes:
        parts = bytearray()
        while len(parts) < count:
            left = until - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._socket.settimeout(left)
            part = self._socket.recv(count - len(parts))
            if not part:
                raise EOFError
            parts += part
        return bytes(parts)

    def _how_it_ended(self) -> str:
        return self._process.fate(0.2) or "closed its side"

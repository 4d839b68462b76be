"""A USB or network camera in a process of its own, because its driver or library may hang.

Nothing can end a thread that hangs in native code. A process can be killed, and the kernel closes its camera.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import mmap
import os
import signal
import socket
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from oahega_edge.cameras.opencv import OPEN_SECONDS, OpenCvCamera
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.child import ChildProcess, forbid_dumps
from oahega_edge.errors import CameraError, CameraStalled
from oahega_edge.runtimes.worker import end_with_parent

START_SECONDS = 20.0
"""For Python and OpenCV to start, on a slow card under load."""
GRACE_SECONDS = 0.25
"""How much longer than its own time limit the child may take to answer."""
FAREWELL_SECONDS = 0.3
"""How long the child may take to close its camera in order, which a network camera notices."""
REAP_SECONDS = 0.5
"""After SIGKILL; a process in an uninterruptible call of its driver goes when the kernel lets it."""
LONGEST_MESSAGE = 65536

log = logging.getLogger(__name__)


class ApartCamera(Camera):
    """The `Camera` port over an `OpenCvCamera` in a child process."""

    live = True

    def __init__(
        self, source: str | int, *, open_seconds: float = OPEN_SECONDS, **wishes: float | None
    ) -> None:
        """Arguments as for `OpenCvCamera`."""
        self._inner = OpenCvCamera(source)
        self._order = {"source": source, "open_seconds": open_seconds, **wishes}
        self._open_seconds = open_seconds
        self._child: _Child | None = None

    @property
    def name(self) -> str:
        """The source as it may be shown, for logs."""
        return self._inner.name

    @property
    def pid(self) -> int | None:
        """Of the child, while there is one."""
        return None if self._child is None else self._child.pid

    def __enter__(self) -> Self:
        self.__exit__(None, None, None)
        try:
            self._child = _Child(self.name)
        except OSError as error:  # the limit of processes, descriptors or memory
            raise CameraError(
                f"camera {self.name} cannot be opened: its process cannot be started ({error.strerror}); "
                "end other programs"
            ) from error
        try:
            if self._child.ask({"open": self._order}, self._open_seconds + START_SECONDS) is None:
                raise CameraError(f"camera {self.name} hangs while it is opened; unplug it for a moment")
        except CameraError:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.close()

    def read(self, timeout: float) -> Frame:
        """The newest frame not yet read. Raises CameraStalled, or CameraError when the device is gone."""
        if self._child is None:
            raise CameraError(f"camera {self.name} is not open; use it in a `with` block")
        told = self._child.ask({"read": timeout}, timeout + GRACE_SECONDS)
        if told is None:
            raise CameraStalled(f"camera {self.name} hangs; check its cable and power")
        taken_at = datetime.fromtimestamp(told["taken_at"], UTC)
        return Frame(self._child.pixels(told["shape"]), told["captured_at"], taken_at, told["sequence"])

    def reset(self) -> None:
        """See `OpenCvCamera.reset`."""
        self._inner.reset()

    def abort(self) -> None:
        """Kill the child, whatever another thread waits for."""
        child = self._child
        if child is not None:
            child.kill()


class _Child:
    """The process of one opened camera. What it is asked is answered in time, or not at all."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._asked = 0
        self._hangs = False
        self._shared: Pixels = np.empty(0, np.uint8)
        self._memory = os.memfd_create("oahega-frame", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(self._memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)  # the child cannot take it from us
        start = f"import sys; {_PLACE!r} in sys.path or sys.path.insert(0, {_PLACE!r}); {_SERVE}"
        command = [sys.executable, "-I", "-c", start]
        self._process = ChildProcess(command, self._memory, socket.SOCK_SEQPACKET)
        self._channel = self._process.channel

    @property
    def pid(self) -> int:
        return self._process.pid

    def ask(self, question: dict[str, Any], seconds: float) -> dict[str, Any] | None:
        """The answer; None when it does not come in time. Raises what the camera raised over there."""
        self._asked += 1
        until = time.monotonic() + seconds
        try:
            self._channel.settimeout(seconds)
            self._channel.sendall(json.dumps({**question, "number": self._asked}).encode())
            while True:
                self._channel.settimeout(max(0.001, until - time.monotonic()))
                packet = self._channel.recv(LONGEST_MESSAGE)
                if not packet:
                    break
                answer: dict[str, Any] = json.loads(packet)
                if answer["number"] == self._asked:  # else that of a question whose time is over
                    self._hangs = False
                    return _without_error(answer)
        except TimeoutError:
            self._hangs = True
            return None
        except OSError:
            pass
        fate = self._process.fate(REAP_SECONDS) or "closed its connection"
        raise CameraError(f"the process of camera {self._name} {fate}")

    def pixels(self, shape: list[int]) -> Pixels:
        """The frame in the shared memory, as a copy: the next one takes its place."""
        count = int(np.prod(shape))
        if count > self._shared.size:
            whole = mmap.mmap(self._memory, 0, prot=mmap.PROT_READ)
            self._shared = np.frombuffer(whole, np.uint8)
        return self._shared[:count].reshape(shape).copy()

    def kill(self) -> None:
        """End it at once, from any thread."""
        self._process.kill()

    def close(self) -> None:
        """Let it close its camera, and kill it when it takes its time."""
        if not self._process.end(0.0 if self._hangs else FAREWELL_SECONDS, REAP_SECONDS):
            log.warning("camera %s: its driver does not let its process go", self._name)


_PLACE = str(Path(__file__).resolve().parents[2])
"""Where this package is imported from; an isolated interpreter knows no PYTHONPATH."""
_SERVE = f"from {__name__} import serve; serve()"


def _without_error(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise (CameraStalled if answer["stalled"] else CameraError)(answer["error"])
    return answer


def serve() -> None:
    """The child: open what the first message names, give a frame for each further one, until it is let go."""
    channel_number, memory, lifeline = map(int, sys.argv[1:])
    forbid_dumps()
    end_with_parent(lifeline)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the daemon's to answer
    camera = None
    with socket.socket(fileno=channel_number) as channel:
        while packet := _next(channel):
            question = json.loads(packet)
            try:
                if "open" in question:
                    camera = OpenCvCamera(**question["open"]).__enter__()
                    answer: dict[str, Any] = {}
                else:
                    assert camera is not None
                    answer = _handed_over(camera.read(question["read"]), memory)
            except CameraError as error:
                answer = {"error": str(error), "stalled": isinstance(error, CameraStalled)}
            with contextlib.suppress(OSError):  # the daemon has gone meanwhile
                channel.sendall(json.dumps({**answer, "number": question["number"]}).encode())
    if camera is not None:
        camera.__exit__(None, None, None)
    os._exit(0)  # a library's thread that hangs would keep it from ending


def _next(channel: socket.socket) -> bytes:
    with contextlib.suppress(OSError):
        return channel.recv(LONGEST_MESSAGE)
    return b""


def _handed_over(frame: Frame, memory: int) -> dict[str, Any]:
    if os.fstat(memory).st_size < frame.pixels.nbytes:
        os.ftruncate(memory, frame.pixels.nbytes)
    with mmap.mmap(memory, 0) as shared:
        np.copyto(np.ndarray(frame.pixels.shape, np.uint8, shared), frame.pixels)
    return {
        "shape": frame.pixels.shape,
        "captured_at": frame.captured_at,
        "taken_at": frame.taken_at.timestamp(),
        "sequence": frame.sequence,
    }

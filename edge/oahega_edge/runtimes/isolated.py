"""Models in a process of their own, because libedgetpu ends its process on USB errors and may hang.

The daemon's side of worker.py. Whatever happens over there, a call here ends within its deadline.
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
import struct
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes import checked_wiring
from oahega_edge.runtimes.edgetpu import (
    accelerator_name,
    check_pair,
    installed_libedgetpu,
    without_device,
    without_library,
)
from oahega_edge.runtimes.interpreter import EDGETPU_LIBRARY
from oahega_edge.runtimes.wiring import Wire, Wiring

if TYPE_CHECKING:
    from oahega_edge.manifest import InputTensor, OutputTensor

log = logging.getLogger(__name__)

_WORKER = Path(__file__).with_name("worker.py")
_LONGEST_MESSAGE = 65536
"""Bytes; what is longer is not a message."""
_NOT_FOR_THE_WORKER = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"}
_unreaped: list[subprocess.Popen[bytes]] = []
"""Killed processes that had not gone yet: one in an uninterruptible USB call goes when the kernel lets it."""


@dataclass(frozen=True, slots=True)
class Deadlines:
    """Seconds after which the worker counts as hung and is killed."""

    first: float = 15.0
    """Start, opening, each model's first call: the Coral gets its firmware then and comes up anew on USB."""
    each: float = 0.5
    """Every further call; together with one inference on the CPU it must stay below a second."""


class Worker:
    """One child process and the models in it: an Edge TPU belongs to one process at a time."""

    def __init__(
        self,
        *,
        runtime: str = "auto",
        device: str = "cpu",
        python: Path | None = None,
        threads: int = 1,
        deadlines: Deadlines = Deadlines(),
        library: str = EDGETPU_LIBRARY,
    ) -> None:
        """Start it; AcceleratorError when it does not come up.

        `runtime`: auto, litert, tflite, or file:PATH, a Python file with an Interpreter class. `device`: cpu,
        usb, pci, usb:0. `python`: the interpreter of another environment; it needs numpy and a TFLite
        runtime, not this package.
        """
        self._device = device
        self._library = library
        self._threads = threads
        self._deadlines = deadlines
        self._ended: str | None = None
        self._models = 0
        self._calls = 0
        self._memory = _sealed_memory()
        self._size = 0
        self._spawn(python or Path(sys.executable), runtime)
        hello = self._answer("hello", deadlines.first)
        self._check_versions(hello)

    def _spawn(self, python: Path, runtime: str) -> None:
        _reap()
        ours, theirs = socket.socketpair()
        theirs_lifeline, self._lifeline = os.pipe()
        handed_over = (theirs.fileno(), self._memory, theirs_lifeline)
        self._socket = ours
        try:
            self._process = subprocess.Popen(
                [python, "-I", _WORKER, runtime, *map(str, handed_over)],
                stdin=subprocess.DEVNULL,
                stdout=2,  # the daemon's stdout is for machines
                pass_fds=handed_over,
                env={name: value for name, value in os.environ.items() if name not in _NOT_FOR_THE_WORKER},
            )
        except OSError as error:
            self._release()
            raise AcceleratorError(
                f"the accelerator's interpreter {python} cannot be started ({error.strerror}); "
                "correct its path or leave it out"
            ) from None
        finally:
            theirs.close()
            os.close(theirs_lifeline)

    def _check_versions(self, hello: Any) -> None:
        if not isinstance(hello, dict):
            self._fail("wrote something else than messages")
        runtime, version = str(hello.get("runtime")), str(hello.get("version"))
        if self._device == "cpu" or runtime.startswith("file:"):
            return
        try:
            doubt = check_pair(runtime, version, installed_libedgetpu())
        except AcceleratorError:
            self.close()
            raise
        if doubt:
            log.warning("%s", doubt)

    @property
    def accelerator(self) -> str:
        """`cpu`, `edgetpu-usb` or `edgetpu-pci`."""
        return accelerator_name(self._device)

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._process.pid

    def open(self, path: Path, outputs: tuple[OutputTensor, ...], input_: InputTensor) -> IsolatedModel:
        """Open one file in the child; its errors are those of `open_model`."""
        self._check_running()
        wiring = checked_wiring(path, outputs, input_, self._device)
        offset, size = self._reserve(wiring)
        self._send(
            {
                "open": {
                    "path": str(path.absolute()),
                    "device": self._device,
                    "library": self._library,
                    "threads": self._threads,
                    "offset": offset,
                    "size": size,
                    **_places(wiring),
                }
            },
            self._deadlines.first,
        )
        slot = self._answer("opened", self._deadlines.first)
        self._models += 1
        return IsolatedModel(self, slot, wiring, mmap.mmap(self._memory, size, offset=offset))

    def _reserve(self, wiring: Wiring) -> tuple[int, int]:
        """Grow the shared memory by one model's tensors: offset and bytes, both whole pages."""
        needed = sum(_aligned(wire.size) for wire in (wiring.input, *wiring.outputs))
        size = -(-needed // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        offset = self._size
        self._size += size
        os.ftruncate(self._memory, self._size)
        return offset, size

    def call(self, slot: int, *, first: bool) -> None:
        """Run one model on what lies in its shared memory."""
        seconds = self._deadlines.first if first else self._deadlines.each
        self._calls += 1
        self._send({"run": slot, "call": self._calls}, seconds)
        if self._answer("done", seconds) != self._calls:
            self._fail("answered another call than the one that was made")

    def forget(self) -> None:
        """One of its models was closed; the last one takes the child with it."""
        self._models -= 1
        if self._models == 0:
            self.close()

    def close(self) -> None:
        """Let the child end in order, so that it releases the device, and kill it when it does not."""
        if self._ended is not None:
            return
        self._ended = "was closed"
        self._socket.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(2.0)
        self._kill()

    def _check_running(self) -> None:
        if self._ended is not None:
            raise AcceleratorError(f"the accelerator's process {self._ended}")

    def _send(self, message: dict[str, Any], seconds: float) -> None:
        self._check_running()
        body = json.dumps(message).encode()
        self._socket.settimeout(seconds)
        try:
            self._socket.sendall(struct.pack("<I", len(body)) + body)
        except TimeoutError:
            self._fail(f"took no order within {seconds:g} s")
        except OSError:
            self._fail(self._how_it_ended())

    def _answer(self, wanted: str, seconds: float) -> Any:
        until = time.monotonic() + seconds
        try:
            (length,) = struct.unpack("<I", self._exactly(4, until))
            if length > _LONGEST_MESSAGE:
                self._fail("wrote something else than messages")
            message = json.loads(self._exactly(length, until))
        except TimeoutError:
            self._fail(f"gave no answer within {seconds:g} s")
        except (EOFError, ConnectionError):
            self._fail(self._how_it_ended())
        except ValueError:
            self._fail("wrote something else than messages")
        if not isinstance(message, dict) or wanted not in message:
            self._fail(self._explained(message))
        return message[wanted]

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

    def _explained(self, message: Any) -> str:
        """What the worker's own words for a failure mean for whoever operates the device."""
        if not isinstance(message, dict) or not isinstance(message.get("failed"), str):
            return "wrote something else than messages"
        error = Exception(message["failed"])
        match message.get("kind"):
            case "OSError" if self._device != "cpu":
                return f"reports: {without_library(self._library, error)}"
            case "ValueError" | "RuntimeError" if self._device != "cpu":
                return f"reports: {without_device(self._device, error)}"
            case "ImportError" | "ModuleNotFoundError":
                return f"finds no TFLite runtime ({error}); install one in its environment"
            case _:
                return f"reports: {error}"

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = self._process.wait(0.2)
            return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        return "closed its side"

    def _fail(self, how: str) -> NoReturn:
        """End the child and raise; called for everything that a healthy child would not do."""
        self._ended = how
        self._socket.close()
        self._kill()
        raise AcceleratorError(f"the accelerator's process {how}")

    def fail(self, how: str) -> NoReturn:
        """As after a broken call: for answers that only the model can judge."""
        self._fail(how)

    def _kill(self) -> None:
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(0.1)
        if self._process.returncode is None:
            _unreaped.append(self._process)
        self._release()

    def _release(self) -> None:
        self._socket.close()
        os.close(self._lifeline)
        os.close(self._memory)


class IsolatedModel:
    """The `Model` port over a model in a worker."""

    def __init__(self, worker: Worker, slot: int, wiring: Wiring, memory: mmap.mmap) -> None:
        """`memory`: the tensors' places, in the order input, outputs."""
        self.accelerator = worker.accelerator
        self._worker: Worker | None = worker
        self._slot = slot
        self._wiring = wiring
        self._first = True
        places = _places(wiring)
        self._input = _view(memory, places["input"])
        self._outputs = [_view(memory, place) for place in places["outputs"]]

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """See `Model.run`; AcceleratorError at the latest when the deadline is over."""
        if self._worker is None:
            raise ValueError("the model is closed")
        self._input[...] = self._wiring.checked(tensor)
        self._worker.call(self._slot, first=self._first)
        self._first = False
        outputs = [place.copy() for place in self._outputs]
        for output in outputs:
            if output.dtype.kind == "f" and not np.isfinite(output).all():
                self._worker.fail("returned values that are no numbers")
        return self._wiring.by_role(outputs)

    def close(self) -> None:
        """Release it; the child ends with its last model."""
        if self._worker is not None:
            self._worker.forget()
            self._worker = None
            del self._input, self._outputs  # with them goes the mapping and its descriptor


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """One file and what the manifest says of it."""

    path: Path
    outputs: tuple[OutputTensor, ...]
    input: InputTensor


def open_isolated(
    specs: Mapping[str, ModelSpec],
    *,
    runtime: str = "auto",
    device: str = "cpu",
    python: Path | None = None,
    threads: int = 1,
    deadlines: Deadlines = Deadlines(),
) -> dict[str, IsolatedModel]:
    """All models of one accelerator in one new child; all or none. Arguments and errors: `Worker`."""
    worker = Worker(runtime=runtime, device=device, python=python, threads=threads, deadlines=deadlines)
    try:
        return {name: worker.open(spec.path, spec.outputs, spec.input) for name, spec in specs.items()}
    except BaseException:
        worker.close()
        raise


def _sealed_memory() -> int:
    """An anonymous file that can grow but not shrink: nobody can pull pages from under the other."""
    memory = os.memfd_create("oahega-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
    return memory


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def _places(wiring: Wiring) -> dict[str, Any]:
    """Where each tensor lies in the model's part of the shared memory; the same on both sides."""
    at = 0
    places = []
    for wire in (wiring.input, *wiring.outputs):
        places.append(_place(wire, at))
        at += _aligned(wire.size)
    return {"input": places[0], "outputs": places[1:]}


def _place(wire: Wire, at: int) -> dict[str, Any]:
    return {"index": wire.index, "shape": list(wire.shape), "dtype": wire.dtype, "at": at}


def _view(memory: mmap.mmap, place: Mapping[str, Any]) -> NDArray[Any]:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(memory, np.dtype(place["dtype"]), count, place["at"]).reshape(place["shape"])


def _reap() -> None:
    _unreaped[:] = [process for process in _unreaped if process.poll() is None]

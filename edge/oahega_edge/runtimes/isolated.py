"""Models in a process of their own, because libedgetpu ends its process on USB errors and may hang.

Whatever happens over there, a call here ends within its deadline.
"""

from __future__ import annotations

import fcntl
import logging
import mmap
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.errors import AcceleratorError
from oahega_edge.runtimes import checked_wiring
from oahega_edge.runtimes.child import Child
from oahega_edge.runtimes.edgetpu import (
    accelerator_name,
    check_pair,
    installed_libedgetpu,
    without_device,
    without_library,
)
from oahega_edge.runtimes.interpreter import EDGETPU_LIBRARY
from oahega_edge.runtimes.tflite_file import read_tflite
from oahega_edge.runtimes.wiring import Wire, Wiring

if TYPE_CHECKING:
    from oahega_edge.manifest import InputTensor, OutputTensor

log = logging.getLogger(__name__)


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
        self._models = 0
        self._calls = 0
        self._memory = SharedMemory()
        self._child = Child(python or Path(sys.executable), runtime, self._memory.descriptor, self._explained)
        self._check_versions(self._child.answer("hello", deadlines.first))

    @property
    def accelerator(self) -> str:
        """`cpu`, `edgetpu-usb` or `edgetpu-pci`."""
        return accelerator_name(self._device)

    @property
    def pid(self) -> int:
        """Of the child."""
        return self._child.pid

    def open(
        self,
        path: Path,
        outputs: tuple[OutputTensor, ...],
        input_: InputTensor,
        content: bytes | None = None,
    ) -> IsolatedModel:
        """Open one file in the child; arguments and errors are those of `open_model`."""
        self._child.check_running()
        if content is None:
            content = read_tflite(path)
        wiring = checked_wiring(path, content, outputs, input_, self._device)
        offset, size = self._memory.reserve(sum(_aligned(wire.size) for wire in wiring.all))
        order = {
            "content": self._memory.hold(content),
            "device": self._device,
            "library": self._library,
            "threads": self._threads,
            "offset": offset,
            "size": size,
            **_places(wiring),
        }
        slot = self._child.ask({"open": order}, "opened", self._deadlines.first)
        self._models += 1
        return IsolatedModel(self, slot, wiring, self._memory.map(offset, size))

    def call(self, slot: int, *, first: bool) -> None:
        """Run one model on what lies in its shared memory."""
        seconds = self._deadlines.first if first else self._deadlines.each
        self._calls += 1
        if self._child.ask({"run": slot, "call": self._calls}, "done", seconds) != self._calls:
            raise self._child.failed("answered another call than the one that was made")

    def failed(self, how: str) -> AcceleratorError:
        """The error to raise for an answer that only the model can judge; the child is gone by then."""
        return self._child.failed(how)

    def forget(self) -> None:
        """One of its models was closed; the last one takes the child with it."""
        self._models -= 1
        if self._models == 0:
            self.close()

    def close(self) -> None:
        """End the child; may be called twice."""
        self._child.close()

    def _check_versions(self, hello: Any) -> None:
        if not isinstance(hello, dict):
            raise self._child.failed("wrote something else than messages")
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

    def _explained(self, kind: str, text: str) -> str:
        error = Exception(text)
        match kind:
            case "OSError" if self._device != "cpu":
                return f"reports: {without_library(self._library, error)}"
            case "ValueError" | "RuntimeError" if self._device != "cpu":
                return f"reports: {without_device(self._device, error)}"
            case "ImportError" | "ModuleNotFoundError":
                return f"finds no TFLite runtime ({text}); install one in its environment"
            case _:
                return f"reports: {text}"


class SharedMemory:
    """Anonymous memory that can grow but not shrink, so that neither side can remove pages the other uses.

    The child closes the descriptor when it ends; mapped parts last as long as they are referenced.
    """

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("oahega-tensors", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        fcntl.fcntl(self.descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        self._size = 0

    def reserve(self, needed: int) -> tuple[int, int]:
        """Offset and size of a fresh part of whole pages."""
        size = -(-needed // mmap.ALLOCATIONGRANULARITY) * mmap.ALLOCATIONGRANULARITY
        offset = self._size
        self._size += size
        os.ftruncate(self.descriptor, self._size)
        return offset, size

    def hold(self, content: bytes) -> dict[str, int]:
        """Where a copy of these bytes lies."""
        offset, size = self.reserve(len(content))
        with self.map(offset, size) as part:
            part[: len(content)] = content
        return {"offset": offset, "size": size, "length": len(content)}

    def map(self, offset: int, size: int) -> mmap.mmap:
        """One part."""
        return mmap.mmap(self.descriptor, size, offset=offset)


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
                raise self._worker.failed("returned values that are not numbers")
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
    content: bytes | None = field(default=None, repr=False)
    """What the file holds; None: it is read when it is opened."""


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
        return {
            name: worker.open(spec.path, spec.outputs, spec.input, spec.content)
            for name, spec in specs.items()
        }
    except BaseException:
        worker.close()
        raise


def _aligned(size: int) -> int:
    return -(-size // 64) * 64


def _places(wiring: Wiring) -> dict[str, Any]:
    """Where each tensor lies in the model's part of the shared memory; the same on both sides."""
    at = 0
    places = []
    for wire in wiring.all:
        places.append(_place(wire, at))
        at += _aligned(wire.size)
    return {"input": places[0], "outputs": places[1:]}


def _place(wire: Wire, at: int) -> dict[str, Any]:
    return {"index": wire.index, "shape": list(wire.shape), "dtype": wire.dtype, "at": at}


def _view(memory: mmap.mmap, place: Mapping[str, Any]) -> NDArray[Any]:
    count = int(np.prod(place["shape"]))
    return np.frombuffer(memory, np.dtype(place["dtype"]), count, place["at"]).reshape(place["shape"])

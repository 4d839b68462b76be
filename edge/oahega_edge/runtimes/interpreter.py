"""The few lines that touch a TFLite interpreter, the same for every runtime.

Python 3.8 upwards, standard library and numpy alone: the worker loads this file by its path in an old
environment that cannot import the package. Errors stay those of the libraries; callers translate them.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
from importlib import metadata
from typing import Any, Sequence  # noqa: UP035 (collections.abc's cannot be subscripted in 3.8)

EDGETPU_LIBRARY = "libedgetpu.so.1"

_MODULES = {
    "ai-edge-litert": "ai_edge_litert.interpreter",
    "tflite-runtime": "tflite_runtime.interpreter",
}
_CHOICES = {
    "litert": ("ai-edge-litert",),
    "tflite": ("tflite-runtime",),
    # For an Edge TPU: the pairs known to work are all of tflite-runtime.
    "auto": ("tflite-runtime", "ai-edge-litert"),
}


class Runtime:
    """An imported runtime; opens interpreters on the CPU or on an Edge TPU."""

    def __init__(self, module: Any, package: str, version: str, coral: Any = None) -> None:
        """`module`: has Interpreter and load_delegate; `coral`: pycoral.utils.edgetpu where it is there."""
        self._module = module
        self._coral = coral
        self.package = package
        self.version = version

    def open(
        self, content: bytes, *, threads: int = 1, device: str = "cpu", library: str = EDGETPU_LIBRARY
    ) -> Any:
        """An interpreter of a model's content; `device` is cpu, or what libedgetpu takes: usb, pci, usb:0."""
        if device == "cpu":
            return self._module.Interpreter(model_content=content, num_threads=threads)
        if self._coral is not None:
            return self._coral.make_interpreter(content, device=device)
        # The runtime loads it, too, but when that fails its half-made Delegate complains on its own.
        ctypes.CDLL(library)
        delegate = self._module.load_delegate(library, {"device": device})
        return self._module.Interpreter(model_content=content, experimental_delegates=[delegate])


def load_runtime(choice: str) -> Runtime:
    """Import `litert`, `tflite`, `auto` or `file:PATH` (a Python file with an Interpreter class).

    Raises ImportError when there is none.
    """
    if choice.startswith("file:"):
        return Runtime(load_file(choice[5:]), choice, "")
    reasons = []
    for package in _CHOICES[choice]:
        try:
            module = importlib.import_module(_MODULES[package])
        except ImportError as error:
            reasons.append(str(error))
            continue
        coral = _pycoral() if package == "tflite-runtime" else None
        return Runtime(module, package, _version(package), coral)
    raise ImportError("; ".join(reasons))


def load_file(path: str) -> Any:
    """A Python file as a module, from outside any package."""
    spec = importlib.util.spec_from_file_location("loaded_by_path", path)
    if spec is None or spec.loader is None:
        raise ImportError("{} is not a Python file".format(path))  # noqa: UP032
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # copied into place, as some images do
        return ""


def _pycoral() -> Any:
    """Google's pycoral, or None: the index's package of that name is another project without this module."""
    try:
        coral = importlib.import_module("pycoral.utils.edgetpu")
    except (ImportError, OSError):  # OSError: it links libedgetpu, which may be absent
        return None
    return coral if hasattr(coral, "make_interpreter") else None


class Session:
    """An allocated interpreter; input and outputs by tensor index."""

    def __init__(self, interpreter: Any, input_index: int, output_indices: Sequence[int]) -> None:
        interpreter.allocate_tensors()
        self._interpreter = interpreter
        self._input = input_index
        self._outputs = tuple(output_indices)

    def run(self, tensor: Any) -> list[Any]:
        """Invoke on one input; copies of the outputs in the order of `output_indices`."""
        self._interpreter.set_tensor(self._input, tensor)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(index) for index in self._outputs]

"""A model whose interpreter lives in this process: the CPU's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.errors import BundleError, RuntimeMissing
from oahega_edge.runtimes.interpreter import Session
from oahega_edge.runtimes.wiring import Wiring


class InProcessModel:
    """The `Model` port over an interpreter class of LiteRT's or tflite-runtime's form."""

    accelerator = "cpu"

    def __init__(
        self, runtime: str, interpreter: Callable[..., Any], path: Path, wiring: Wiring, threads: int
    ):
        """`runtime`: its package's name, for errors."""
        self._wiring = wiring
        self._session: Session | None = _session(runtime, interpreter, path, wiring, threads)

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """See `Model.run`."""
        if self._session is None:
            raise ValueError("the model is closed")
        outputs = self._session.run(self._wiring.checked(tensor))
        return {one.role: output for one, output in zip(self._wiring.outputs, outputs, strict=True)}

    def close(self) -> None:
        """Release the interpreter."""
        self._session = None


def _session(
    runtime: str, interpreter: Callable[..., Any], path: Path, wiring: Wiring, threads: int
) -> Session:
    indices = [output.index for output in wiring.outputs]
    try:
        return Session(interpreter(model_path=str(path), num_threads=threads), wiring.input.index, indices)
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            f"{runtime} cannot run model {path}: {_first_line(error)}; make the bundle again"
        ) from error
    except (ImportError, SystemError, AttributeError) as error:
        # tflite-runtime 2.14 is built for numpy 1: with 2 it imports and fails only here.
        raise RuntimeMissing(
            f"{runtime} does not work with numpy {np.__version__}: {_first_line(error)}; "
            "install 'numpy<2' beside it, or pip install 'oahega-edge[litert]'"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")

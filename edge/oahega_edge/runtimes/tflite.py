"""tflite-runtime: for environments of Python <= 3.11 that have it already (Bookworm, old Edge TPU pairs)."""

from __future__ import annotations

from pathlib import Path

from oahega_edge.errors import RuntimeMissing
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.wiring import Wiring


def open_tflite(path: Path, wiring: Wiring, threads: int) -> InProcessModel:
    """Open on the CPU; RuntimeMissing where the package is not installed or numpy is too new for it."""
    try:
        from tflite_runtime.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeMissing(
            f"tflite-runtime cannot be imported ({error}); pip install 'oahega-edge[tflite]' (Python 3.11), "
            "or 'oahega-edge[litert]'"
        ) from None
    return InProcessModel("tflite-runtime", Interpreter, path, wiring, threads)

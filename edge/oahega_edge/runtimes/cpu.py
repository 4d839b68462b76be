"""What LiteRT and tflite-runtime have in common on the CPU: opening, and the errors of opening."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from oahega_edge.errors import BundleError, RuntimeMissing
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.interpreter import Session, load_runtime
from oahega_edge.runtimes.wiring import Wiring


def open_on_cpu(
    choice: str, remedy: str, path: Path, content: bytes, wiring: Wiring, threads: int
) -> InProcessModel:
    """`choice`: a runtime's name in interpreter.py; `remedy`: what to type where it is not installed."""
    try:
        runtime = load_runtime(choice)
    except ImportError as error:
        raise RuntimeMissing(f"the runtime {choice} cannot be imported ({error}); {remedy}") from None
    try:
        interpreter = runtime.open(content, threads=threads)
        session = Session(interpreter, wiring.input.index, wiring.output_indices)
    except (ValueError, RuntimeError) as error:
        raise BundleError(
            f"{runtime.package} cannot run model {path}: {first_line(error)}; make the bundle again"
        ) from error
    except (ImportError, SystemError, AttributeError) as error:
        # tflite-runtime 2.14 is built for numpy 1: with 2 it imports and fails only here.
        raise RuntimeMissing(
            f"{runtime.package} {runtime.version} does not work with numpy {np.__version__} "
            f"({first_line(error)}); pip install 'numpy<2', or 'oahega-edge[litert]'"
        ) from error
    return InProcessModel(session, wiring, "cpu")


def first_line(error: Exception) -> str:
    """An error's text short enough to stand inside a sentence."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")

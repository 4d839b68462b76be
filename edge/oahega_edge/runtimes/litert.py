"""LiteRT (the package `ai-edge-litert`): the default runtime."""

from __future__ import annotations

from pathlib import Path

from oahega_edge.errors import RuntimeMissing
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.wiring import Wiring


def open_litert(path: Path, wiring: Wiring, threads: int) -> InProcessModel:
    """Open on the CPU; RuntimeMissing where the package is not installed."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeMissing(
            f"ai-edge-litert cannot be imported ({error}); pip install 'oahega-edge[litert]'"
        ) from None
    return InProcessModel("ai-edge-litert", Interpreter, path, wiring, threads)

"""LiteRT (the package `ai-edge-litert`): the default runtime."""

from __future__ import annotations

from pathlib import Path

from oahega_edge.runtimes.cpu import open_on_cpu
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.wiring import Wiring


def open_litert(path: Path, content: bytes, wiring: Wiring, threads: int) -> InProcessModel:
    """Open on the CPU; RuntimeMissing where the package is not installed."""
    return open_on_cpu("litert", "pip install 'oahega-edge[litert]'", path, content, wiring, threads)

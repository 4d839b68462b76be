"""tflite-runtime: for environments of Python <= 3.11 that have it already (Bookworm, old Edge TPU pairs).

Never preferred on the CPU: its last build on the index has no fast int8 kernels.
"""

from __future__ import annotations

from pathlib import Path

from oahega_edge.runtimes.cpu import open_on_cpu
from oahega_edge.runtimes.inprocess import InProcessModel
from oahega_edge.runtimes.wiring import Wiring


def open_tflite(path: Path, content: bytes, wiring: Wiring, threads: int) -> InProcessModel:
    """Open on the CPU; RuntimeMissing where the package is not installed or numpy is too new for it."""
    remedy = "pip install 'oahega-edge[tflite]' (Python 3.11), or 'oahega-edge[litert]'"
    return open_on_cpu("tflite", remedy, path, content, wiring, threads)

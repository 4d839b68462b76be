"""LiteRT with a fault, for the worker: `Worker(runtime=f"file:{__file__}")`.

FAULTY_RUNTIME in the environment is WHAT or WHAT@N: from the N-th call on (1 is the first; default 1).
A fault in the file that FAULTY_RUNTIME_FILE names lasts as long as the file is there.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from pathlib import Path

import numpy as np
from ai_edge_litert import interpreter as litert

WHAT, _, FROM = os.environ.get("FAULTY_RUNTIME", "none").partition("@")
FILE = Path(os.environ.get("FAULTY_RUNTIME_FILE", "/nonexistent"))

if WHAT == "no-runtime":
    raise ImportError("No module named 'tflite_runtime'")
if WHAT == "hang-at-start":
    time.sleep(3600)


def load_delegate(library, options):
    """As LiteRT's where no Coral is attached."""
    raise ValueError(f"Failed to load delegate from {library} for {options['device']}")


class Interpreter:
    """LiteRT's until the fault begins."""

    def __init__(self, model_content, num_threads=1, experimental_delegates=()):
        if WHAT == "hang-at-open":
            time.sleep(3600)
        self._real = litert.Interpreter(model_content=model_content, num_threads=num_threads)
        self._calls = 0

    def __getattr__(self, name):
        return getattr(self._real, name)

    @property
    def _fault(self) -> str:
        if FILE.exists():
            return FILE.read_text()
        return WHAT if self._calls >= int(FROM or 1) else "none"

    def invoke(self):
        self._calls += 1
        self._real.invoke()
        FAULTS.get(self._fault, lambda: None)()

    def get_tensor(self, index):
        tensor = self._real.get_tensor(index)
        if self._fault == "nan":
            tensor = np.full_like(tensor, np.nan)
        if self._fault == "zeros":
            tensor = np.zeros_like(tensor)
        if self._fault == "shape":
            tensor = tensor[..., :-1]
        return tensor


def raise_error():
    raise RuntimeError("Node number 0 (EdgeTpuDelegateForCustomOp) failed to invoke.")


def write(data: bytes) -> None:
    os.write(int(sys.argv[2]), data)


def message(body: bytes) -> bytes:
    return len(body).to_bytes(4, "little") + body


FAULTS = {
    "abort": os.abort,
    "exit": lambda: os._exit(3),
    "hang": lambda: time.sleep(3600),
    "hang-in-native-code": lambda: ctypes.PyDLL(None).sleep(3600),  # PyDLL: keeps the interpreter's lock
    "slow": lambda: time.sleep(3),
    "error": raise_error,
    "garbage": lambda: write(b"F driver/usb/usb_driver.cc:834 transfer error\n" * 20),
    "not-json": lambda: write(message(b"}{}{")),
    "not-an-answer": lambda: write(message(b"42")),
    "other-call": lambda: write(message(b'{"done": 999}')),
}

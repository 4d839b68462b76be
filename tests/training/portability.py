"""What a test asserts of a network that it trained: from which seed, on which kernels, by how much it holds.

`make test-portable` (portable.py) repeats those tests with other seeds and on plain kernels.
"""

from __future__ import annotations

import functools
import json
import os
from dataclasses import dataclass
from pathlib import Path

SEED = int(os.environ.get("OAHEGA_TEST_SEED", "1"))
"""The seed of every training whose outcome a test judges."""
RECORD = os.environ.get("OAHEGA_TEST_MARGINS")
"""A file that gets one line for each judgement."""


def use_kernels(kind: str) -> None:
    """`fast`, `plain`, or this machine's own; in this process, and TensorFlow's in those it starts.

    TensorFlow reads its variables when it is imported; by itself it takes oneDNN's kernels only where the
    processor has AVX-512. XNNPACK has no such switch: plain interpreters take LiteRT's reference kernels.
    """
    if kind == "fast":
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = "1"
    if kind != "plain":
        return
    os.environ["ONEDNN_MAX_CPU_ISA"] = "AVX2"  # neither AVX-512 nor bfloat16
    os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"  # Eigen's kernels

    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    Interpreter.__init__ = functools.partialmethod(  # type: ignore[method-assign, assignment]
        Interpreter.__init__, experimental_op_resolver_type=OpResolverType.BUILTIN_REF
    )


@dataclass(frozen=True)
class Margins:
    """Asserts promises of one test, and records by how much they hold."""

    test: str

    def at_least(self, what: str, value: float, limit: float) -> None:
        """Assert value >= limit."""
        self._record(what, value, limit, 1)
        assert value >= limit, what

    def at_most(self, what: str, value: float, limit: float) -> None:
        """Assert value <= limit."""
        self._record(what, value, limit, -1)
        assert value <= limit, what

    def _record(self, what: str, value: float, limit: float, sign: int) -> None:
        if RECORD is not None:
            line = {"test": self.test, "what": what, "value": float(value), "limit": limit, "sign": sign}
            with Path(RECORD).open("a") as record:
                record.write(json.dumps(line) + "\n")

"""`oahega-edge check` many times over, each in a child of one process that has imported everything.

As a program it takes one JSON list of arguments a line and answers each with one JSON object a line.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from processes import environment

DEADLINE_S = 120.0
"""After which a check counts as hung."""


@dataclass(frozen=True, slots=True)
class Checked:
    """How one check ended."""

    code: int
    """Negative: the signal that ended it."""
    said: str
    """Standard error."""
    seconds: float
    """By the clock, so it counts whatever else the machine does."""
    cpu_s: float
    peak_mb: float
    """Largest resident memory, the shared parts of the interpreter included."""


class Checker:
    """The process; use it in a `with` block."""

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def check(self, *settings: str) -> Checked:
        """With these `key=value` settings."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        arguments = ["check", "--no-camera", "--no-broker", *(f"--set={each}" for each in settings)]
        print(json.dumps(arguments), file=self._process.stdin, flush=True)
        return Checked(**json.loads(self._process.stdout.readline()))


def _serve() -> None:
    import ai_edge_litert.interpreter  # noqa: F401

    import oahega_edge.cli
    import oahega_edge.service.setup
    import oahega_edge.tools.checks  # noqa: F401

    for line in sys.stdin:
        with tempfile.TemporaryFile("w+") as said:
            print(json.dumps(_checked(json.loads(line), said)), flush=True)


def _checked(arguments: list[str], said: Any) -> dict[str, Any]:
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _become(arguments, said)
    while (found := os.wait4(child, os.WNOHANG))[0] == 0:
        if time.monotonic() - started > DEADLINE_S:
            os.kill(child, signal.SIGKILL)
        time.sleep(0.005)
    _, status, used = found
    said.seek(0)
    return {
        "code": os.waitstatus_to_exitcode(status),
        "said": said.read(),
        "seconds": round(time.monotonic() - started, 3),
        "cpu_s": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss / 1024, 1),
    }


def _become(arguments: list[str], said: Any) -> None:
    import traceback

    from oahega_edge.cli import main

    code = 1
    try:
        os.dup2(said.fileno(), 2)
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        os.dup2(1, 0)
        sys.argv = ["oahega-edge", *arguments]
        main()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    _serve()

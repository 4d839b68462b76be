"""A program on a terminal of its own."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import subprocess
import tempfile
from collections.abc import Mapping, Sequence

from waiting import PATIENCE


def on_a_terminal(
    command: Sequence[str], env: Mapping[str, str] | None = None, *, both: bool = False
) -> subprocess.CompletedProcess[str]:
    """All that it prints to a person, read until it has ended: a terminal gives it piece by piece.

    `both`: its standard error goes to the terminal as well.
    """
    near, far = pty.openpty()
    shown = b""
    with tempfile.TemporaryFile() as said:
        with subprocess.Popen(command, stdout=far, stderr=far if both else said, env=env) as process:
            os.close(far)
            try:
                with contextlib.suppress(OSError):  # the other side is closed
                    while select.select([near], [], [], PATIENCE)[0] and (part := os.read(near, 4096)):
                        shown += part
                code = process.wait(PATIENCE)
            finally:
                process.kill()
        os.close(near)
        said.seek(0)
        return subprocess.CompletedProcess(command, code, shown.decode(), said.read().decode())

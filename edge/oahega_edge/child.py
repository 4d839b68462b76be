"""Our own processes: each ends with this one, is told only what it needs, and keeps its memory to itself."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

_SETTINGS = "OAHEGA_"
"""Beginning of environment variables that are settings, of which some hold secrets."""
_PR_SET_DUMPABLE = 4
_NOT_FOR_CHILDREN = {"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"}
_unreaped: list[subprocess.Popen[bytes]] = []
"""Killed processes that had not gone yet: one in an uninterruptible call goes when the kernel lets it."""


class ChildProcess:
    """A process with a channel to it, shared memory, and a lifeline (`runtimes.worker.end_with_parent`)."""

    def __init__(
        self, command: Sequence[str | Path], memory: int, kind: socket.SocketKind = socket.SOCK_STREAM
    ) -> None:
        """Start `command` with three arguments more: descriptors of the channel, the memory and the lifeline.

        `memory` belongs to the child from now on and is closed with it. OSError when it cannot be started.
        """
        _unreaped[:] = [process for process in _unreaped if process.poll() is None]
        self._ours = ExitStack()
        self._ours.callback(os.close, memory)
        try:
            with ExitStack() as theirs:
                self.channel, channel = socket.socketpair(socket.AF_UNIX, kind)
                self._ours.callback(self.channel.close)
                theirs.callback(channel.close)
                lifeline, kept = os.pipe()
                self._ours.callback(os.close, kept)
                theirs.callback(os.close, lifeline)
                handed_over = (channel.fileno(), memory, lifeline)
                self._process = subprocess.Popen(
                    [*command, *map(str, handed_over)],
                    stdin=subprocess.DEVNULL,
                    stdout=2,  # the daemon's stdout is for machines
                    pass_fds=handed_over,
                    env=bare_environment(),
                )
        except BaseException:
            self._ours.close()
            raise

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    def fate(self, seconds: float) -> str | None:
        """How it ended, e.g. `was ended by SIGKILL`; None if it has not within so many seconds."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None
        return f"was ended by {_signal_name(-code)}" if code < 0 else f"exited with {code}"

    def kill(self) -> None:
        """At once, from any thread."""
        self._process.kill()

    def end(self, farewell: float, reaped_within: float) -> bool:
        """Let it end in order for `farewell` seconds, then kill it. Whether it is gone."""
        self.channel.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            if farewell:
                self._process.wait(farewell)
        self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(reaped_within)
        if self._process.returncode is None:
            _unreaped.append(self._process)
        self._ours.close()
        return self._process.returncode is not None


def bare_environment() -> dict[str, str]:
    """What a child process may know: nothing of the settings, of systemd and of credentials."""
    return {
        name: value
        for name, value in os.environ.items()
        if name not in _NOT_FOR_CHILDREN and not name.startswith(_SETTINGS)
    }


def forbid_dumps() -> None:
    """Keep this process's memory from core files and other processes of the user (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # a real-time signal
        return f"signal {number}"

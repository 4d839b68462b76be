"""What a person sees of a run, and what its log keeps.

The libraries below the trainer write much to stdout and stderr, from Python and from C++. While a run is
made, all of that goes to `output.log` in its folder; only `say` and a stage's progress reach the terminal.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from oahega_edge.errors import EdgeError

LOG = "output.log"
_screen: TextIO | None = None
"""The terminal, while stdout is a log."""
_said = 0.0
"""Time of the last line for people."""


def screen() -> TextIO:
    """The terminal, or whatever stdout was before it became a log."""
    return _screen or sys.stdout


def say(sentence: str) -> None:
    """A line for people."""
    global _said
    _said = time.monotonic()
    print(sentence, file=screen(), flush=True)


class _Warnings(logging.Handler):
    """Warnings of ours as lines for people, also while stderr is a log."""

    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


def say_warnings() -> None:
    """From now on what the trainer and the device's rooms warn of reaches the terminal."""
    for package in ("oahega_build", "oahega_edge"):
        logger = logging.getLogger(package)
        if not any(isinstance(handler, _Warnings) for handler in logger.handlers):
            logger.addHandler(_Warnings(logging.WARNING))


def seconds_since_said() -> float:
    """How long nothing was said."""
    return time.monotonic() - _said


@contextlib.contextmanager
def logged(log: Path) -> Iterator[None]:
    """Whatever is written to stdout and stderr in the block goes to the end of `log`.

    An error that leaves the block names the log if anything was written to it. A nested block writes to the
    outer block's log.
    """
    if _screen is not None:
        yield
        return
    with log.open("a", encoding="utf-8", buffering=1) as file:
        begin = file.tell()
        try:
            with _redirected(file):
                yield
        except Exception as error:
            if log.stat().st_size > begin:
                error.add_note(f"the output until then is in {log}")
            raise
    if not log.stat().st_size:
        log.unlink()


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Whatever is written in the block is dropped, or shown on stderr when the block fails unforeseen.

    For the import of TensorFlow, which speaks of absent GPUs whatever its log level.
    """
    if _screen is not None:
        yield
        return
    with tempfile.TemporaryFile("w+", buffering=1, errors="replace") as file:
        try:
            with _redirected(file):
                yield
        except EdgeError:
            raise  # it says all that there is to say
        except BaseException:
            file.seek(0)
            sys.stderr.write(file.read())
            raise


@contextlib.contextmanager
def _redirected(file: TextIO) -> Iterator[None]:
    global _screen
    sys.stdout.flush()
    sys.stderr.flush()
    with contextlib.ExitStack() as undo:
        terminal, errors = undo.enter_context(_copy(1)), undo.enter_context(_copy(2))
        for copy, descriptor in ((terminal, 1), (errors, 2)):
            os.dup2(file.fileno(), descriptor)
            undo.callback(os.dup2, copy.fileno(), descriptor)
        if not faulthandler.is_enabled():
            faulthandler.enable(errors)  # a crash in C++ stays visible
            undo.callback(faulthandler.disable)
        # A stdout that is no longer file descriptor 1 belongs to a test, which is then the screen.
        _screen = terminal if _is_descriptor(sys.stdout, 1) else sys.stdout
        undo.callback(_forget_screen)
        with contextlib.redirect_stdout(file), contextlib.redirect_stderr(file):
            yield


def _copy(descriptor: int) -> TextIO:
    return os.fdopen(os.dup(descriptor), "w", buffering=1, encoding="utf-8", errors="backslashreplace")


def _is_descriptor(stream: TextIO, number: int) -> bool:
    try:
        return stream.fileno() == number
    except (OSError, ValueError):  # io.UnsupportedOperation is both
        return False


def _forget_screen() -> None:
    global _screen
    _screen = None

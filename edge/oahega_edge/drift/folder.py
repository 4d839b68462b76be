"""The records of the bundles and settings used last, in a folder, written behind the back of the chain."""

from __future__ import annotations

import logging
import threading
from _thread import start_new_thread
from collections.abc import Callable
from pathlib import Path

from oahega_edge.drift.record import LARGEST
from oahega_edge.files import read_file, replace_file

_log = logging.getLogger(__name__)

MOST_RECORDS = 3
"""One that is rolled back finds its first days again."""


class RecordFolder:
    """Files by a key, replaced whole or not at all. A thread writes them while there is one to write: a card
    takes milliseconds, sometimes seconds. Any thread may call.

    The thread is a bare one: `threading.Thread` waits until it runs, which takes longer than to count a
    hundred faces.
    """

    def __init__(self, folder: Path | None, replace: Callable[[Path, str], None] = replace_file) -> None:
        """`folder` is made when it is needed; None: nothing is kept. `replace` writes a file anew, or raises
        OSError.
        """
        self._folder = folder
        self._replace_file = replace
        self._lock = threading.Lock()
        self._due: dict[Path, str] = {}
        """The newest text of each file that is not written yet."""
        self._written = threading.Event()
        """Set while no thread writes."""
        self._written.set()
        self._tidy_for: Path | None = None
        """The file after which the folder was tidied: it is there, and old records are gone."""
        self._refused: str | None = None

    def file(self, key: str) -> Path | None:
        """Where the record of this hexadecimal key lies; None where nothing is kept."""
        return None if self._folder is None else self._folder / f"{key[:16]}.json"

    def read(self, key: str) -> bytes | None:
        """What was written last; None where nothing was. OSError: it cannot be read."""
        file = self.file(key)
        try:
            return None if file is None else read_file(file, LARGEST)
        except FileNotFoundError:
            return None

    def write(self, key: str, text: str) -> None:
        """Replace the record soon. It never waits for the disk; a disk that refuses is said once."""
        file = self.file(key)
        if file is None:
            return
        with self._lock:
            self._due[file] = text
            if not self._written.is_set():
                return
            try:
                start_new_thread(self._run, ())
                self._written.clear()
            except RuntimeError as error:  # no thread is free; the next write tries again
                self._refuse(file, str(error))

    def settle(self, seconds: float) -> bool:
        """Wait until everything is written, at most so long; whether it is."""
        return self._written.wait(seconds)

    def _run(self) -> None:
        try:
            while (due := self._next()) is not None:
                self._write(*due)
        except BaseException:
            with self._lock:
                self._written.set()  # the next write starts another thread
            raise

    def _next(self) -> tuple[Path, str] | None:
        with self._lock:
            if self._due:
                return self._due.popitem()
            self._written.set()
            return None

    def _write(self, file: Path, text: str) -> None:
        is_tidy = self._tidy_for == file
        try:
            if not is_tidy:
                file.parent.mkdir(exist_ok=True)
            self._replace_file(file, text)
            if not is_tidy:
                _keep_newest(file.parent)
            self._tidy_for, self._refused = file, None
        except OSError as error:
            self._tidy_for = None
            self._refuse(file, error.strerror or str(error))

    def _refuse(self, file: Path, why: str) -> None:
        """Say once that a file cannot be written."""
        if self._refused != why:
            _log.warning("%s cannot be written (%s); what is counted is lost at a restart", file, why)
        self._refused = why


def _keep_newest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda file: file.stat().st_mtime_ns)
    for old in files[:-MOST_RECORDS]:
        old.unlink(missing_ok=True)

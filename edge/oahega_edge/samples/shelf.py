"""The sealed samples on the device's disk. Any thread may call; each step is logged without content.

A sample is a file `HASH.sample`, where HASH is that of its code. A withdrawn one leaves an empty
`HASH.withdrawn` for good, so that the operator's side deletes what it fetched before.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from oahega_edge.asking.refusals import Refusal
from oahega_edge.files import open_file
from oahega_edge.samples.codes import hash_of, new_code
from oahega_edge.samples.sealed import HEADER, LARGEST, Sample, read_header, seal

_log = logging.getLogger(__name__)

FOLDER = "samples"
SEALED, WITHDRAWN, UNFINISHED = ".sample", ".withdrawn", ".new"


@dataclass(frozen=True, slots=True)
class Stock:
    """What lies on the disk."""

    samples: int
    most: int
    next_goes: date | None
    last_goes: date | None
    withdrawn: int
    """Samples that were withdrawn; the number never goes down."""


class Shelf:
    """The samples below the state folder."""

    def __init__(self, state: Path, most: int, days: int, today: Callable[[], date]) -> None:
        """`days`: for how many days at most a sample stays; `today` in the device's time zone."""
        self._folder = state / FOLDER
        self._most = most
        self._days = days
        self._today = today
        self._lock = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether no further sample is kept."""
        return len(self._sealed()) >= self._most

    def keep(self, sample: Sample, recipient: bytes) -> tuple[str, date]:
        """Seal it, keep it and return its code and the day on which it goes. Refusal: nothing was kept."""
        code, goes_on = new_code(), self._today() + timedelta(self._days)
        content = seal(sample, hash_of(code), goes_on, recipient)
        with self._lock:
            try:
                if self.is_full:
                    raise Refusal("full")
                self._write(hash_of(code).hex(), content)
            except OSError as error:
                _log.warning("a sample was not kept: %s cannot be written (%s)", self._folder, error.strerror)
                raise Refusal("disk", error.strerror or "") from error
            _log.info("a sample was kept, %d of at most %d", len(self._sealed()), self._most)
        return code, goes_on

    def withdraw(self, code: str) -> None:
        """Delete the sample of this code; Refusal where there is none, or where the disk refuses."""
        try:
            name = hash_of(code).hex()
        except ValueError as error:
            raise Refusal("no_code", str(error)) from error
        sealed, withdrawn = self._folder / f"{name}{SEALED}", self._folder / f"{name}{WITHDRAWN}"
        with self._lock, self._said_if_refused():
            try:
                sealed.rename(withdrawn)  # needs no room, and cannot be left half done
            except FileNotFoundError:
                _log.info("a withdrawal named no sample")
                raise Refusal("no_code") from None
            os.truncate(withdrawn, 0)
            _sync(self._folder)
            _log.info("a sample was withdrawn")

    def forget(self) -> int:
        """Delete all samples and return how many; what was withdrawn stays known."""
        with self._lock, self._said_if_refused():
            files = self._sealed()
            self._delete(files)
            _log.info("all samples were deleted: %d", len(files))
            return len(files)

    def tidy(self) -> None:
        """Delete what has expired or cannot be read, and what a power cut left half done."""
        with self._lock, contextlib.suppress(Refusal), self._said_if_refused():
            for file in self._files(WITHDRAWN):
                if file.stat().st_size:
                    os.truncate(file, 0)
            self._delete(self._files(UNFINISHED))
            gone = [file for file in self._sealed() if not self._is_to_stay(file)]
            if gone:
                self._delete(gone)
                _log.info("samples expired: %d", len(gone))

    def stock(self) -> Stock:
        """What lies there now."""
        days = sorted(day for file in self._sealed() if (day := _goes_on(file)) is not None)
        return Stock(
            samples=len(days),
            most=self._most,
            next_goes=days[0] if days else None,
            last_goes=days[-1] if days else None,
            withdrawn=len(self._files(WITHDRAWN)),
        )

    def _is_to_stay(self, file: Path) -> bool:
        """A day further away than a new sample's comes from a wrong clock, or from longer `samples.days`."""
        goes_on, today = _goes_on(file), self._today()
        return goes_on is not None and today < goes_on <= today + timedelta(self._days)

    def _write(self, name: str, content: bytes) -> None:
        """Whole or not at all. Nothing but what is sealed ever gets here."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        unfinished = self._folder / f"{name}{UNFINISHED}"
        try:
            descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(self._folder / f"{name}{SEALED}")
        except OSError:
            with contextlib.suppress(OSError):
                unfinished.unlink()
            raise
        _sync(self._folder)

    def _delete(self, files: list[Path]) -> None:
        for file in files:
            file.unlink(missing_ok=True)
        if files:
            _sync(self._folder)

    def _sealed(self) -> list[Path]:
        return self._files(SEALED)

    def _files(self, ending: str) -> list[Path]:
        """OSError where the folder is there and cannot be read, which must not pass for an empty one."""
        try:
            names = sorted(os.listdir(self._folder))
        except FileNotFoundError:
            return []
        return [self._folder / name for name in names if name.endswith(ending)]

    @contextlib.contextmanager
    def _said_if_refused(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _log.warning("samples cannot be deleted: %s refuses it (%s)", self._folder, error.strerror)
            raise Refusal("undone", error.strerror or "") from error


def _goes_on(file: Path) -> date | None:
    """None for what is no sealed sample."""
    with contextlib.suppress(OSError, ValueError), open_file(file, LARGEST) as opened:
        return read_header(opened.read(HEADER.size)).goes_on
    return None


def _sync(folder: Path) -> None:
    """A deleted or renamed file is so on the disk before it is confirmed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""The SQLite file with the events that wait.

A file that cannot be used is set aside, and what can be read of it is taken over. A note beside it, written
after each sync, says how many events waited: with it, what is lost with a file can be counted.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import stat
from collections.abc import Collection, Generator, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from oahega_edge.disk.salvage import connect, rows_by_sqlite, rows_on_pages
from oahega_edge.disk.waiting import Row, Waiting, waiting_of
from oahega_edge.files import read_file

log = logging.getLogger(__name__)

FILE_NAME = "events.sqlite"
NOTE_NAME = "events.note"
FORMAT = 1
MOST_ASIDE = 3
"""Files that are kept for examination; from then on the newest replaces the last."""
FAR = 1 << 60
"""Keys beyond are a damage: after them, there may be no next one."""

_LAYOUT = """
CREATE TABLE waiting (
    key INTEGER PRIMARY KEY,
    face TEXT NOT NULL,
    wall REAL NOT NULL,
    steady REAL NOT NULL,
    steady_origin TEXT NOT NULL,
    event TEXT NOT NULL
) STRICT;
"""
_COLUMNS = {
    "key": ("INTEGER", 0, 1),
    "face": ("TEXT", 1, 0),
    "wall": ("REAL", 1, 0),
    "steady": ("REAL", 1, 0),
    "steady_origin": ("TEXT", 1, 0),
    "event": ("TEXT", 1, 0),
}
"""Type, whether it must have a value, and its place in the primary key, as SQLite tells them."""
_WRITTEN = "CREATE TABLE IF NOT EXISTS written (last INTEGER NOT NULL)"
"""The highest key that was ever deleted. Beside the layout, not part of it: other releases pass it over."""
_READ = "SELECT key, wall, steady, steady_origin, event FROM waiting WHERE key > ? ORDER BY key"
_DAMAGES = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ", "SQLITE_FORMAT")


class Unusable(Exception):
    """The file is no store of ours; the text says why."""


def is_damage(error: Exception) -> bool:
    """Whether the file is to blame, not the disk it lies on."""
    name = getattr(error, "sqlite_errorname", "") or ""
    return isinstance(error, Unusable) or name.startswith(_DAMAGES)


@dataclass(frozen=True, slots=True)
class Note:
    """What waited at the last sync."""

    first: int
    """The lowest key, 0 when nothing waited."""
    last: int
    """The highest key that was ever written."""
    waiting: int


class EventFile:
    """An open file. Every method may raise sqlite3.Error or OSError; `is_damage` tells what to blame."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._note_path = folder / NOTE_NAME
        self.lost = 0
        """Events that waited and could not be taken over."""
        self.reason: str | None = None
        """Why something was lost or set aside, in one sentence."""
        folder.mkdir(parents=True, exist_ok=True)
        note = _read_note(self._note_path)
        self._disk = self._opened(note)
        try:
            self._last = self._highest()
            self._check_log(note)
            self._rows: int = self._disk.execute("SELECT count(*) FROM waiting").fetchone()[0]
        except BaseException:
            self._disk.close()
            raise

    def __len__(self) -> int:
        return int(max(0, self._rows))

    @property
    def last(self) -> int:
        """The highest key that was ever written, 0 for a new file."""
        return self._last

    def after(self, key: int) -> Generator[Row, None, None]:
        """Rows behind this key, oldest first."""
        with contextlib.closing(self._disk.execute(_READ, (key,))) as rows:
            yield from rows

    def keys_of(self, faces: Collection[str]) -> list[int]:
        """Of the events of these faces."""
        marks = ",".join("?" * len(faces))
        query = f"SELECT key FROM waiting WHERE face IN ({marks})"
        return [key for (key,) in self._disk.execute(query, tuple(faces))]

    def write(self, events: Sequence[Waiting], done: Collection[int]) -> None:
        """Add these and delete `done` in one transaction."""
        rows = [_as_row(each.key, each) for each in events]
        last = max([self._last, *(each.key for each in events)])
        with self._disk:
            _insert(self._disk, rows)
            deleted = self._disk.executemany(
                "DELETE FROM waiting WHERE key = ?", [(key,) for key in done]
            ).rowcount
            if deleted > 0:
                self._disk.execute("UPDATE written SET last = ?", (last,))
        self._last = last
        self._rows += len(rows) - max(0, deleted)

    def move_below(self, key: int) -> None:
        """Give all rows keys below this one, in their order: they are older than what has it."""
        highest = self._highest()
        if highest < key:
            return
        by = highest - key + 1
        keys = [old for (old,) in self._disk.execute("SELECT key FROM waiting ORDER BY key")]
        with self._disk:
            self._disk.executemany(
                "UPDATE waiting SET key = ? WHERE key = ?", [(old - by, old) for old in keys]
            )
            self._disk.execute("UPDATE written SET last = ?", (key - 1,))
        self._last = key - 1
        self.sync()  # the note has the old keys

    def sync(self) -> None:
        """Wait for the card, then note what waits.

        SQLite's commits in WAL mode do not wait; this does, for all of them at once. Closing this second
        descriptor is harmless: SQLite's locks are on the other two files.
        """
        with contextlib.suppress(FileNotFoundError):
            descriptor = os.open(f"{self._path}-wal", os.O_RDONLY)
            try:
                os.fdatasync(descriptor)
            finally:
                os.close(descriptor)
        (first,) = self._disk.execute("SELECT coalesce(min(key), 0) FROM waiting").fetchone()
        _write_note(self._note_path, Note(first, self._last, len(self)))

    def close(self) -> None:
        """Let go of the file."""
        self._disk.close()

    def _highest(self) -> int:
        (in_rows,) = self._disk.execute("SELECT coalesce(max(key), 0) FROM waiting").fetchone()
        (deleted,) = self._disk.execute("SELECT coalesce(max(last), 0) FROM written").fetchone()
        return int(max(in_rows, deleted))

    def _opened(self, note: Note | None) -> sqlite3.Connection:
        try:
            self._check_kinds(note)
            return _open(self._path)
        except (sqlite3.DatabaseError, Unusable) as error:
            if not is_damage(error):
                raise
            return self._anew(str(error), note, keep_rows=not isinstance(error, _Newer))

    def _check_kinds(self, note: Note | None) -> None:
        """What SQLite would wait for, stumble over or silently begin anew."""
        for path in (self._path, *_companions(self._path)):
            with contextlib.suppress(FileNotFoundError):
                if not stat.S_ISREG(path.stat().st_mode):
                    raise Unusable(f"{path.name} is no regular file")
        if not self._path.exists():
            if (note is not None and note.waiting) or _companions(self._path)[0].exists():
                raise Unusable("it is gone")
        elif self._path.stat().st_size == 0:
            raise Unusable("it is empty")

    def _anew(self, why: str, note: Note | None, keep_rows: bool) -> sqlite3.Connection:
        """Set the file aside and begin another one with what can be read of it."""
        aside = _set_aside(self._path)
        on_pages = rows_on_pages(aside)  # first: SQLite removes the log of an empty file
        by_sqlite = rows_by_sqlite(aside)
        found = _salvaged(by_sqlite, on_pages, note) if keep_rows else iter(())
        last = 0 if note is None else max(0, note.last)
        try:
            disk = _open(self._path)
            with disk:
                _insert(disk, (_as_row(key, each) for key, each in enumerate(found, last + 1)))
                (taken,) = disk.execute("SELECT count(*) FROM waiting").fetchone()
                disk.execute("UPDATE written SET last = ?", (last + taken,))
        except BaseException:  # a full disk: what was found is only in the old file
            _put_back(aside, self._path)
            raise
        self.lost = max(0, max(len(by_sqlite), 0 if note is None else note.waiting) - taken)
        lost = "how many are lost is not known" if note is None else f"{self.lost} are lost"
        where = f"; the file is kept as {aside.name}" if os.path.lexists(aside) else ""
        self.reason = (
            f"{self._path} could not be used ({why}): {taken} of the events in it were taken over, "
            f"{lost}{where}"
        )
        log.warning("Store: %s.", self.reason)
        return disk

    def _check_log(self, note: Note | None) -> None:
        """SQLite passes over a log that is cut off or garbled; the note knows what stood in it."""
        if note is None or note.last <= self._last or self.reason is not None:
            return
        missing = min(note.waiting, note.last - self._last)
        rows = rows_on_pages(self._path)
        read = [waiting_of(row) for key, row in sorted(rows.items()) if self._last < key <= note.last]
        found = [each for each in read if each is not None]
        with self._disk:
            _insert(self._disk, [_as_row(each.key, each) for each in found])
            self._disk.execute("UPDATE written SET last = ?", (note.last,))
        self._last = note.last
        self.lost = max(0, missing - len(found))
        self.reason = (
            f"the log of {self._path} was cut off or garbled: {len(found)} events that stood in it were "
            f"taken over, {self.lost} are lost"
        )
        log.warning("Store: %s.", self.reason)


class _Newer(Unusable):
    """Written by a newer release."""


def _open(path: Path) -> sqlite3.Connection:
    """An existing file or a new one, checked and ready to write."""
    new = not os.path.lexists(path)
    disk = connect(path)
    try:
        disk.execute("PRAGMA journal_mode = WAL")
        disk.execute("PRAGMA synchronous = NORMAL")
        disk.execute("PRAGMA secure_delete = FAST")  # what was delivered need not lie on the card
        if disk.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
            raise Unusable("it is damaged")
        version = disk.execute("PRAGMA user_version").fetchone()[0]
        tables = {name for (name,) in disk.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        if version > FORMAT:
            raise _Newer(f"a newer release wrote it: format {version}, this one reads {FORMAT}")
        if version < 0:
            raise Unusable(f"its format is {version}")
        if version == 0 and not tables:
            disk.executescript(f"BEGIN; {_LAYOUT} PRAGMA user_version = {FORMAT}; COMMIT;")
        told = disk.execute("PRAGMA table_info(waiting)")
        columns = {name: (kind, needed, place) for _, name, kind, needed, _, place in told}
        if columns != _COLUMNS:
            raise Unusable(f"its columns are {', '.join(columns) or 'none'}")
        low, high = disk.execute("SELECT min(key), max(key) FROM waiting").fetchone()
        if low is not None and not -FAR < low <= high < FAR:
            raise Unusable(f"it has the key {high if high >= FAR else low}")
        with disk:  # which finds a disk that is read-only here, not later
            disk.execute(_WRITTEN)
            disk.execute("INSERT INTO written SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM written)")
            if version != FORMAT:
                disk.execute(f"PRAGMA user_version = {FORMAT}")
    except BaseException:
        disk.close()
        if new:  # begun on a full disk: what is left is empty, and would look like a damage
            with contextlib.suppress(OSError):
                path.unlink()
        raise
    return disk


def _insert(disk: sqlite3.Connection, rows: Iterable[tuple[object, ...]]) -> None:
    disk.executemany(f"INSERT INTO waiting ({', '.join(_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)", rows)


def _as_row(key: int, each: Waiting) -> tuple[object, ...]:
    return key, each.face, each.since.wall, each.since.steady, each.since.origin, each.event.to_json()


def _salvaged(by_sqlite: dict[int, Row], on_pages: dict[int, Row], note: Note | None) -> Iterator[Waiting]:
    """Every event that can be read, in the order of the keys; from bare pages only what waited last."""
    rows = dict(by_sqlite)
    if note is not None and len(rows) < note.waiting:
        rows = {key: row for key, row in on_pages.items() if note.first <= key <= note.last} | rows
    read = (waiting_of(rows[key]) for key in sorted(rows))
    return (each for each in read if each is not None)


def _companions(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}-wal"), path.with_name(f"{path.name}-shm")


def _set_aside(path: Path) -> Path:
    """Move the file and its log out of the way; where they are now."""
    names = [
        path.with_suffix(".broken"),
        *(path.with_suffix(f".broken-{n}") for n in range(2, MOST_ASIDE + 1)),
    ]
    aside = next((name for name in names if not os.path.lexists(name)), names[-1])
    for source, target in zip((path, *_companions(path)), (aside, *_companions(aside)), strict=True):
        with contextlib.suppress(FileNotFoundError):
            source.rename(target)
    return aside


def _put_back(aside: Path, path: Path) -> None:
    for source, target in zip((aside, *_companions(aside)), (path, *_companions(path)), strict=True):
        with contextlib.suppress(OSError):
            target.unlink()
        with contextlib.suppress(OSError):
            source.rename(target)


def _read_note(path: Path) -> Note | None:
    """None where there is none or it is damaged, too."""
    try:
        note = Note(**json.loads(read_file(path, 1024)))
    except (OSError, ValueError, TypeError):
        return None
    whole = all(type(value) is int for value in asdict(note).values())
    return note if whole and note.first > -FAR and note.last < FAR and 0 <= note.waiting < FAR else None


def _write_note(path: Path, note: Note) -> None:
    """In place, one block: it is written often. Without it, only the number of lost events is unknown."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        try:
            os.pwrite(descriptor, json.dumps(asdict(note)).ljust(100).encode(), 0)
        finally:
            os.close(descriptor)

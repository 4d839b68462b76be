"""What can still be read of a damaged store: the rows that SQLite reads, and those on pages beyond its reach.

Layout of pages and records: https://www.sqlite.org/fileformat2.html
"""

from __future__ import annotations

import contextlib
import sqlite3
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from oahega_edge.disk.waiting import Row
from oahega_edge.files import read_file

LARGEST = 256 << 20
"""Bytes of a file that is searched."""
MOST_QUERIES = 20_000
LEAF = 13
"""First byte of a page with the rows of a table."""
COLUMNS = ("key", "wall", "steady", "steady_origin", "event")

_WAL_HEADER, _FRAME_HEADER = 32, 24
_PAGE_SIZES = {1 << n for n in range(9, 17)}
_SIZES = {0: 0, 1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8, 7: 8, 8: 0, 9: 0}


def connect(path: Path, mode: Literal["rw", "rwc"] = "rwc") -> sqlite3.Connection:
    """To an existing file (rw) or a new one; text that is none comes as bytes and hides no rows behind it."""
    disk = sqlite3.connect(f"{path.absolute().as_uri()}?mode={mode}", timeout=1.0, uri=True)
    disk.text_factory = _text
    return disk


def _text(data: bytes) -> str | bytes:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data


def rows_by_sqlite(path: Path) -> dict[int, Row]:
    """Every row that SQLite can reach, by its key; columns that are missing are NULL."""
    found: dict[int, Row] = {}
    with contextlib.suppress(sqlite3.Error), contextlib.closing(connect(path, "rw")) as disk:
        there = {name for _, name, *_ in disk.execute("PRAGMA table_info(waiting)")}
        if {"key", "event"} <= there:
            chosen = ", ".join(name if name in there else "NULL" for name in COLUMNS)
            query = f"SELECT {chosen} FROM waiting WHERE key BETWEEN ? AND ? ORDER BY key"
            _read_around_damage(lambda low, high: disk.execute(query, (low, high)), found)
    return found


def _read_around_damage(read: Callable[[int, int], Iterator[Row]], found: dict[int, Row]) -> None:
    """Halve each range of keys that cannot be read, until what is left is the damage."""
    ranges = [(-(1 << 63), (1 << 63) - 1)]
    for _ in range(MOST_QUERIES):
        if not ranges:
            return
        low, high = ranges.pop()
        try:
            for row in read(low, high):
                if isinstance(row[0], int):
                    found[row[0]] = row
                    low = row[0] + 1
        except sqlite3.Error:
            if low < high:
                middle = (low + high) // 2
                ranges += [(middle + 1, high), (low, middle)]


def rows_on_pages(path: Path) -> dict[int, Row]:
    """Rows on any page of the file or of its log, deleted ones included, by their keys."""
    found: dict[int, Row] = {}
    for page in _pages(path):
        for row in _rows_of(page):
            found[row[0]] = row
    return found


def _pages(path: Path) -> Iterator[bytes]:
    content = _content(path)
    size = int.from_bytes(content[16:18], "big") if content[:6] == b"SQLite" else 0
    size = size if size in _PAGE_SIZES else 4096
    yield from (content[at : at + size] for at in range(0, len(content), size))
    log = _content(path.with_name(path.name + "-wal"))
    size = int.from_bytes(log[8:12], "big")
    size = size if size in _PAGE_SIZES else 4096
    frame = _FRAME_HEADER + size
    yield from (log[at + _FRAME_HEADER : at + frame] for at in range(_WAL_HEADER, len(log), frame))


def _content(path: Path) -> bytes:
    try:
        return read_file(path, LARGEST)
    except OSError:
        return b""


def _rows_of(page: bytes) -> Iterator[Row]:
    if len(page) < 8 or page[0] != LEAF:
        return
    for cell in range(int.from_bytes(page[3:5], "big")):
        place = page[8 + 2 * cell : 10 + 2 * cell]
        with contextlib.suppress(IndexError, struct.error, UnicodeDecodeError, KeyError):
            row = _row_at(page, int.from_bytes(place, "big"))
            if row is not None:
                yield row


def _row_at(page: bytes, at: int) -> Row | None:
    """One record: key (stored as the row's number), face, wall, steady, origin, event."""
    payload, at = _varint(page, at)
    key, at = _varint(page, at)
    if at + payload > len(page):  # it goes on elsewhere: longer than any event
        return None
    header, after_length = _varint(page, at)
    kinds, place = [], after_length
    while place < at + header:
        kind, place = _varint(page, place)
        kinds.append(kind)
    if len(kinds) != 6 or kinds[0] != 0:
        return None
    values = []
    for kind in kinds:
        value, place = _value(page, kind, place)
        values.append(value)
    _, _, wall, steady, origin, event = values
    return key - (1 << 64) if key >= 1 << 63 else key, wall, steady, origin, event


def _varint(page: bytes, at: int) -> tuple[int, int]:
    value = 0
    for n in range(9):
        byte = page[at + n]
        if n == 8:
            return value << 8 | byte, at + 9
        value = value << 7 | byte & 127
        if byte < 128:
            return value, at + n + 1
    raise IndexError(at)


def _value(page: bytes, kind: int, at: int) -> tuple[object, int]:
    size = _SIZES[kind] if kind < 10 else (kind - 12) // 2
    data = page[at : at + size]
    if len(data) != size:
        raise IndexError(at)
    if kind >= 13 and kind % 2:
        return data.decode(), at + size
    if kind in (8, 9):
        return kind - 8, at
    if kind == 7:
        return struct.unpack(">d", data)[0], at + size
    return (int.from_bytes(data, "big", signed=True) if size and kind < 10 else None), at + size

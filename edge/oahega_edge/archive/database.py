"""The two databases behind one small interface, so that tables, views and their meaning exist once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Literal, Protocol

from oahega_edge.errors import EdgeError

Row = tuple[Any, ...]


class ArchiveError(EdgeError):
    """The store of the archive cannot be used as it is, today or later."""

    exit_code = 78  # systemd does not restart on it


class StoreAway(EdgeError):
    """The store does not answer now; the same may work later."""


class BadRow(EdgeError):
    """The store refuses a value: it will refuse it each time."""


class Database(Protocol):
    """A connection. Raises StoreAway when it is broken, BadRow for a value that does not fit."""

    name: Literal["duckdb", "postgresql"]

    def close(self) -> None:
        """Let go of it."""
        ...

    def transaction(self) -> AbstractContextManager[None]:
        """All or nothing; committed at the end of the block, for good."""
        ...

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """One statement, with ? for each value; its rows."""
        ...

    def load(self, table: str, rows: Sequence[Row]) -> str:
        """Put rows into a temporary table with the columns of `table`, empty before; its name."""
        ...

    def columns(self, table: str) -> list[str]:
        """Names of its columns, in order."""
        ...

    def partitioning(self) -> tuple[str, str]:
        """What keeps events apart by day: the end of CREATE TABLE, and a statement after it or nothing."""
        ...

    def prepare(self, days: Sequence[str]) -> None:
        """Make room for events of these days (YYYY-MM-DD)."""
        ...

    def drop_days(self, before: str) -> None:
        """Drop whole days of events before this one where the database keeps days apart."""
        ...

    def snapshot(self, tables: Sequence[str], views: Sequence[str]) -> None:
        """Leave a copy for readers, where the database has one user at a time; `views`: statements."""
        ...

    def write_parquet(self, view: str, table: Path, path: Path) -> None:
        """A view as a Parquet file; `table`: the same as CSV."""
        ...


def statements(text: str) -> Iterator[str]:
    """The statements of an SQL file without comments; none holds a semicolon."""
    lines = [line for line in text.splitlines() if not line.startswith("--")]
    yield from (part.strip() for part in "\n".join(lines).split(";") if part.strip())

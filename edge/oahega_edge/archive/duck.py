"""DuckDB: a file with one writer. The only module that touches duckdb."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, Self

import duckdb

from oahega_edge.archive.database import ArchiveError, BadRow, Row, StoreAway

_BAD = (
    duckdb.ConversionException,
    duckdb.OutOfRangeException,
    duckdb.ConstraintException,
    duckdb.InvalidInputException,
)


class DuckDatabase:
    """A file that this process holds open."""

    name: Literal["duckdb", "postgresql"] = "duckdb"

    def __init__(self, path: str, read_only: bool = False) -> None:
        """Raises StoreAway when another process holds it, ArchiveError for a file that is no database."""
        self._path = Path(path)
        self._known: dict[str, list[tuple[str, str]]] = {}
        try:
            self._link = duckdb.connect(path, read_only=read_only)
        except duckdb.Error as error:
            if _is_held(error) or not self._path.exists():
                raise StoreAway(f"{path} cannot be opened now: {_line(error)}") from error
            raise ArchiveError(
                f"{path} is no DuckDB file ({_line(error)}); move it away or name another"
            ) from error
        self._link.execute("SET TimeZone = 'UTC'")

    @classmethod
    def to_read(cls, path: str) -> Self:
        """The file, or the snapshot beside it while the archive writes."""
        if not Path(path).is_file():
            raise ArchiveError(f"{path} does not exist; name the store that `oahega-edge archive` fills")
        try:
            return cls(path, read_only=True)
        except StoreAway:
            snapshot = _snapshot_of(Path(path))
            if not snapshot.is_file():
                raise
            return cls(str(snapshot), read_only=True)

    def close(self) -> None:
        """Let go of the file."""
        self._link.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; DuckDB syncs its log at the commit."""
        with _translated():
            self._link.begin()
        try:
            yield
            with _translated():
                self._link.commit()
        except BaseException:
            with contextlib.suppress(duckdb.Error):
                self._link.rollback()
            raise

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """One statement; its rows."""
        with _translated():
            return self._link.execute(sql, list(values)).fetchall() if values else _rows(self._link, sql)

    def load(self, table: str, rows: Sequence[Row]) -> str:
        """As one JSON text: row by row, DuckDB takes a thousand times as long."""
        columns = self._types(table)
        names = [name for name, _ in columns]
        shape = json.dumps([{name: kind for name, kind in columns if kind != "BLOB"}])
        text = json.dumps([dict(zip(names, row, strict=True)) for row in rows], default=_hex)
        with _translated():
            self._link.execute(f"CREATE OR REPLACE TEMP TABLE new_{table} AS FROM {table} LIMIT 0")
            if "BLOB" in dict(columns).values():
                marks = ", ".join("?" * len(names))
                for row in rows:
                    self._link.execute(f"INSERT INTO new_{table} VALUES ({marks})", list(row))
            else:
                self._link.execute(
                    f"INSERT INTO new_{table} SELECT unnest(from_json(?, '{shape}'), recursive := true)",
                    [text],
                )
        return f"new_{table}"

    def columns(self, table: str) -> list[str]:
        """Names of its columns."""
        return [name for name, _ in self._types(table)]

    def partitioning(self) -> tuple[str, str]:
        """Nothing is parted by day."""
        return "", ""

    def prepare(self, days: Sequence[str]) -> None:
        """Nothing is parted by day."""

    def drop_days(self, before: str) -> None:
        """Nothing is parted by day."""

    def snapshot(self, tables: Sequence[str], views: Sequence[str]) -> None:
        """Beside the file, replaced in one step; readers of the old one keep it."""
        made = _snapshot_of(self._path).with_suffix(".new")
        with _translated():
            for left in (made, made.with_name(f"{made.name}.wal")):  # of one that was killed
                left.unlink(missing_ok=True)
            ((home,),) = self._link.execute("SELECT current_database()").fetchall()
            self._link.execute(f"ATTACH {_quoted(made)} AS snapshot")
            try:
                for table in tables:
                    self._link.execute(f"CREATE TABLE snapshot.{table} AS FROM {table}")
                self._link.execute("USE snapshot")
                for view in views:
                    self._link.execute(view)
            finally:
                self._link.execute(f'USE "{home}"')
                self._link.execute("DETACH snapshot")
            made.replace(_snapshot_of(self._path))

    def write_parquet(self, view: str, table: Path, path: Path) -> None:
        """With the types of the view."""
        with _translated():
            self._link.execute(f"COPY (FROM {view}) TO {_quoted(path)} (FORMAT parquet)")

    def _types(self, table: str) -> list[tuple[str, str]]:
        if table not in self._known:
            with _translated():
                described = self._link.execute(f"DESCRIBE {table}").fetchall()
            self._known[table] = [(row[0], row[1]) for row in described]
        return self._known[table]


def parquet_of(table: Path, path: Path) -> None:
    """A CSV file as Parquet; DuckDB finds the types."""
    with duckdb.connect() as link:
        link.execute(
            f"COPY (FROM read_csv({_quoted(table)}, header = true)) TO {_quoted(path)} (FORMAT parquet)"
        )


def _snapshot_of(path: Path) -> Path:
    return path.with_name(f"{path.name}.snapshot")


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _rows(link: duckdb.DuckDBPyConnection, sql: str) -> list[Row]:
    done = link.execute(sql)
    return done.fetchall() if done.description else []


def _is_held(error: duckdb.Error) -> bool:
    """By another process, or in another way by this one. DuckDB tells the first by its words only."""
    return str(error).startswith("IO Error: Could not set lock") or isinstance(
        error, duckdb.ConnectionException
    )


def _hex(value: object) -> str:
    return str(value)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0]


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except _BAD as error:
        raise BadRow(_line(error)) from error
    except (duckdb.Error, OSError) as error:
        raise StoreAway(_line(error)) from error

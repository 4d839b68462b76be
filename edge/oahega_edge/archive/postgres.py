"""PostgreSQL through psycopg; the only module that touches it.

Events lie in a partition per day or, in a store that was made where TimescaleDB is installed, in a hypertable
with a chunk per day.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

import psycopg
from psycopg import sql as query

from oahega_edge.archive.database import ArchiveError, BadRow, Row, StoreAway

CONNECT_TIMEOUT_S = 5
PATIENCE_S = 60.0
"""For one statement: a database that hangs is given up, and the batch is tried again."""
_SESSION = {
    "timezone": "UTC",
    "client_min_messages": "warning",
    "work_mem": "64MB",  # grouping a hundred thousand hours goes to the disk with Debian's 4 MB
    "jit": "off",  # compiling takes seconds where a statement that touches few rows is thought to be long
}
FARTHEST = timedelta(days=400)
"""From today; events of a clock that is farther off lie in one partition together."""
_SCHEMA_LOCK = 0x0A4E6A
_HYPERTABLE = (
    "SELECT create_hypertable('events', 'time', chunk_time_interval => INTERVAL '1 day', "
    "create_default_indexes => FALSE)"
)


class PostgresDatabase:
    """One connection."""

    name: Literal["duckdb", "postgresql"] = "postgresql"

    def __init__(self, url: str, patience_s: float = PATIENCE_S) -> None:
        """Raises StoreAway when there is no connection, ArchiveError for an address that cannot be read."""
        patience_ms = round(1000 * patience_s)
        try:
            psycopg.conninfo.conninfo_to_dict(url)
        except psycopg.ProgrammingError as error:
            raise ArchiveError(
                f"the store's address cannot be read ({_line(error)}); write postgresql://USER@HOST/DATABASE"
            ) from error
        self._known: dict[str, list[str]] = {}
        self._days: set[str] = set()
        self._is_hypertable: bool | None = None
        session = _SESSION | {"statement_timeout": patience_ms}
        with _translated():
            self._link = psycopg.connect(
                url,
                autocommit=True,
                connect_timeout=CONNECT_TIMEOUT_S,
                application_name="oahega-archive",
                client_encoding="utf8",  # of a database of SQL_ASCII, psycopg would else read texts as bytes
                options=" ".join(f"-c {name}={value}" for name, value in session.items()),
                keepalives_idle=10,
                keepalives_interval=5,
                keepalives_count=3,
                tcp_user_timeout=patience_ms,  # what was sent into a line that is cut has no keepalives
            )

    def close(self) -> None:
        """Let go of the connection."""
        self._link.close()

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing; on the disk at the end."""
        with _translated(), self._link.transaction():
            yield

    def execute(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """One statement; its rows."""
        with _translated():
            text = sql.replace("?", "%s") if values else sql
            done = self._link.execute(text.encode(), list(values) or None)
            return done.fetchall() if done.description else []

    def load(self, table: str, rows: Sequence[Row]) -> str:
        """By COPY."""
        new = query.Identifier(f"new_{table}")
        with _translated():
            self._link.execute(
                query.SQL(
                    "CREATE TEMP TABLE IF NOT EXISTS {} (LIKE {} INCLUDING DEFAULTS) ON COMMIT DELETE ROWS"
                ).format(new, query.Identifier(table))
            )
            self._link.execute(query.SQL("TRUNCATE {}").format(new))  # a second load in one transaction
            with (
                self._link.cursor() as cursor,
                cursor.copy(query.SQL("COPY {} FROM STDIN").format(new)) as copy,
            ):
                for row in rows:
                    copy.write_row(row)
        return f"new_{table}"

    def columns(self, table: str) -> list[str]:
        """Names of its columns."""
        if table not in self._known:
            rows = self.execute(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_schema = current_schema() AND table_name = ? ORDER BY ordinal_position",
                [table],
            )
            self._known[table] = [row[0] for row in rows]
        return self._known[table]

    def partitioning(self) -> tuple[str, str]:
        """A hypertable where the database has the extension TimescaleDB, else partitions."""
        if self.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"):
            return "", _HYPERTABLE
        return "PARTITION BY RANGE (time)", "CREATE TABLE events_elsewhen PARTITION OF events DEFAULT"

    def prepare(self, days: Sequence[str]) -> None:
        """A partition for each day that is near; two workers may want the same. A hypertable needs none.

        A day of which rows lie in the common partition already, of a clock that was ahead, stays there.
        """
        if self._has_chunks():
            return
        today = date.today()
        for day in sorted(set(days) - self._days):
            first = date.fromisoformat(day)
            if abs(first - today) <= FARTHEST:
                with contextlib.suppress(BadRow), self.transaction():
                    self._link.execute("SELECT pg_advisory_xact_lock(%s)", [_SCHEMA_LOCK])
                    self._part("events_" + day.replace("-", ""), day, (first + timedelta(days=1)).isoformat())
            self._days.add(day)

    def drop_days(self, before: str) -> None:
        """Whole partitions or chunks: no row is touched."""
        if self._has_chunks():
            self.execute(f"SELECT drop_chunks('events', older_than => TIMESTAMP '{before}')")
            return
        limit = "events_" + before.replace("-", "")
        for (name,) in self.execute(
            "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid "
            "WHERE i.inhparent = 'events'::regclass AND c.relname ~ '^events_[0-9]{8}$'"
        ):
            if name < limit:
                self.execute(f"DROP TABLE {name}")
        self._days.clear()

    def snapshot(self, tables: Sequence[str], views: Sequence[str]) -> None:
        """Readers need none."""

    def write_parquet(self, view: str, table: Path, path: Path) -> None:
        """By DuckDB, from the CSV."""
        from oahega_edge.archive.duck import parquet_of

        parquet_of(table, path)

    def _has_chunks(self) -> bool:
        """A store keeps what it was made with, whatever is installed later."""
        if self._is_hypertable is None:
            parted = self.execute("SELECT 1 FROM pg_class WHERE oid = 'events'::regclass AND relkind = 'p'")
            self._is_hypertable = not parted
        return self._is_hypertable

    def _part(self, name: str, start: str, end: str) -> None:
        self._link.execute(
            query.SQL(
                "CREATE TABLE IF NOT EXISTS {} PARTITION OF events FOR VALUES FROM ({}) TO ({})"
            ).format(query.Identifier(name), query.Literal(start), query.Literal(end))
        )


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (psycopg.DataError, psycopg.IntegrityError) as error:
        raise BadRow(_line(error)) from error
    except psycopg.Error as error:
        raise StoreAway(_line(error)) from error


def _line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]

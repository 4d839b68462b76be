"""Events in a hypertable, where TimescaleDB is installed.

Debian has no TimescaleDB. These tests play it: a row in the catalog, and functions with its names and
parameters, of which one cannot part a table and the other deletes rows. They show what is sent and when.
"""

from __future__ import annotations

import contextlib
import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from edge.mqtt_samples import events
from oahega_edge.archive.address import connect
from oahega_edge.archive.records import KeptEvent
from oahega_edge.archive.store import Batch, Store
from postgres import Postgres

NAMES = itertools.count()
NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)
STAND_IN = """
SET allow_system_table_mods = on;
INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, extversion)
VALUES (999999, 'timescaledb', 10, 'public'::regnamespace, false, '2.0');
CREATE TABLE calls (said TEXT);
CREATE FUNCTION create_hypertable(
    relation REGCLASS, time_column_name NAME, chunk_time_interval INTERVAL, create_default_indexes BOOLEAN
) RETURNS VOID AS $$
    INSERT INTO calls VALUES (format('%s by %s every %s, more indexes: %s', $1, $2, $3, $4))
$$ LANGUAGE sql;
CREATE FUNCTION drop_chunks(relation REGCLASS, older_than TIMESTAMP) RETURNS SETOF TEXT AS $$
BEGIN
    INSERT INTO calls VALUES (format('%s before %s', relation, older_than));
    EXECUTE format('DELETE FROM %s WHERE time < %L', relation, older_than);
END
$$ LANGUAGE plpgsql;
"""


@pytest.fixture
def url(postgres: Postgres) -> str:
    """An empty database that looks as if it had the extension; a superuser may write its catalog."""
    made = postgres.fresh(f"hypertable_{next(NAMES)}")
    with psycopg.connect(made, autocommit=True) as link:
        link.execute(STAND_IN)
    return made


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return store._database.execute(sql)


def kept(count: int, **ago: float) -> list[KeptEvent]:
    """Events of so long ago."""
    made = [KeptEvent.model_validate_json(each.to_json()) for each in events(count, boot_id=f"{ago}")]
    return [each.model_copy(update={"time": NOW - timedelta(**ago)}) for each in made]


def tables_of_days(store: Store) -> list[tuple[Any, ...]]:
    return rows(store, "SELECT inhrelid FROM pg_inherits WHERE inhparent = 'events'::regclass")


def test_events_lie_in_a_hypertable_with_a_chunk_a_day_and_each_is_kept_once(url: str) -> None:
    made = kept(5, days=0)

    with contextlib.closing(Store(connect(url))) as store:
        first = store.write(Batch([*made, made[0]]))
    with contextlib.closing(Store(connect(url))) as store:
        again = store.write(Batch([*made]))

        assert (first.events, again.events, again.duplicates) == (5, 0, 5)
        assert rows(store, "SELECT said FROM calls") == [("events by time every 1 day, more indexes: f",)]
        assert tables_of_days(store) == []


def test_old_chunks_are_dropped_whole_up_to_the_beginning_of_the_day(url: str) -> None:
    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch([*kept(3, days=40), *kept(2, days=1)]))
        rows(store, "TRUNCATE calls")

        deleted = store.retain(30, NOW)

        assert deleted == 3
        assert rows(store, "SELECT said FROM calls") == [("events before 2026-10-27 00:00:00",)]
        assert rows(store, "SELECT count(*) FROM events") == [(2,)]
        assert rows(store, "SELECT sum(events) FROM event_hours") == [(5,)]


def test_a_store_with_partitions_keeps_them_when_the_extension_comes_later(postgres: Postgres) -> None:
    url = postgres.fresh("partitions_first")
    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch([*kept(1, days=40)]))
    with psycopg.connect(url, autocommit=True) as link:
        link.execute(STAND_IN)

    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch([*kept(1, days=0)]))
        store.retain(30, NOW)

        assert rows(store, "SELECT said FROM calls") == []
        assert len(tables_of_days(store)) == 2  # of the day, and for clocks that are far off
        assert rows(store, "SELECT count(*) FROM events") == [(1,)]

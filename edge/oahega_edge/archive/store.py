"""The archive's store: batches in, each record once, with what it adds to the hours in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib import resources

from oahega_edge.archive import rollup
from oahega_edge.archive.database import ArchiveError, Database, Row, statements
from oahega_edge.archive.records import (
    KINDS,
    KeptAvailability,
    KeptEvent,
    KeptHealth,
    KeptSummary,
    Record,
    utc,
)

VERSION = 6
"""Of tables and views: the number of the last file in sql/."""
VIEWS = (2, 4, 6)
"""Numbers of the files with the views."""
HOURS = {
    "event_hours": ("events", "delayed", "degraded"),
    "visit_hours": ("visits", "seen_ms", "people"),
    "dominant_hours": ("visits",),
    "expression_hours": ("read_ms",),
    "length_hours": ("visits",),
    "device_hours": ("minutes", "degraded"),
}
"""Tables of hours -> the columns that grow."""
DAYS = {
    "visit_hours": "visit_days",
    "dominant_hours": "dominant_days",
    "expression_hours": "expression_days",
    "length_hours": "length_days",
}
"""Tables of hours -> the tables of days that grow with them."""
_GREATEST = {"people"}
SMALL = (*HOURS, *DAYS.values(), "devices", "boots", "rules", "archive_version")
"""What the views read."""
OF_A_DEVICE = (
    *HOURS,
    *DAYS.values(),
    "events",
    "summaries",
    "availability",
    "device_minutes",
    "boots",
    "devices",
)
MINUTES_KEPT = timedelta(days=2)
Heard = KeptEvent | KeptSummary | KeptHealth
_BYTES = {"duckdb": "BLOB", "postgresql": "BYTEA"}


@dataclass(frozen=True, slots=True)
class Unfit:
    """A message that fits no schema, as it came."""

    topic: str
    payload: bytes
    reason: str
    received: datetime


@dataclass(slots=True)
class Batch:
    """What one transaction takes in."""

    records: list[Record] = field(default_factory=list)
    misfits: list[Unfit] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.records) + len(self.misfits)


@dataclass(frozen=True, slots=True)
class Written:
    """What a batch brought."""

    events: int = 0
    summaries: int = 0
    duplicates: int = 0
    misfits: int = 0


class Store:
    """Used by one thread."""

    def __init__(self, database: Database) -> None:
        """Makes tables or brings them up to date. Raises ArchiveError for those of a newer release."""
        self._database = database
        self._migrate()

    def write(self, batch: Batch) -> Written:
        """All of it or nothing. Raises StoreAway, or BadRow for a value that the database refuses."""
        heard = _once([each for each in batch.records if not isinstance(each, KeptAvailability)])
        events = [each for each in heard if isinstance(each, KeptEvent)]
        summaries = [each for each in heard if isinstance(each, KeptSummary)]
        self._database.prepare(sorted({utc(each.time)[:10] for each in events}))
        with self._database.transaction():
            new_events = self._insert("events", [rollup.event_row(each) for each in events])
            new_summaries = self._insert("summaries", [rollup.summary_row(each) for each in summaries])
            there = new_events | new_summaries
            new = [each for each in heard if isinstance(each, KeptHealth) or str(each.id) in there]
            self._count(new)
            self._grow(rollup.event_hours(each for each in new if isinstance(each, KeptEvent)))
            self._grow(rollup.visit_hours(each for each in new if isinstance(each, KeptSummary)))
            self._insert_health([each for each in new if isinstance(each, KeptHealth)])
            self._insert_availability([each for each in batch.records if isinstance(each, KeptAvailability)])
            self._insert_misfits(batch.misfits)
        came = sum(isinstance(each, KeptEvent | KeptSummary) for each in batch.records)
        return Written(len(new_events), len(new_summaries), came - len(there), len(batch.misfits))

    def forget(self, device: str) -> int | None:
        """Delete all of a device, with its share in the hours; the number of events, None: it is unknown."""
        with self._database.transaction():
            known = self._database.execute("SELECT 1 FROM devices WHERE device = ?", [device])
            ((count,),) = self._database.execute("SELECT count(*) FROM events WHERE device = ?", [device])
            for table in OF_A_DEVICE:
                self._database.execute(f"DELETE FROM {table} WHERE device = ?", [device])
            for kind in KINDS:  # the root may have a level of the device's name
                end = f"/{device}/{kind}"
                self._database.execute(f"DELETE FROM misfits WHERE right(topic, {len(end)}) = ?", [end])
        self.snapshot()
        return int(count) if known else None

    def retain(self, days: int, now: datetime) -> int:
        """Delete what is older than this but the hours, days and devices. The number of events."""
        limit = utc(
            (now.astimezone(UTC) - timedelta(days=days)).replace(hour=0, minute=0, second=0, microsecond=0)
        )
        with self._database.transaction():
            ((count,),) = self._database.execute(f"SELECT count(*) FROM events WHERE time < {_moment(limit)}")
            self._database.drop_days(limit[:10])
            for table in ("events", "summaries", "availability", "misfits"):
                column = "received" if table == "misfits" else "time"
                self._database.execute(f"DELETE FROM {table} WHERE {column} < {_moment(limit)}")
        return int(count)

    def place(self, device: str, site: str) -> None:
        """This device stands at this site."""
        with self._database.transaction():
            self._database.execute(
                "INSERT INTO devices (device, site) VALUES (?, ?) "
                "ON CONFLICT (device) DO UPDATE SET site = excluded.site",
                [device, site],
            )
        self.snapshot()

    def snapshot(self) -> None:
        """Leave a copy of what the views read for readers."""
        views = [statement for number in VIEWS for statement in statements(_file(number))]
        self._database.snapshot(SMALL, views)

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def _migrate(self) -> None:
        with self._database.transaction():
            if self._database.name == "postgresql":
                self._database.execute("SELECT pg_advisory_xact_lock(4212)")  # workers that start together
            self._database.execute("CREATE TABLE IF NOT EXISTS archive_version (version BIGINT NOT NULL)")
            rows = self._database.execute("SELECT max(version) FROM archive_version")
            version = rows[0][0] or 0
            if version > VERSION:
                raise ArchiveError(
                    f"the store has version {version}, this release knows up to {VERSION}; "
                    "install the newer release"
                )
            for number in range(version + 1, VERSION + 1):
                self._apply(number)
                self._database.execute(f"INSERT INTO archive_version VALUES ({number})")

    def _apply(self, number: int) -> None:
        text, parted = _file(number), ""
        if "{partitioned}" in text:
            words, parted = self._database.partitioning()
            text = text.replace("{partitioned}", words).replace("{bytes}", _BYTES[self._database.name])
        for statement in (*statements(text), *statements(parted)):
            self._database.execute(statement)

    def _insert(self, table: str, rows: list[Row]) -> set[str]:
        """Those that were not there; their ids."""
        if not rows:
            return set()
        new = self._database.load(table, rows)
        done = self._database.execute(
            f"INSERT INTO {table} SELECT * FROM {new} ON CONFLICT DO NOTHING RETURNING CAST(id AS TEXT)"
        )
        return {row[0] for row in done}

    def _count(self, heard: Sequence[Heard]) -> None:
        """How many of each boot have arrived and how many it has made; and that its device is known.

        One statement, so that two workers never wait for each other. Of the first boot that is known of a
        device, only what has arrived is counted: nobody knows how much was sent before.
        """
        rows = rollup.boots_of(heard)
        if not rows:
            return
        boots = self._database.load("boots", rows)
        mine = "FROM boots WHERE boots.device = n.device"
        self._database.execute(
            "INSERT INTO boots "
            "SELECT device, boot_id, kind, since, lowest, highest, arrived, place, made FROM ("
            "SELECT n.device, n.boot_id, n.kind, n.since, n.lowest, n.highest, n.arrived, n.made, coalesce("
            f"(SELECT max(place) {mine} AND boots.boot_id = n.boot_id), "
            f"(SELECT max(place) + 1 + n.place {mine}), n.place) AS place, "
            f"(SELECT count(*) {mine} AND boots.boot_id = n.boot_id AND boots.kind = n.kind) AS there "
            f"FROM {boots} n) AS placed WHERE arrived > 0 OR place > 0 OR there > 0 ORDER BY 1, 2, 3 "
            "ON CONFLICT (device, boot_id, kind) DO UPDATE SET since = least(boots.since, excluded.since), "
            "lowest = CASE WHEN excluded.arrived > 0 THEN least(boots.lowest, excluded.lowest) "
            "ELSE boots.lowest END, "
            "highest = greatest(boots.highest, excluded.highest), "
            "arrived = boots.arrived + excluded.arrived, made = greatest(boots.made, excluded.made)"
        )
        self._database.execute(
            f"INSERT INTO devices (device) SELECT DISTINCT device FROM {boots} ORDER BY 1 "
            "ON CONFLICT DO NOTHING"
        )

    def _grow(self, hours: rollup.Rows) -> None:
        for table, rows in hours.items():
            if rows:
                new = self._database.load(table, rows)
                self._add(table, "hour", new, HOURS[table])
                if table in DAYS:
                    self._add(DAYS[table], "date_trunc('day', hour)", new, HOURS[table])

    def _add(self, table: str, moment: str, new: str, figures: Sequence[str]) -> None:
        """In the order of the keys, so that two workers never wait for each other."""
        keys = self._database.columns(table)[: -len(figures)]
        place = ", ".join(str(number + 1) for number in range(len(keys)))
        self._database.execute(
            f"INSERT INTO {table} SELECT {', '.join([keys[0], moment, *keys[2:]])}, "
            + ", ".join(f"{'max' if name in _GREATEST else 'sum'}({name})" for name in figures)
            + f" FROM {new} GROUP BY {place} ORDER BY {place} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET "
            + ", ".join(_growth(table, name) for name in figures)
        )

    def _insert_health(self, healths: Sequence[KeptHealth]) -> None:
        if not healths:
            return
        new = self._database.load("device_minutes", rollup.device_minutes(healths))
        inserted = self._database.execute(
            f"INSERT INTO device_minutes SELECT * FROM {new} ORDER BY 1, 2 ON CONFLICT DO NOTHING "
            "RETURNING device, minute, degraded"
        )
        self._grow({"device_hours": rollup.device_hours(inserted)})
        newest = {each.device: each for each in sorted(healths, key=lambda each: each.time)}
        for _, health in sorted(newest.items()):
            self._note_health(health)

    def _note_health(self, health: KeptHealth) -> None:
        self._database.execute(
            "INSERT INTO devices (device, last_seen, release, fps, degraded, dropped) "
            f"VALUES (?, {_moment(utc(health.time))}, ?, ?, ?, ?) ON CONFLICT (device) DO UPDATE SET "
            "last_seen = excluded.last_seen, release = excluded.release, fps = excluded.fps, "
            "degraded = excluded.degraded, dropped = excluded.dropped "
            "WHERE devices.last_seen IS NULL OR devices.last_seen <= excluded.last_seen",
            [
                health.device,
                health.release,
                health.fps,
                health.accelerator.degraded,
                health.delivery.dropped,
            ],
        )

    def _insert_availability(self, said: Sequence[KeptAvailability]) -> None:
        for each in said:
            moment = _moment(utc(each.time))
            self._database.execute(
                f"INSERT INTO availability VALUES (?, {moment}, ?) ON CONFLICT DO NOTHING",
                [each.device, each.online],
            )
            self._database.execute(
                "INSERT INTO devices (device, online) VALUES (?, ?) "
                "ON CONFLICT (device) DO UPDATE SET online = excluded.online",
                [each.device, each.online],
            )

    def _insert_misfits(self, misfits: Sequence[Unfit]) -> None:
        for each in misfits:
            self._database.execute(
                f"INSERT INTO misfits VALUES ({_moment(utc(each.received))}, ?, ?, ?)",
                [each.topic, each.reason, each.payload],
            )

    def prune_minutes(self, now: datetime) -> None:
        """Minutes whose hours are complete; a report that comes later still would count twice."""
        limit = _moment(utc(now - MINUTES_KEPT))
        with self._database.transaction():
            self._database.execute(f"DELETE FROM device_minutes WHERE minute < {limit}")


def _file(number: int) -> str:
    return resources.files("oahega_edge.archive").joinpath(f"sql/{number:04}.sql").read_text("utf-8")


def _once(records: list[Heard]) -> list[Heard]:
    """Without second copies of events and summaries."""
    return list({id(each) if isinstance(each, KeptHealth) else each.id: each for each in records}.values())


def _growth(table: str, column: str) -> str:
    if column in _GREATEST:
        return f"{column} = greatest({table}.{column}, excluded.{column})"
    return f"{column} = {table}.{column} + excluded.{column}"


def _moment(text: str) -> str:
    """A literal; only ever of a moment that `utc` wrote."""
    return f"TIMESTAMP '{text}'"

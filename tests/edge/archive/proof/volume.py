"""Millions of events from recorded ones: how long each view and the page take, and the size on the disk."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from edge.mqtt_samples import Tally, events, summary, summary_stamp
from oahega_edge.archive.address import connect
from oahega_edge.archive.database import Database
from oahega_edge.archive.records import KeptEvent, KeptHealth, KeptSummary, Record
from oahega_edge.archive.store import Batch, Store
from oahega_edge.insight.figures import VIEWS
from oahega_edge.insight.report import write_report

DEVICES, OPEN_HOURS = 50, 12
PER_HOUR = 100
"""Events of a device; 10 million are then half a year of fifty devices."""
BATCH = 50_000
"""Ten of a worker's, which takes half the time."""
CONTENTS = ("poster-a", "poster-b", "film")
LABELS = ("happy", "neutral", "sad", "surprise", "angry")
LAST = datetime(2026, 11, 24, tzinfo=UTC)


def volume(urls: Mapping[str, str], folder: Path, count: int) -> Iterator[str]:
    """Of each store, by its name. A DuckDB file lies in this folder."""
    for name, url in urls.items():
        yield from _filled(name, url, count)
        yield from measured(url, folder, count)


def _filled(name: str, url: str, count: int) -> Iterator[str]:
    """Written by the store itself, as the worker does."""
    with contextlib.closing(Store(connect(url))) as store:
        began, used = time.monotonic(), time.process_time()
        for records in _batches(count):
            store.write(Batch(records))
        took, used = time.monotonic() - began, time.process_time() - used
    yield f"{name}: {count} events and their summaries in {took:.0f} s ({used:.0f} s of this process)"


def measured(url: str, folder: Path, count: int) -> Iterator[str]:
    """Views, page and size of a store that is filled."""
    with contextlib.closing(connect(url)) as database:
        if database.name == "postgresql":
            database.execute("ANALYZE")
        size = _bytes(database, folder) / count
        yield f"  {size:.0f} bytes an event with all indexes, hours and summaries"
        hours = database.execute("SELECT count(*) FROM visit_hours WHERE content = ''")[0][0]
        yield f"  {hours} hours of {DEVICES} devices; milliseconds, the best of three:"
        for view in VIEWS:
            yield f"    {view}: {_milliseconds(database, f'SELECT * FROM {view}')}"
        one = "WHERE site = 'kiosk-7' AND hour >= TIMESTAMP '2026-11-01 00:00:00'"
        for view in ("visits_per_hour", "uptime"):
            took = _milliseconds(database, f"SELECT * FROM {view} {one}")
            yield f"    {view} of a site and a month: {took}"
    with tempfile.TemporaryDirectory() as out:
        began = time.monotonic()
        write_report(url, Path(out), "Europe/Berlin")
        yield f"  the page and all tables: {time.monotonic() - began:.1f} s"


def _milliseconds(database: Database, sql: str) -> str:
    """By the clock, and of this process's processor, in which DuckDB works and PostgreSQL does not."""
    took, used = [], []
    for _ in range(3):
        began, before = time.monotonic(), time.process_time()
        rows = database.execute(sql)
        took.append(1e3 * (time.monotonic() - began))
        used.append(1e3 * (time.process_time() - before))
    return f"{min(took):.0f} (processor: {min(used):.0f}; {len(rows)} rows)"


def _bytes(database: Database, folder: Path) -> int:
    if database.name == "postgresql":
        return int(database.execute("SELECT pg_database_size(current_database())")[0][0])
    database.execute("CHECKPOINT")
    return (folder / "volume.duckdb").stat().st_size


def _batches(count: int) -> Iterator[list[Record]]:
    batch: list[Record] = []
    for record in _records(count):
        batch.append(record)
        if len(batch) == BATCH:
            yield batch
            batch = []
    yield batch


def _records(count: int) -> Iterator[Record]:
    """An hour of a device after the other: its events, a summary and a report of its health."""
    choose = random.Random(1)
    recorded = [KeptEvent.model_validate_json(each.to_json()) for each in events(PER_HOUR, tracks=20)]
    hours = -(-count // PER_HOUR)
    days = -(-hours // (DEVICES * OPEN_HOURS))
    for number in range(hours):
        day, rest = divmod(number, DEVICES * OPEN_HOURS)
        hour, device = divmod(rest, DEVICES)
        begin = LAST - timedelta(days=days - day) + timedelta(hours=8 + hour)
        name = f"kiosk-{device}"
        for place, event in enumerate(recorded[: min(PER_HOUR, count - number * PER_HOUR)]):
            yield event.model_copy(
                update={
                    "id": UUID(int=choose.getrandbits(40) << 88 | 7 << 76 | 2 << 62 | number << 16 | place),
                    "time": begin + timedelta(seconds=36 * place),
                    "device": name,
                    "seq": (day * OPEN_HOURS + hour) * PER_HOUR + place,
                    "emotion": choose.choice(LABELS),
                }
            )
        yield _summary(name, begin, choose)
        yield KeptHealth.model_validate(
            {
                "schema": "urn:oahega:health:1", "time": begin, "device": name, "release": "0.4.0",
                "uptime_s": 1.0, "fps": 15.0, "delivery": {},
                "accelerator": {"degraded": choose.random() < 0.01},
            }
        )  # fmt: skip


def _summary(device: str, begin: datetime, choose: random.Random) -> KeptSummary:
    lengths = tuple(choose.randrange(5) for _ in range(7))
    visits = sum(lengths)
    dominant = dict(zip(LABELS, _parted(visits, len(LABELS), choose), strict=True))
    shown = {
        content: Tally(number, {"happy": number // 2, "sad": number - number // 2})
        for content, number in zip(CONTENTS, _parted(visits, len(CONTENTS), choose), strict=True)
    }
    made = summary(
        summary_stamp(device, f"boot {begin}"),
        start=begin, end=begin + timedelta(minutes=59), lengths=lengths, all=Tally(visits, dominant),
        seen=9.0 * visits, read=6.0 * visits, shares=dict.fromkeys(LABELS, 1 / len(LABELS)),
        people=choose.randrange(1, 9),
        shown=shown,
    )  # fmt: skip
    return KeptSummary.model_validate_json(made.to_json())


def _parted(whole: int, parts: int, choose: random.Random) -> list[int]:
    cuts = sorted(choose.randrange(whole + 1) for _ in range(parts - 1))
    return [high - low for low, high in zip([0, *cuts], [*cuts, whole], strict=True)]

"""The archive's store: the same promises and the same meaning in DuckDB and in PostgreSQL."""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from edge.mqtt_samples import BASE, NOON, Tally, event, events, health, stamp, summary, summary_stamp
from oahega_edge.archive.address import connect, read_only
from oahega_edge.archive.database import ArchiveError, BadRow, StoreAway
from oahega_edge.archive.records import KeptAvailability, KeptEvent, Misfit, Record, read_record
from oahega_edge.archive.rollup import event_row
from oahega_edge.archive.store import DAYS, HOURS, VERSION, Batch, Store, Unfit
from oahega_edge.contract.events import Message
from postgres import Postgres

NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


def record(message: Message, kind: str = "event") -> Record:
    device = message.device  # type: ignore[attr-defined]
    return read_record("oahega/v1", f"oahega/v1/{device}/{kind}", message.to_json().encode(), NOW)


def records(messages: Sequence[Message], kind: str = "event") -> list[Record]:
    return [record(each, kind) for each in messages]


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    with contextlib.closing(Store(connect(url))) as opened:
        yield opened


def rows(store: Store, sql: str) -> list[tuple[Any, ...]]:
    return store._database.execute(sql)


def test_each_event_is_kept_once_however_often_it_comes(store: Store) -> None:
    made = events(5)

    first = store.write(Batch(records([*made, made[0]])))
    second = store.write(Batch(records([made[3].waited(9000), *made])))

    assert (first.events, first.duplicates) == (5, 1)
    assert (second.events, second.duplicates) == (0, 6)
    assert rows(store, "SELECT count(*), sum(events) FROM events, event_hours") == [(5, 25)]
    assert rows(store, "SELECT arrived FROM boots") == [(5,)]


def test_a_database_that_knows_no_encoding_keeps_the_same(postgres: Postgres) -> None:
    """As initdb makes it where the locale is C, e.g. in a container."""
    made = events(3)
    with contextlib.closing(Store(connect(postgres.fresh("ascii", "SQL_ASCII")))) as store:
        written = store.write(Batch([*records(made), many(60, 40, "плакат 7")]))

        assert (written.events, written.duplicates) == (3, 0)
        assert rows(store, "SELECT DISTINCT content FROM smile_rate_by_content") == [("плакат 7",)]


def test_a_late_event_lands_in_its_own_hour(store: Store) -> None:
    store.write(Batch(records([event().waited(7_200_000)])))

    assert rows(store, "SELECT hour, events, delayed FROM event_hours") == [
        (datetime(2026, 11, 24, 12), 1, 1)
    ]


def test_what_never_arrived_is_a_gap_until_it_arrives(store: Store) -> None:
    made = events(6)

    store.write(Batch(records([made[5], made[0], made[3]])))
    before = rows(store, "SELECT device, boot_id, kind, missing FROM gaps")
    store.write(Batch(records(made[1:3])))
    between = rows(store, "SELECT missing FROM gaps")
    store.write(Batch(records(made)))

    assert before == [("kiosk-1", "boot-1", "event", 3)]
    assert between == [(1,)]
    assert rows(store, "SELECT * FROM gaps") == []


def gaps(store: Store) -> list[tuple[Any, ...]]:
    return rows(store, "SELECT boot_id, kind, missing FROM gaps ORDER BY 1, 2")


def said(boot_id: str, made: int, summaries: int = 0) -> Record:
    return record(health(boot_id=boot_id, events=made, summaries=summaries), "health")


def test_what_is_lost_at_the_start_of_a_boot_is_a_gap_but_not_of_the_first_that_is_known(
    store: Store,
) -> None:
    first, second, third = (events(6, boot_id=boot) for boot in ("a", "b", "c"))

    store.write(Batch(records([*first[4:], *second[3:5]])))
    before = gaps(store)
    store.write(Batch(records([*second[1:3], *third[2:]])))

    assert before == [("b", "event", 3)]
    assert gaps(store) == [("b", "event", 1), ("c", "event", 2)]


@pytest.mark.parametrize("at_once", [True, False])
def test_what_is_lost_at_the_end_of_a_boot_is_a_gap_once_a_later_one_is_heard(
    store: Store, at_once: bool
) -> None:
    first, second = events(6, boot_id="a"), events(6, boot_id="b")
    heard: list[Record] = [*records(first[1:4]), said("a", 5, 2), said("a", 6, 2), said("b", 5)]

    for batch in [heard] if at_once else [[each] for each in heard]:
        store.write(Batch(batch))
    before = gaps(store)
    store.write(Batch(records(second[:1])))
    after = gaps(store)
    store.write(Batch(records(first[4:5])))

    assert before == []
    assert after == [("a", "event", 2)]
    assert gaps(store) == [("a", "event", 1)]


def test_a_boot_of_which_nothing_came_but_its_health_is_a_gap_once_a_later_one_is_heard(
    store: Store,
) -> None:
    store.write(Batch([said("zero", 900, 9)]))
    store.write(Batch([*records(events(2, boot_id="a")), said("b", 7, 2)]))
    before = gaps(store)
    store.write(Batch([record(summary(summary_stamp(boot_id="c")), "summary")]))

    assert before == []
    assert gaps(store) == [("b", "event", 7), ("b", "summary", 2)]
    assert rows(store, "SELECT missing FROM device_care") == [(9,)]


def test_of_a_boot_of_which_only_health_came_before_the_first_event_nothing_is_missing(
    store: Store,
) -> None:
    store.write(Batch([said("zero", 900, 9), *records(events(2, boot_id="a"))]))

    store.write(Batch(records(events(1, boot_id="b"))))

    assert gaps(store) == []


def test_the_largest_numbers_spoil_no_view(store: Store) -> None:
    largest = (1 << 63) - 1
    strange = event().model_copy(update={"seq": largest})

    store.write(Batch([*records(events(1, boot_id="a")), record(strange), said("boot-1", largest)]))
    store.write(Batch([*records(events(1, boot_id="b")), said("lost", largest, largest)]))
    store.write(Batch(records(events(1, boot_id="c"))))

    assert gaps(store) == [
        ("boot-1", "event", largest),
        ("lost", "event", largest),
        ("lost", "summary", largest),
    ]
    assert rows(store, "SELECT missing FROM device_care") == [(3 * largest,)]


def test_of_boots_of_an_older_store_only_what_lies_between_is_a_gap(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as older:
        older.setattr("oahega_edge.archive.store.VERSION", 4)
        with contextlib.closing(Store(connect(url))) as store:
            for boot in ("a", "b"):
                store._database.execute(
                    "INSERT INTO boots VALUES "
                    f"('kiosk-1', '{boot}', 'event', TIMESTAMP '2026-11-24 12:00:00', 5, 9, 4)"
                )

    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch(records(events(4, boot_id="c")[2:])))

        assert gaps(store) == [("a", "event", 1), ("b", "event", 1), ("c", "event", 2)]


def test_events_and_summaries_of_one_batch_are_counted_apart(store: Store) -> None:
    store.write(Batch([*records(events(3)), record(summary(), "summary")]))

    assert sorted(rows(store, "SELECT kind, lowest, highest, arrived FROM boots")) == [
        ("event", 0, 2, 3),
        ("summary", 0, 0, 1),
    ]


def many(visits: int, smiles: int, content: str = "poster-a", **changes: object) -> Record:
    """A summary of visits that were all read."""
    counts = Tally(visits, {"happy": smiles, "sad": visits - smiles})
    lengths = (visits, 0, 0, 0, 0, 0, 0)
    made = summary(summary_stamp(boot_id=f"{visits} {smiles} {content}"), all=counts, lengths=lengths,
                   shown={content: counts}, **changes)  # fmt: skip
    return record(made, "summary")


def test_the_views_say_what_a_site_saw(store: Store) -> None:
    store.write(Batch([many(60, 40), many(40, 10, "poster-b", end=NOON + timedelta(hours=1), people=7)]))
    store.place("kiosk-1", "hall")

    hours = rows(store, "SELECT site, hour, visits, seen_s, people FROM visits_per_hour ORDER BY hour")
    assert [(row[0], row[2], float(row[3]), row[4]) for row in hours] == [
        ("hall", 60, 31.5, 3),
        ("hall", 40, 31.5, 7),
    ]
    assert rows(store, "SELECT site, visits FROM dwell WHERE from_s = 0") == [("hall", 100)]
    (mean,) = rows(store, "SELECT visits, mean_s FROM mean_dwell")
    assert (mean[0], float(mean[1])) == (100, pytest.approx(0.63))
    shares = rows(store, "SELECT emotion, share FROM expression_shares ORDER BY emotion")
    assert [(label, float(share)) for label, share in shares] == [("happy", 0.75), ("sad", 0.25)]
    assert rows(store, "SELECT visits, smiles FROM smile_rate") == [(100, 50)]
    assert rows(store, "SELECT content, visits, smiles FROM smile_rate_by_content ORDER BY content") == [
        ("poster-a", 60, 40),
        ("poster-b", 40, 10),
    ]


def wilson(smiles: int, visits: int) -> tuple[float, float]:
    """E. B. Wilson 1927, as in Brown, Cai and DasGupta 2001, equation (4)."""
    z, p = 1.959963984540054, smiles / visits
    middle, half = p + z * z / 2 / visits, z * math.sqrt((p * (1 - p) + z * z / 4 / visits) / visits)
    return (middle - half) / (1 + z * z / visits), (middle + half) / (1 + z * z / visits)


@pytest.mark.parametrize(("smiles", "visits"), [(0, 30), (12, 30), (30, 30), (431, 1000), (1, 100_000)])
def test_the_interval_of_a_smile_rate_is_wilsons(store: Store, smiles: int, visits: int) -> None:
    store.write(Batch([many(visits, smiles)]))

    ((rate, low, high),) = rows(store, "SELECT rate, lowest, highest FROM smile_rate_by_content")

    assert float(rate) == pytest.approx(smiles / visits)
    assert (float(low), float(high)) == pytest.approx(wilson(smiles, visits), abs=1e-12)


def test_below_the_stated_number_of_visits_nothing_is_said_but_that_number(store: Store) -> None:
    store.write(Batch([many(29, 29)]))

    for view in ("smile_rate", "smile_rate_by_content"):
        assert rows(store, f"SELECT visits, rate, lowest, highest FROM {view}") == [(29, None, None, None)]
    assert rows(store, "SELECT visits, mean_s FROM mean_dwell") == [(29, None)]


def test_minutes_with_a_report_are_uptime_and_count_once(store: Store) -> None:
    def at(seconds: float, **changes: object) -> Record:
        return record(health(time=NOON + timedelta(seconds=seconds), **changes), "health")

    store.write(Batch([at(0), at(30), at(60)]))
    store.write(Batch([at(0), at(60), at(3600, release="0.2.0")]))

    assert rows(store, "SELECT minutes, degraded_minutes FROM uptime ORDER BY hour") == [(2, 0), (1, 0)]
    assert rows(store, "SELECT release, online FROM device_care") == [("0.2.0", None)]


def test_an_older_health_message_does_not_replace_a_newer_one(store: Store) -> None:
    store.write(Batch([record(health(time=NOON + timedelta(hours=1), release="new"), "health")]))
    store.write(Batch([record(health(release="old"), "health")]))

    assert rows(store, "SELECT release FROM devices") == [("new",)]


def test_a_misfit_is_kept_apart_with_its_reason(store: Store) -> None:
    written = store.write(Batch(misfits=[Unfit("oahega/v1/x/event", b"\x00\xff", "not JSON", NOW)]))

    ((topic, reason, payload),) = rows(store, "SELECT topic, reason, payload FROM misfits")
    assert (written.misfits, topic, reason, bytes(payload)) == (
        1,
        "oahega/v1/x/event",
        "not JSON",
        b"\x00\xff",
    )


def test_a_device_is_forgotten_whole_and_only_that_one(store: Store) -> None:
    other = stamp("kiosk-2", "boot-2")
    store.write(
        Batch([*records(events(3)), *records([event(other)]), many(60, 40), record(health(), "health")])
    )
    store.write(Batch(misfits=[Unfit(f"{BASE}/event", b"x", "bad", NOW)]))

    store.write(Batch(misfits=[Unfit("oahega/v1/kioskx1/event", b"x", "bad", NOW)]))

    assert store.forget("kiosk-1") == 3
    assert store.forget("kiosk-1") is None
    assert store.forget("%") is store.forget("kiosk_1") is None

    for table in ("events", "boots", "devices", "event_hours"):
        assert rows(store, f"SELECT DISTINCT device FROM {table}") == [("kiosk-2",)]
    for table in ("summaries", "visit_hours", "dominant_hours", "device_minutes", "device_hours"):
        assert rows(store, f"SELECT count(*) FROM {table}") == [(0,)]
    assert rows(store, "SELECT topic FROM misfits") == [("oahega/v1/kioskx1/event",)]


@pytest.mark.parametrize("name", ["oahega", "v1", "event"])
def test_a_device_that_is_named_like_a_level_of_the_root_is_forgotten_alone(store: Store, name: str) -> None:
    others = [f"oahega/v1/{device}/event" for device in ("kiosk-1", f"{name}x", f"x{name}")]
    own = [f"oahega/v1/{name}/{kind}" for kind in ("event", "availability")]
    store.write(Batch(misfits=[Unfit(topic, b"x", "bad", NOW) for topic in [*others, *own]]))

    store.forget(name)

    assert sorted(rows(store, "SELECT topic FROM misfits")) == sorted((topic,) for topic in others)


def test_old_events_go_and_the_hours_stay(store: Store) -> None:
    store.write(
        Batch([*records(events(3)), many(60, 40), KeptAvailability(device="kiosk-1", time=NOON, online=True)])
    )

    assert store.retain(30, NOON + timedelta(days=10)) == 0
    assert rows(store, "SELECT count(*) FROM availability") == [(1,)]
    assert store.retain(30, NOON + timedelta(days=40)) == 3

    assert rows(store, "SELECT count(*) FROM events") == [(0,)]
    assert rows(store, "SELECT count(*) FROM availability") == [(0,)]
    assert rows(store, "SELECT online FROM devices") == [(True,)]
    assert rows(store, "SELECT sum(events) FROM event_hours") == [(3,)]
    assert rows(store, "SELECT visits FROM smile_rate") == [(60,)]


@pytest.mark.parametrize("year", [1970, 2026, 9998])
def test_an_event_of_a_wrong_clock_is_kept(store: Store, year: int) -> None:
    strange = event().model_copy(update={"time": NOON.replace(year=year), "time_synced": False})

    assert store.write(Batch(records([strange]))).events == 1
    assert store.write(Batch(records([strange]))).events == 0


def test_a_clock_that_was_years_ahead_spoils_no_day_when_it_comes(store: Store) -> None:
    """Its events lie where all far days lie; the day has come near since, and others report it."""
    tomorrow = datetime.now(UTC) + timedelta(days=1)
    early, others = (
        [each.model_copy(update={"time": tomorrow}) for each in events(number, boot_id=boot)]
        for number, boot in ((1, "boot-1"), (2, "boot-2"))
    )
    with store._database.transaction():
        new = store._database.load("events", [event_row(each) for each in records(early)])
        store._database.execute(f"INSERT INTO events SELECT * FROM {new}")

    assert store.write(Batch(records(others))).events == 2
    assert rows(store, "SELECT count(*) FROM events") == [(3,)]


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-00:01", "0001-01-01T00:30:00+01:00"]
)
@pytest.mark.parametrize("kind", ["event", "summary", "health"])
def test_a_time_that_no_clock_has_in_utc_is_a_misfit_and_stops_nothing(time: str, kind: str) -> None:
    made = {"event": event(), "summary": summary(), "health": health()}[kind]
    text = json.dumps(json.loads(made.to_json()) | {"time": time}).encode()

    with pytest.raises(Misfit, match=r"time does not fit .*before the year 1 or after 9999"):
        read_record("oahega/v1", f"{BASE}/{kind}", text, NOW)


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    good = records(events(2))
    too_large = good[1].model_copy(update={"seq": 1 << 70})

    with pytest.raises((BadRow, StoreAway)):
        store.write(Batch([good[0], too_large]))

    assert rows(store, "SELECT count(*) FROM events") == [(0,)]
    assert store.write(Batch([good[0]])).events == 1


def test_a_store_of_a_newer_release_is_refused(url: str) -> None:
    with contextlib.closing(Store(connect(url))) as store:
        store._database.execute(f"INSERT INTO archive_version VALUES ({VERSION + 1})")
    database = connect(url)

    with contextlib.closing(database), pytest.raises(ArchiveError, match="newer release"):
        Store(database)


def test_days_of_an_older_store_are_made_from_its_hours(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as older:
        older.setattr("oahega_edge.archive.store.VERSION", 2)
        with contextlib.closing(Store(connect(url))) as store:
            store._database.execute("INSERT INTO devices (device) VALUES ('kiosk-1')")
            for hour, visits in ((0, 3), (23, 4), (24, 5)):
                moment = f"TIMESTAMP '{NOON.replace(tzinfo=None, hour=0) + timedelta(hours=hour)}'"
                store._database.execute(f"INSERT INTO length_hours VALUES ('kiosk-1', {moment}, 0, {visits})")

    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch([record(summary(lengths=(4, 0, 0, 0, 0, 0, 0)), "summary")]))

        assert rows(
            store, "SELECT extract('day' FROM day), visits FROM length_days WHERE visits > 0 ORDER BY 1"
        ) == [
            (24, 11),
            (25, 5),
        ]
        assert rows(store, "SELECT sum(visits) FROM dwell") == [(16,)]


def test_days_are_the_sums_of_their_hours(store: Store) -> None:
    maker = summary_stamp()
    for hours, people in ((0, 3), (5, 7), (11, 2), (14, 1)):
        end = NOON + timedelta(hours=hours)
        store.write(
            Batch(
                [record(summary(maker, start=end - timedelta(minutes=5), end=end, people=people), "summary")]
            )
        )

    for hour, day in DAYS.items():
        figures = ", ".join(f"{'max' if name == 'people' else 'sum'}({name})" for name in HOURS[hour])
        by_day = "SELECT CAST(date_trunc('day', {}) AS DATE), {} FROM {} GROUP BY 1 ORDER BY 1"
        assert rows(store, by_day.format("day", figures, day)) == rows(
            store, by_day.format("hour", figures, hour)
        )
    assert rows(store, "SELECT max(people) FROM visit_days WHERE content = ''") == [(7,)]


def test_a_store_is_opened_again_as_it_was(url: str) -> None:
    for expected in (2, 0):
        with contextlib.closing(Store(connect(url))) as store:
            assert store.write(Batch(records(events(2)))).events == expected


@pytest.mark.parametrize("address", ["mysql://x", "duckdb:", "archive.duckdb", "postgresql:archive"])
def test_an_address_of_another_kind_is_refused(address: str) -> None:
    with pytest.raises(ArchiveError, match="a store is duckdb:FILE or postgresql:"):
        connect(address)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "archive.duckdb"
    file.write_bytes(b"something else" * 1000)

    with pytest.raises(ArchiveError, match="no DuckDB file"):
        connect(f"duckdb:{file}")


@pytest.mark.parametrize("spoil", ["text", "cut off", "overwritten", "empty", "a folder"])
def test_a_damaged_file_is_refused_wherever_it_lies(spoil: str, tmp_path: Path) -> None:
    """Its place may have words in its name that DuckDB says of a file that another process holds."""
    file = tmp_path / "Could not set lock on clock" / "archive.duckdb"
    file.parent.mkdir()
    connect(f"duckdb:{file}").close()
    whole = file.read_bytes()
    match spoil:
        case "a folder":
            file.unlink()
            file.mkdir()
        case "cut off":
            file.write_bytes(whole[:5000])
        case "overwritten":
            file.write_bytes(whole[:64] + bytes(64) + whole[128:])
        case _:
            file.write_bytes(b"" if spoil == "empty" else b"IO Error: Could not set lock" * 1000)

    with pytest.raises(ArchiveError, match="no DuckDB file"):
        connect(f"duckdb:{file}")


@pytest.mark.parametrize(
    "address",
    ["postgresql://u@[::1/db", "postgresql://u@h/db?nonsense=1", "postgresql://u%zz@h/db", "postgres://h/%"],
)
def test_an_address_that_cannot_be_read_is_refused_and_not_waited_for(address: str) -> None:
    with pytest.raises(ArchiveError, match="the store's address cannot be read"):
        connect(address)


def test_readers_of_a_duckdb_file_that_is_written_read_its_snapshot(tmp_path: Path) -> None:
    import subprocess
    import sys

    url = f"duckdb:{tmp_path / 'it is.duckdb'}"
    read = (
        "import sys; from oahega_edge.archive.address import read_only;"
        "print(read_only(sys.argv[1]).execute('SELECT visits, smiles FROM smile_rate'))"
    )
    with contextlib.closing(Store(connect(url))) as store:
        store.write(Batch([many(60, 40)]))
        store.snapshot()

        done = subprocess.run([sys.executable, "-c", read, url], capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "[(60, 40)]", done.stderr
    with contextlib.closing(read_only(url)) as again:
        assert again.execute("SELECT count(*) FROM summaries") == [(1,)]


STRANGE = {
    "no JSON": b"{",
    "another schema": event().to_json().replace("urn:oahega:event:1", "urn:oahega:event:2").encode(),
    "no id": json.dumps({"schema": "urn:oahega:event:1"}).encode(),
    "another device": event(stamp("kiosk-9")).to_json().encode(),
    "no text": b"\xff\xfe\x00",
    "a NUL in a text": event().to_json().replace('"track":"t1"', '"track":"t\\u0000"').encode(),
    "an endless number": event().to_json().replace('"seq":0', '"seq":99999999999999999999').encode(),
    "a number in place of a text": event().to_json().replace('"track":"t1"', '"track":1').encode(),
    "too large": b"{" + b" " * 70_000,
    "no object": b"[]",
    "nothing": b"",
}


@pytest.mark.parametrize("payload", STRANGE.values(), ids=STRANGE)
def test_what_fits_no_schema_is_said(payload: bytes) -> None:
    with pytest.raises(Misfit, match=r"\w+ \w+"):
        read_record("oahega/v1", f"{BASE}/event", payload, NOW)


@pytest.mark.parametrize("word", [b"", b"ONLINE", b"online\n", b"\xff"])
def test_availability_is_one_of_two_words(word: bytes) -> None:
    with pytest.raises(Misfit, match="online or offline"):
        read_record("oahega/v1", f"{BASE}/availability", word, NOW)


def test_fields_of_a_newer_release_are_ignored() -> None:
    content = json.loads(event().to_json())
    content |= {"mood": 7, "model": content["model"] | {"colour": "red"}}

    kept = read_record("oahega/v1", f"{BASE}/event", json.dumps(content).encode(), NOW)

    assert isinstance(kept, KeptEvent)
    assert kept.emotion == "happy"

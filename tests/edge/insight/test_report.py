"""The page and the tables that `oahega-edge insight` writes."""

from __future__ import annotations

import contextlib
import csv
import json
import random
import re
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from edge.mqtt_samples import Tally, health, summary, summary_stamp
from oahega_edge.archive.address import connect, read_only
from oahega_edge.archive.database import ArchiveError
from oahega_edge.archive.records import read_record
from oahega_edge.archive.store import Batch, Store
from oahega_edge.insight.figures import VIEWS, read_figures
from oahega_edge.insight.report import write_report

duckdb = pytest.importorskip("duckdb")
MONDAY_NIGHT = datetime(2026, 11, 23, 23, 30, tzinfo=UTC)
NOW = datetime(2026, 11, 26, 9, tzinfo=UTC)


@pytest.fixture
def url(tmp_path: Path) -> str:
    """A store with 40 visits beside a poster whose name is hostile, and a device that has fallen silent."""
    address = f"duckdb:{tmp_path / 'archive.duckdb'}"
    counts = Tally(40, {"happy": 20, "sad": 20})
    told = summary(
        summary_stamp(), start=MONDAY_NIGHT - timedelta(minutes=5), end=MONDAY_NIGHT, all=counts,
        lengths=(40, 0, 0, 0, 0, 0, 0), shown={"<script>alert(1)</script>": counts},
    )  # fmt: skip
    said = [("summary", told.to_json()), ("health", health().to_json()), ("availability", "online")]
    records = [
        read_record("oahega/v1", f"oahega/v1/kiosk-1/{kind}", text.encode(), NOW) for kind, text in said
    ]
    with contextlib.closing(Store(connect(address))) as store:
        store.write(Batch(records))
    return address


def test_days_and_hours_are_those_of_the_zone(url: str) -> None:
    with contextlib.closing(read_only(url)) as store:
        figures = read_figures(store, ZoneInfo("Europe/Berlin"), NOW)

    assert [str(day) for day in figures.days] == ["2026-11-24"]
    assert figures.heat == {(1, 0): 40.0}
    assert [(device.name, device.reasons) for device in figures.care] == [("kiosk-1", ("silent",))]
    assert [(site.visits, site.mean_s) for site in figures.sites] == [(40, 0.7875)]


@pytest.mark.parametrize("zone", ["Pacific/Kiritimati", "Pacific/Honolulu"])
def test_a_clock_that_is_wrong_by_years_does_not_stretch_the_calendar(url: str, zone: str) -> None:
    with contextlib.closing(Store(connect(url))) as store:
        for number, year in enumerate((1, 1970, 2027, 9999)):
            end = datetime(year, 1 if year == 1 else 12, 1 if year == 1 else 31, 23, 30, tzinfo=UTC)
            told = json.loads(summary(summary_stamp(), start=NOW, end=NOW).to_json())
            told |= {"time": end.isoformat(), "id": str(uuid.UUID(int=number)), "device": "kiosk-1"}
            store.write(
                Batch([read_record("oahega/v1", "oahega/v1/kiosk-1/summary", json.dumps(told).encode(), NOW)])
            )

    with contextlib.closing(read_only(url)) as store:
        figures = read_figures(store, ZoneInfo(zone), NOW)

    assert len(figures.days) == 1
    assert sum(figures.heat.values()) == 40.0


def test_the_page_loads_nothing_and_runs_nothing(url: str, tmp_path: Path) -> None:
    page = write_report(url, tmp_path / "out", "Europe/Berlin").read_text("utf-8")

    assert "50 %" in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r"<script|<link|<img|src=|href=|url\(|@import|https?:", page)


def test_every_view_lies_beside_the_page_as_csv_and_parquet(url: str, tmp_path: Path) -> None:
    out = write_report(url, tmp_path / "out's", "UTC").parent

    for view in VIEWS:
        with (out / f"{view}.csv").open(encoding="utf-8", newline="") as file:
            table = list(csv.reader(file))
        with duckdb.connect() as link:
            parquet = link.read_parquet(str(out / f"{view}.parquet"))
            assert (parquet.columns, len(parquet.fetchall())) == (table[0], len(table) - 1)


def test_an_empty_store_has_a_page_too(tmp_path: Path) -> None:
    address = f"duckdb:{tmp_path / 'empty.duckdb'}"
    Store(connect(address)).close()

    assert "No visits yet" in write_report(address, tmp_path / "out", "UTC").read_text("utf-8")


def test_a_store_with_wrong_clocks_only_has_a_page_too(tmp_path: Path) -> None:
    address = f"duckdb:{tmp_path / 'strange.duckdb'}"
    then = datetime(1970, 1, 1, 9, tzinfo=UTC)
    told = summary(summary_stamp(), start=then, end=then).to_json().encode()
    with contextlib.closing(Store(connect(address))) as store:
        store.write(Batch([read_record("oahega/v1", "oahega/v1/kiosk-1/summary", told, NOW)]))

    page = write_report(address, tmp_path / "out", "UTC").read_text("utf-8")

    assert "Visits by day" not in page
    assert "<b>4</b> visits" in page


@pytest.mark.parametrize("zone", ["Mars/Olympus", "", "../etc/passwd"])
def test_a_zone_that_does_not_exist_is_named(url: str, tmp_path: Path, zone: str) -> None:
    with pytest.raises(ArchiveError, match="no such time zone"):
        write_report(url, tmp_path / "out", zone)


def test_a_store_that_does_not_exist_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="does not exist"):
        write_report(f"duckdb:{tmp_path / 'none.duckdb'}", tmp_path / "out", "UTC")

    assert not (tmp_path / "none.duckdb").exists()


def test_the_interval_covers_the_truth_in_95_of_100_simulated_sites(tmp_path: Path) -> None:
    """Two contents whose true rates differ by 0.12, 1,000 sites, 200 visits each, from a fixed seed."""
    choose, truth = random.Random(20261126), {"poster-a": 0.42, "poster-b": 0.30}
    rows = []
    for site in range(1_000):
        for content, rate in truth.items():
            smiles = sum(choose.random() < rate for _ in range(200))
            rows += [(f"s{site}", "2026-11-24", content, "happy", smiles)]
            rows += [(f"s{site}", "2026-11-24", content, "sad", 200 - smiles)]
    database = connect(f"duckdb:{tmp_path / 'simulated.duckdb'}")
    with contextlib.closing(Store(database)):
        new = database.load("dominant_days", rows)
        database.execute(f"INSERT INTO dominant_days SELECT * FROM {new}")
        database.execute(f"INSERT INTO devices (device) SELECT DISTINCT device FROM {new}")

        intervals = database.execute("SELECT content, lowest, highest FROM smile_rate_by_content")

    covered = {
        content: sum(low <= rate <= high for name, low, high in intervals if name == content)
        for content, rate in truth.items()
    }
    print(f"covered, of 1,000: {covered}")
    assert all(930 <= count <= 970 for count in covered.values())

"""Writes the page and the tables."""

from __future__ import annotations

import csv
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from oahega_edge.archive.address import read_only
from oahega_edge.archive.database import ArchiveError, Database
from oahega_edge.errors import EdgeError
from oahega_edge.insight.figures import VIEWS, Figures, read_figures

WEEKDAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")


def write_report(url: str, out: Path, zone_name: str) -> Path:
    """The page's path. Raises ArchiveError for a store or a zone that does not exist."""
    zone = _zone(zone_name)
    store = read_only(url)
    try:
        out.mkdir(parents=True, exist_ok=True)
        page = out / "index.html"
        page.write_text(
            render(read_figures(store, zone, datetime.now(UTC)), zone_name, datetime.now(zone)), "utf-8"
        )
        for view in VIEWS:
            _write_table(store, view, out)
    except OSError as error:
        raise EdgeError(f"--out {out}: cannot write ({error}); choose another folder") from error
    finally:
        store.close()
    return page


def render(figures: Figures, zone: str, now: datetime) -> str:
    """One HTML page that loads nothing."""
    try:
        from jinja2 import Environment, PackageLoader
    except ImportError as error:
        raise ArchiveError("the page needs Jinja2; install oahega-edge[archive]") from error
    environment = Environment(
        loader=PackageLoader("oahega_edge.insight", "."),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("page.html")
    return template.render(figures=figures, zone=zone, now=now, weekdays=WEEKDAYS)


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ArchiveError(f"--zone {name}: no such time zone; write one such as Europe/Berlin") from error


def _write_table(store: Database, view: str, out: Path) -> None:
    columns = store.columns(view)
    with (out / f"{view}.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(store.execute(f"SELECT * FROM {view} ORDER BY 1, 2"))
    store.write_parquet(view, out / f"{view}.csv", out / f"{view}.parquet")

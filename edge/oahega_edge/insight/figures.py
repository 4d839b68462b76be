"""What the page says, read from the views of a store."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

from oahega_edge.archive.database import Database, Row

VIEWS = (
    "visits_per_hour",
    "dwell",
    "mean_dwell",
    "expression_shares",
    "smile_rate",
    "smile_rate_by_content",
    "uptime",
    "device_care",
    "gaps",
)
"""The views of docs/insight.md."""
SILENT_AFTER = timedelta(hours=1)
EARLIEST = datetime(2020, 1, 1, tzinfo=UTC)
"""No device is older; a clock that was never set says 1970."""
DAYS = 60
"""Days that the page draws, the newest."""


@dataclass(frozen=True, slots=True)
class Rate:
    """A share of smiles with its interval; nothing but the number of visits where there are too few."""

    site: str
    content: str
    visits: int
    smiles: int
    rate: float | None
    lowest: float | None
    highest: float | None


@dataclass(frozen=True, slots=True)
class Site:
    """One place."""

    name: str
    visits: int
    mean_s: float | None
    smile: Rate | None


@dataclass(frozen=True, slots=True)
class Device:
    """One that needs care, with the reasons."""

    name: str
    site: str
    last_seen: datetime | None
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Figures:
    """All that the page shows."""

    days: dict[date, int]
    """Visits by day, without gaps."""
    heat: dict[tuple[int, int], float]
    """(weekday, hour) -> visits, the mean over the days."""
    dwell: list[tuple[str, int]]
    expressions: list[tuple[str, float]]
    contents: list[Rate]
    sites: list[Site]
    care: list[Device]
    devices: int
    least: int
    """Visits below which no rate is given."""
    smile: str

    @property
    def visits(self) -> int:
        """Of all time."""
        return sum(site.visits for site in self.sites)


def read_figures(store: Database, zone: ZoneInfo, now: datetime) -> Figures:
    """From the views; days and hours are those of the zone."""
    days, heat = _calendar(store, zone, now)
    ((least, smile),) = store.execute("SELECT least_visits, smile FROM rules")
    care = store.execute(
        "SELECT device, site, online, last_seen, degraded, degraded_hours, dropped, missing "
        "FROM device_care ORDER BY site, device"
    )
    return Figures(
        days=days,
        heat=heat,
        dwell=_dwell(store),
        expressions=_expressions(store),
        contents=[
            _rate(row)
            for row in store.execute(
                "SELECT site, content, visits, smiles, rate, lowest, highest FROM smile_rate_by_content "
                "ORDER BY site, rate DESC, content"
            )
        ],
        sites=_sites(store),
        care=[device for device in (_device(row, now) for row in care) if device.reasons],
        devices=len(care),
        least=int(least),
        smile=smile,
    )


def _calendar(
    store: Database, zone: ZoneInfo, now: datetime
) -> tuple[dict[date, int], dict[tuple[int, int], float]]:
    """Without the hours of clocks that were wrong by years: one device would stretch the calendar of all."""
    days: Counter[date] = Counter()
    heat: Counter[tuple[int, int]] = Counter()
    for hour, visits in store.execute("SELECT hour, sum(visits) FROM visits_per_hour GROUP BY hour"):
        moment = hour.replace(tzinfo=UTC)
        if not EARLIEST <= moment <= now + timedelta(days=1):
            continue
        here = moment.astimezone(zone)
        days[here.date()] += int(visits)
        heat[here.weekday(), here.hour] += int(visits)
    if not days:
        return {}, {}
    first, last = min(days), max(days)
    every = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    weekdays = Counter(day.weekday() for day in every)
    return (
        {day: days[day] for day in every[-DAYS:]},
        {(weekday, hour): visits / weekdays[weekday] for (weekday, hour), visits in heat.items()},
    )


def _dwell(store: Database) -> list[tuple[str, int]]:
    rows = store.execute("SELECT from_s, sum(visits) FROM dwell GROUP BY from_s ORDER BY from_s")
    bounds = [int(row[0]) for row in rows]
    names = [f"{low} to {high} s" for low, high in pairwise(bounds)]
    names += [f"{low} s or more" for low in bounds[-1:]]
    return [(name, int(row[1])) for name, row in zip(names, rows, strict=True)]


def _expressions(store: Database) -> list[tuple[str, float]]:
    rows = store.execute(
        "SELECT emotion, sum(read_s) FROM expression_shares GROUP BY emotion ORDER BY 2 DESC"
    )
    total = sum(float(row[1]) for row in rows)
    return [(row[0], float(row[1]) / total) for row in rows]


def _sites(store: Database) -> list[Site]:
    rates = {
        row[0]: _rate((row[0], "", *row[1:]))
        for row in store.execute("SELECT site, visits, smiles, rate, lowest, highest FROM smile_rate")
    }
    rows = store.execute("SELECT site, visits, mean_s FROM mean_dwell ORDER BY site")
    return [
        Site(site, int(visits), None if mean is None else float(mean), rates.get(site))
        for site, visits, mean in rows
    ]


def _rate(row: Row) -> Rate:
    site, content, visits, smiles, *shares = row
    rate, lowest, highest = (None if share is None else float(share) for share in shares)
    return Rate(site, content, int(visits), int(smiles), rate, lowest, highest)


def _device(row: Row, now: datetime) -> Device:
    name, site, online, last_seen, degraded, degraded_hours, dropped, missing = row
    seen = None if last_seen is None else last_seen.replace(tzinfo=UTC)
    reasons = []
    if online is False:
        reasons.append("offline")
    elif seen is not None and now - seen > SILENT_AFTER:
        reasons.append("silent")
    if degraded:
        reasons.append("without its accelerator now")
    elif degraded_hours:
        reasons.append(f"without its accelerator in {degraded_hours} hours")
    if dropped:
        reasons.append(f"{dropped} messages given up by the device")
    if missing and missing > 0:
        reasons.append(f"{missing} messages missing")
    return Device(name, site, seen, tuple(reasons))

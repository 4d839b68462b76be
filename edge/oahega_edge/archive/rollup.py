"""New records as rows of tables: their own, and what they add to the hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from oahega_edge.archive.records import (
    KeptEvent,
    KeptHealth,
    KeptSummary,
    as_json,
    hour_of,
    minute_of,
    utc,
)

Row = tuple[object, ...]
Rows = dict[str, list[Row]]
"""By table."""
EVERYTHING = ""
"""The content under which all visits are counted."""


def event_row(event: KeptEvent) -> Row:
    """One row of `events`."""
    visit = event.visit
    return (
        str(event.id),
        utc(event.time),
        event.time_synced,
        event.device,
        event.boot_id,
        event.seq,
        event.track,
        event.phase,
        event.changed,
        event.emotion,
        event.confidence,
        f"{event.model.name} {event.model.version}",
        event.degraded,
        event.latency_ms,
        None if visit is None else visit.seen_ms,
        None if visit is None else visit.read_ms,
        None if visit is None else visit.dominant,
        event.delayed,
    )


def summary_row(summary: KeptSummary) -> Row:
    """One row of `summaries`."""
    return (
        str(summary.id),
        utc(summary.start),
        utc(summary.time),
        summary.time_synced,
        summary.device,
        summary.boot_id,
        summary.seq,
        summary.visits,
        as_json(summary.dominant),
        as_json({"bounds_s": summary.length_bounds_s, "visits": summary.lengths}),
        summary.seen_ms,
        summary.read_ms,
        as_json(summary.shares),
        summary.people,
        as_json({name: counts.model_dump() for name, counts in summary.shown.items()}),
        summary.delayed,
    )


@dataclass(slots=True)
class _Boot:
    """What a batch says of the events or the summaries of one start of a device."""

    place: int
    """Among the starts of this device, in the order in which they came."""
    since: datetime
    lowest: int = 0
    highest: int = -1
    arrived: int = 0
    made: int = 0

    def has(self, record: KeptEvent | KeptSummary) -> None:
        """It has arrived."""
        self.since = min(self.since, record.time)
        self.lowest = min(self.lowest, record.seq) if self.arrived else record.seq
        self.highest = max(self.highest, record.seq)
        self.arrived += 1


def boots_of(records: Iterable[KeptEvent | KeptSummary | KeptHealth]) -> list[Row]:
    """(device, boot, kind, first moment, lowest number, highest, how many, place, how many were made).

    `records` in the order in which they came.
    """
    places: dict[str, dict[str, int]] = {}
    found: dict[tuple[str, str, str], _Boot] = {}

    def of(device: str, boot: str, kind: str, moment: datetime) -> _Boot:
        place = places.setdefault(device, {}).setdefault(boot, len(places[device]))
        return found.setdefault((device, boot, kind), _Boot(place, moment))

    for each in records:
        if not isinstance(each, KeptHealth):
            kind = "event" if isinstance(each, KeptEvent) else "summary"
            of(each.device, each.boot_id, kind, each.time).has(each)
        elif each.boot_id is not None:
            for kind, made in (("event", each.events), ("summary", each.summaries)):
                boot = of(each.device, each.boot_id, kind, each.time)
                boot.made = max(boot.made, made)
    return sorted(
        (*key, utc(each.since), each.lowest, each.highest, each.arrived, each.place, each.made)
        for key, each in found.items()
    )


def event_hours(events: Iterable[KeptEvent]) -> Rows:
    """What new events add."""
    count: Counter[tuple[str, str, str]] = Counter()
    late: Counter[tuple[str, str, str]] = Counter()
    degraded: Counter[tuple[str, str, str]] = Counter()
    for event in events:
        key = event.device, hour_of(event.time), event.emotion
        count[key] += 1
        late[key] += event.delayed
        degraded[key] += event.degraded
    return {"event_hours": sorted((*key, count[key], late[key], degraded[key]) for key in count)}


def visit_hours(summaries: Iterable[KeptSummary]) -> Rows:
    """What new summaries add."""
    visits: Counter[tuple[str, str, str]] = Counter()
    seen: Counter[tuple[str, str, str]] = Counter()
    people: dict[tuple[str, str, str], int] = {}
    dominant: Counter[tuple[str, str, str, str]] = Counter()
    read: Counter[tuple[str, str, str]] = Counter()
    lengths: Counter[tuple[str, str, int]] = Counter()
    for each in summaries:
        where = each.device, hour_of(each.time)
        whole = (*where, EVERYTHING)
        seen[whole] += each.seen_ms
        people[whole] = max(people.get(whole, 0), each.people)
        for content, counts in [(EVERYTHING, each), *each.shown.items()]:
            visits[*where, content] += counts.visits
            for label, number in counts.dominant.items():
                dominant[*where, content, label] += number
        for label, share in each.shares.items():
            read[*where, label] += round(share * each.read_ms)
        for bound, number in zip((0, *each.length_bounds_s), each.lengths, strict=False):
            lengths[*where, bound] += number
    return {
        "visit_hours": sorted((*key, visits[key], seen[key], people.get(key, 0)) for key in visits),
        "dominant_hours": sorted((*key, number) for key, number in dominant.items()),
        "expression_hours": sorted((*key, number) for key, number in read.items()),
        "length_hours": sorted((*key, number) for key, number in lengths.items()),
    }


def device_minutes(healths: Iterable[KeptHealth]) -> list[Row]:
    """(device, minute, degraded): minutes in which a device reported."""
    found: dict[tuple[str, str], bool] = {}
    for health in healths:
        key = health.device, minute_of(health.time)
        found[key] = found.get(key, False) or health.accelerator.degraded
    return sorted((*key, degraded) for key, degraded in found.items())


def device_hours(minutes: Iterable[Row]) -> list[Row]:
    """What minutes that are new add to the hours."""
    count: Counter[tuple[object, str]] = Counter()
    degraded: Counter[tuple[object, str]] = Counter()
    for device, minute, was_degraded in minutes:
        key = device, f"{str(minute)[:13]}:00:00"
        count[key] += 1
        degraded[key] += bool(was_degraded)
    return sorted((*key, count[key], degraded[key]) for key in count)

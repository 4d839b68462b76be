"""New records as rows of tables: their own, and what they add to the hours."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

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


def boots_of(kind: str, records: Iterable[KeptEvent | KeptSummary]) -> list[Row]:
    """(device, boot, kind, first moment, lowest number, highest, how many)."""
    found: dict[tuple[str, str], list[KeptEvent | KeptSummary]] = {}
    for record in records:
        found.setdefault((record.device, record.boot_id), []).append(record)
    return sorted(
        (
            device,
            boot,
            kind,
            utc(min(each.time for each in of_boot)),
            min(each.seq for each in of_boot),
            max(each.seq for each in of_boot),
            len(of_boot),
        )
        for (device, boot), of_boot in found.items()
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

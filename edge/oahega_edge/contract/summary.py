"""The summary: what a subscriber reads of many visits together, and how it gets its stamp."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from oahega_edge.contract.events import (
    DeviceName,
    Event,
    Message,
    Moment,
    Share,
    StampClocks,
    Uuid7,
    rounded_shares,
)
from oahega_edge.manifest import Label
from oahega_edge.visits.summary import LENGTHS, Summary, Tally

Count = Annotated[int, Field(ge=0)]
Content = Annotated[str, Field(min_length=1, max_length=64)]
"""Name of what a screen shows."""


class VisitCount(Message):
    """A number of visits, and how many of them showed which emotion."""

    visits: Count
    """Visits that ended."""
    dominant: dict[Label, Count]
    """Visits by the emotion that held longest; those in which none ever held are in none."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if sum(self.dominant.values()) > self.visits:
            raise ValueError(
                f"dominant has {sum(self.dominant.values())} visits, more than visits = {self.visits}"
            )
        return self


class IntervalSummary(VisitCount):
    """The visits that ended in an interval, together. Never of fewer visits than `trigger.min_group`."""

    schema_id: Annotated[Literal["urn:oahega:summary:1"], Field(alias="schema")] = "urn:oahega:summary:1"
    """Version of this contract."""
    id: Annotated[
        str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
    ]
    """UUIDv7. A summary may arrive more than once (QoS 1); it keeps its id."""
    start: Moment
    """Beginning of the interval, UTC."""
    time: Moment
    """Its end, UTC."""
    time_synced: bool
    """False: the device's clock was not synchronised yet, `start` and `time` may be far off."""
    device: DeviceName
    """The device that saw it."""
    boot_id: Annotated[str, Field(min_length=1, max_length=64)]
    """One start of the daemon, as in its events."""
    seq: Count
    """Counts the summaries of one boot_id from 0, apart from the events; a gap is a lost summary."""
    length_bounds_s: tuple[Annotated[int, Field(ge=1)], ...]
    """Seconds at which one class of lengths ends and the next begins."""
    lengths: tuple[Count, ...]
    """Visits in each class of lengths; the first class begins at 0, the last has no end."""
    seen_ms: Count
    """Lengths of all visits together, milliseconds."""
    read_ms: Count
    """How much of this time an emotion held, milliseconds."""
    shares: dict[Label, Share]
    """Share of `read_ms` per emotion; they sum to 1 within 0.001, or there are none."""
    people: Count
    """Most people that were seen at once."""
    shown: dict[Content, VisitCount] = Field(default_factory=dict)
    """By what the screen showed when a visit ended; empty when it showed nothing, or when a content had fewer
    visits than `trigger.min_group`."""
    today: VisitCount
    """All summaries since midnight of the device's time zone, or since its start, this one included."""
    delayed: bool = False
    """True: the summary waited for the broker."""
    age_ms: Count = 0
    """How long it had waited when it was sent, milliseconds."""

    @model_validator(mode="after")
    def _histogram(self) -> Self:
        if len(self.lengths) != len(self.length_bounds_s) + 1 or sum(self.lengths) != self.visits:
            raise ValueError(
                f"lengths must have one class more than length_bounds_s has bounds, and {self.visits} visits "
                f"in all, not {list(self.lengths)}"
            )
        return self

    def waited(self, milliseconds: int) -> IntervalSummary:
        """The same summary, marked as sent late."""
        return self.model_copy(update={"delayed": True, "age_ms": max(0, milliseconds)})


Report = Event | IntervalSummary
"""What is kept until the broker has it."""
_REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="schema_id")])


def read_report(text: str) -> Report:
    """An event or a summary from its JSON. Raises pydantic's ValidationError for all else."""
    return _REPORT.validate_json(text)


class SummaryStamp:
    """Makes messages of summaries: counts them and gives them their ids."""

    def __init__(self, device: str, boot_id: str, clocks: StampClocks) -> None:
        self._device = device
        self._boot_id = boot_id
        self._wall = clocks.wall
        self._ids = Uuid7(clocks.random)
        self._seq = 0

    @property
    def made(self) -> int:
        """How many so far."""
        return self._seq

    def stamp(self, summary: Summary, *, time_synced: bool) -> IntervalSummary:
        """The message of this summary; every call counts one further."""
        made = IntervalSummary(
            id=self._ids.next(self._wall()),
            start=summary.start,
            time=summary.end,
            time_synced=time_synced,
            device=self._device,
            boot_id=self._boot_id,
            seq=self._seq,
            **_counts(summary.all),
            length_bounds_s=LENGTHS,
            lengths=summary.lengths,
            seen_ms=round(summary.seen * 1000),
            read_ms=round(summary.read * 1000),
            shares=rounded_shares(summary.shares),
            people=summary.people,
            shown={content: VisitCount(**_counts(tally)) for content, tally in summary.shown.items()},
            today=VisitCount(**_counts(summary.today)),
        )
        self._seq += 1
        return made


def _counts(tally: Tally) -> dict[str, object]:
    return {"visits": tally.visits, "dominant": dict(tally.dominant)}

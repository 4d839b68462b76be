"""Messages as the archive keeps them: what is read of each, and what fits no schema.

Fields that a newer release adds are ignored; all that is kept is checked.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from oahega_edge.contract.complaint import complaint
from oahega_edge.contract.events import DeviceName, Share
from oahega_edge.contract.messages import OFFLINE, ONLINE
from oahega_edge.errors import plain
from oahega_edge.manifest import Label

Kind = Literal["event", "summary", "health", "availability"]
KINDS: tuple[Kind, ...] = ("event", "summary", "health", "availability")
LARGEST = 65_536
"""Bytes of a message; the largest that a device sends has a few thousand."""
Count = Annotated[int, Field(ge=0, lt=1 << 63, strict=True)]
Short = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]*$")]
Text = Annotated[str, Field(max_length=1000, pattern=r"^[^\x00]*$")]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("it lies before the year 1 or after 9999 in UTC") from None


Moment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""In UTC, so that nothing later can fail at it."""


class Misfit(ValueError):
    """A message that fits no schema; the text says why, in one sentence."""


class _Kept(BaseModel):
    """Ignores what it does not know."""

    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class _Visit(_Kept):
    seen_ms: Count
    read_ms: Count
    dominant: Label


class _Model(_Kept):
    name: Text
    version: Text


class KeptEvent(_Kept):
    """What is kept of an event: neither the box nor the scores."""

    schema_id: Annotated[Literal["urn:oahega:event:1"], Field(alias="schema")]
    id: UUID
    time: Moment
    time_synced: bool
    device: DeviceName
    boot_id: Short
    seq: Count
    track: Short
    phase: Literal["new", "update", "end"]
    changed: bool = True
    emotion: Label
    confidence: Share
    model: _Model
    degraded: bool
    latency_ms: Figure
    visit: _Visit | None = None
    delayed: bool = False


class _Counts(_Kept):
    visits: Count
    dominant: dict[Label, Count]


class KeptSummary(_Counts):
    """What is kept of a summary: all but the counts of the day."""

    schema_id: Annotated[Literal["urn:oahega:summary:1"], Field(alias="schema")]
    id: UUID
    start: Moment
    time: Moment
    time_synced: bool
    device: DeviceName
    boot_id: Short
    seq: Count
    length_bounds_s: tuple[Count, ...]
    lengths: tuple[Count, ...]
    seen_ms: Count
    read_ms: Count
    shares: dict[Label, Share]
    people: Count
    shown: dict[Short, _Counts] = Field(default_factory=dict)
    delayed: bool = False


class _Accelerator(_Kept):
    degraded: bool = False


class _Delivery(_Kept):
    dropped: Count = 0


class KeptHealth(_Kept):
    """What is kept of a health message."""

    schema_id: Annotated[Literal["urn:oahega:health:1"], Field(alias="schema")]
    time: Moment
    device: DeviceName
    release: Text
    boot_id: Short | None = None
    events: Count = 0
    summaries: Count = 0
    uptime_s: Figure
    fps: Figure
    accelerator: _Accelerator
    delivery: _Delivery


class KeptAvailability(_Kept):
    """A device has come or gone."""

    device: DeviceName
    time: Moment
    """When the archive was told: the message itself names no time."""
    online: bool


Record = KeptEvent | KeptSummary | KeptHealth | KeptAvailability
_MODELS: Mapping[str, type[KeptEvent | KeptSummary | KeptHealth]] = {
    "event": KeptEvent,
    "summary": KeptSummary,
    "health": KeptHealth,
}


def read_record(root: str, topic: str, payload: bytes, now: datetime) -> Record:
    """The record of a message. Raises Misfit for what is none."""
    device, _, kind = topic.removeprefix(f"{root}/").partition("/")
    if len(payload) > LARGEST:
        raise Misfit(f"it has {len(payload)} bytes, more than {LARGEST}")
    if kind == "availability":
        return _availability(device, payload, now)
    if kind not in _MODELS:
        raise Misfit(f"the archive keeps no {plain(kind)}")
    try:
        record = _MODELS[kind].model_validate_json(payload)
    except ValidationError as error:
        raise Misfit(complaint(error)) from error
    if record.device != device:
        raise Misfit(f"it names the device {plain(record.device)} on the topic of {plain(device)}")
    return record


def _availability(device: str, payload: bytes, now: datetime) -> KeptAvailability:
    if payload not in (ONLINE.encode(), OFFLINE.encode()):
        raise Misfit(f"availability is online or offline, not {plain(payload[:40])}")
    try:
        return KeptAvailability(device=device, time=now, online=payload == ONLINE.encode())
    except ValidationError as error:
        raise Misfit(complaint(error)) from error


def utc(moment: datetime) -> str:
    """As the tables keep it: UTC without a zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ")


def hour_of(moment: datetime) -> str:
    """The beginning of its hour, UTC."""
    return f"{utc(moment)[:13]}:00:00"


def minute_of(moment: datetime) -> str:
    """The beginning of its minute, UTC."""
    return f"{utc(moment)[:16]}:00"


def as_json(value: object) -> str:
    """For the columns with counts by name."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)

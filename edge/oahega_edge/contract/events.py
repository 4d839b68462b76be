"""The event: what a subscriber reads of one decision, and how a decision gets its stamp.

Everything here goes out as JSON. Never a picture, never an embedding; tracks are ephemeral.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
    model_validator,
)

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.trigger import UNCERTAIN, Decision
from oahega_edge.manifest import Label
from oahega_edge.visits.visit import Visit

Accelerator = Literal["cpu", "edgetpu-usb", "edgetpu-pci"]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
DeviceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


def rfc3339(moment: datetime) -> str:
    """UTC with milliseconds and Z, e.g. `2026-11-24T06:20:00.123Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _to_milliseconds(moment: datetime) -> datetime:
    """What the JSON can carry, so that a message equals itself after the journey."""
    utc = moment.astimezone(UTC)
    return utc.replace(microsecond=utc.microsecond // 1000 * 1000)


Moment = Annotated[
    AwareDatetime,
    AfterValidator(_to_milliseconds),
    PlainSerializer(rfc3339, return_type=str),
    WithJsonSchema(
        {
            "type": "string",
            "format": "date-time",
            "pattern": r"^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$",
        }
    ),
]
"""A time in UTC; in JSON as RFC 3339 with milliseconds and Z."""


class Message(BaseModel):
    """A frozen, closed value that becomes one JSON object; its fields' docstrings go into the schema."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        protected_namespaces=(),
        use_attribute_docstrings=True,
        populate_by_name=True,
        serialize_by_alias=True,
    )

    def to_json(self) -> str:
        """One line of JSON."""
        return self.model_dump_json(by_alias=True)


class ModelIdentity(Message):
    """Which model bundle decided."""

    name: str
    """Name of the bundle."""
    version: str
    """Version of the bundle."""
    sha256: Sha256
    """Of the bundle's manifest, which names the hash of every file."""


class VisitSummary(Message):
    """What a face did from its first frame to its last."""

    seen_ms: Annotated[int, Field(ge=0)]
    """From the first frame that showed the face to the last, milliseconds."""
    read_ms: Annotated[int, Field(ge=0)]
    """How much of this time an emotion held, milliseconds."""
    shares: dict[Label, Share]
    """Share of `read_ms` per emotion; they sum to 1 within 0.001, or there are none."""
    dominant: Label
    """The emotion that held longest, or `uncertain` when none ever held."""
    nearest_height: Share
    """Greatest height of the face, as a share of the picture's."""


class Event(Message):
    """One decision about one face: the averaged emotion, who saw it and by which model."""

    schema_id: Annotated[Literal["urn:oahega:event:1"], Field(alias="schema")] = "urn:oahega:event:1"
    """Version of this contract; a breaking change gets a new number."""
    id: Annotated[
        str, Field(pattern=r"^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$")
    ]
    """UUIDv7. An event may arrive more than once (QoS 1); it keeps its id."""
    time: Moment
    """When the last frame of the decision was taken, UTC; of `end` the last frame in which it was read."""
    time_synced: bool
    """False: the device's clock was not synchronised yet, `time` may be far off."""
    device: DeviceName
    """The device that saw it."""
    boot_id: Annotated[str, Field(min_length=1, max_length=64)]
    """One start of the daemon; `seq` counts within it."""
    seq: Annotated[int, Field(ge=0)]
    """Counts the events of one boot_id from 0; a gap is a lost event."""
    track: Annotated[str, Field(min_length=1, max_length=64)]
    """One face as long as it is seen; ephemeral, says nothing about who it is."""
    phase: Literal["new", "update", "end"]
    """new: first decision on this track; update: changed, or the heartbeat; end: the face has gone."""
    changed: bool = True
    """False: nothing new is said: the heartbeat, or the end of a face."""
    emotion: Label
    """A label of `scores`, or `uncertain` when none reached the threshold."""
    confidence: Share
    """Averaged probability of that label; of the best label when uncertain."""
    scores: Annotated[dict[Label, Share], Field(min_length=1)]
    """Averaged probability per label; they sum to 1 within 0.001."""
    frames: Annotated[int, Field(ge=0)]
    """Frames in the average; fewer than the settings' N while a face is young."""
    window_ms: Annotated[int, Field(ge=0)]
    """From the first to the last of these frames, milliseconds."""
    threshold: Share
    """Averaged probability that an emotion had to reach."""
    box: tuple[Share, Share, Share, Share]
    """The face: left, top, width, height in shares of the picture, origin top left."""
    model: ModelIdentity
    """The bundle that decided."""
    accelerator: Accelerator
    """What the models ran on."""
    degraded: bool
    """True: the accelerator that the settings ask for is not in use."""
    latency_ms: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """From the exposure of the last frame to the decision, milliseconds."""
    visit: VisitSummary | None = None
    """What the face did while it was seen; with the phase `end` only."""
    delayed: bool = False
    """True: the event waited for the broker and is no longer news."""
    age_ms: Annotated[int, Field(ge=0)] = 0
    """How long it had waited when it was sent, milliseconds."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.emotion != UNCERTAIN and self.emotion not in self.scores:
            raise ValueError(f"emotion {self.emotion!r} is not among the scores {sorted(self.scores)}")
        total = sum(self.scores.values())
        if abs(total - 1) > 1e-3:
            raise ValueError(f"scores must sum to 1, they sum to {total:.4f}")
        return self

    def waited(self, milliseconds: int) -> Event:
        """The same event, marked as sent late."""
        return self.model_copy(update={"delayed": True, "age_ms": max(0, milliseconds)})


@dataclass(frozen=True, slots=True)
class StampClocks:
    """What a stamp needs from the outside world."""

    wall: Callable[[], datetime]
    """The present moment in UTC."""
    random: Callable[[int], bytes]
    """That many random bytes; `os.urandom` on a device."""


class EventStamp:
    """Makes events of decisions: counts them and gives them their ids."""

    def __init__(self, device: str, boot_id: str, model: ModelIdentity, clocks: StampClocks) -> None:
        self._device = device
        self._boot_id = boot_id
        self._model = model
        self._wall = clocks.wall
        self._ids = Uuid7(clocks.random)
        self._seq = 0

    def use(self, model: ModelIdentity) -> None:
        """Another bundle decides from now on; the count goes on."""
        self._model = model

    def stamp(
        self,
        decision: Decision,
        *,
        latency_ms: float,
        accelerator: Accelerator,
        degraded: bool,
        time_synced: bool,
    ) -> Event:
        """The event of this decision; every call counts one further."""
        event = Event(
            id=self._ids.next(self._wall()),
            time=decision.taken_at,
            time_synced=time_synced,
            device=self._device,
            boot_id=self._boot_id,
            seq=self._seq,
            track=decision.track,
            phase=decision.phase,
            changed=decision.changed,
            emotion=decision.emotion,
            confidence=round(decision.confidence, 4),
            scores=rounded_shares(decision.scores),
            frames=decision.frames,
            window_ms=decision.window_ms,
            threshold=round(decision.threshold, 4),
            box=unit_xywh(decision.box),
            model=self._model,
            accelerator=accelerator,
            degraded=degraded,
            latency_ms=round(max(0.0, latency_ms), 1),
            visit=None if decision.visit is None else summarised(decision.visit),
        )
        self._seq += 1
        return event


def summarised(visit: Visit) -> VisitSummary:
    """A visit as it is published."""
    return VisitSummary(
        seen_ms=round(visit.seen * 1000),
        read_ms=round(visit.read * 1000),
        shares=rounded_shares(visit.shares),
        dominant=visit.dominant or UNCERTAIN,
        nearest_height=round(visit.nearest, 4),
    )


class Uuid7:
    """UUIDs of version 7 (RFC 9562): 48 bits of milliseconds, a 12-bit counter, 62 random bits.

    They rise strictly, also within a millisecond and when the clock is set back.
    """

    def __init__(self, random: Callable[[int], bytes]) -> None:
        self._random = random
        self._last = 0  # milliseconds and counter in one integer

    def next(self, moment: datetime) -> str:
        """The id of this moment, later than every id before."""
        milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
        self._last = max(milliseconds << 12, self._last + 1)
        tail = int.from_bytes(self._random(8), "big") >> 2
        value = self._last >> 12 << 80 | 7 << 76 | (self._last & 0xFFF) << 64 | 0b10 << 62 | tail
        return str(UUID(int=value))


def rounded_shares(shares: Mapping[str, float]) -> dict[str, float]:
    """Four digits each, and the same sum as before: the largest remainders are rounded up.

    Rounding each alone would let the sum of many labels drift from 1.
    """
    steps = {label: share * 10_000 for label, share in shares.items()}
    down = {label: int(step) for label, step in steps.items()}
    missing = round(sum(steps.values())) - sum(down.values())
    by_remainder = sorted(steps, key=lambda label: down[label] - steps[label])
    for label in by_remainder[:missing]:
        down[label] += 1
    return {label: step / 10_000 for label, step in down.items()}


def unit_xywh(box: Box) -> tuple[float, float, float, float]:
    """Left, top, width, height of the part inside the picture, four digits; empty where there is none."""
    left, top, right, bottom = (
        round(min(1.0, max(0.0, edge)), 4) for edge in (box.left, box.top, box.right, box.bottom)
    )
    return left, top, round(right - left, 4), round(bottom - top, 4)

"""What goes over MQTT besides the event: availability, info, state, health, commands and their answers."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Literal

from pydantic import Field, JsonValue

from oahega_edge.contract.events import Accelerator, DeviceName, Message, ModelIdentity, Moment, Share
from oahega_edge.manifest import Label

ONLINE = "online"
OFFLINE = "offline"
"""Plain text, retained. `offline` is also the last will, sent by the broker for a device that vanished."""
NONE = "none"
"""The state's emotion while no face is seen."""

Count = Annotated[int, Field(ge=0)]
Figure = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Frames = Annotated[int, Field(ge=1, le=1000, strict=True)]
Threshold = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
CommandName = Literal["set", "mute", "unmute", "snapshot-state", "restart"]
COMMANDS: tuple[CommandName, ...] = ("set", "mute", "unmute", "snapshot-state", "restart")


class Adjustable(Message):
    """The two settings that can be changed while the daemon runs."""

    frames: Annotated[Frames, Field(alias="smoothing.frames")]
    """N: frames that are averaged."""
    threshold: Annotated[Threshold, Field(alias="trigger.threshold")]
    """Averaged probability that an emotion must reach."""


class BrokerLink(Message):
    """How the device speaks to the broker."""

    protocol: Literal["5", "3.1.1"]
    """3.1.1 where the broker refuses 5: then nothing expires and there are no properties."""
    note: str | None = None
    """Why it is not 5."""


class Info(Message):
    """Who the device is and how it is set up. Retained; sent on every connect and after every change."""

    schema_id: Annotated[Literal["urn:oahega:info:1"], Field(alias="schema")] = "urn:oahega:info:1"
    """Version of this contract."""
    time: Moment
    """When this was said, UTC."""
    device: DeviceName
    """Name of the device."""
    release: str
    """Version of the daemon."""
    boot_id: Annotated[str, Field(min_length=1, max_length=64)]
    """The running start of the daemon, as in its events."""
    started: Moment
    """When the daemon started, UTC."""
    labels: Annotated[tuple[Label, ...], Field(min_length=1)]
    """Emotions that the events can name, besides `uncertain`."""
    bundle: ModelIdentity
    """The models in use."""
    bundle_problem: str | None = None
    """Why a bundle that was put in place is not in use."""
    terms: tuple[str, ...] = ()
    """Terms of the models' training data."""
    accelerator: Accelerator
    """What the models run on now."""
    context: str
    """The deployment that the operator declared."""
    event_schema: Literal["urn:oahega:event:1"] = "urn:oahega:event:1"
    """Version of the events."""
    adjustable: Adjustable
    """The adjustable settings as they are now."""
    volatile: tuple[str, ...] = ()
    """Settings that were changed by a command and are lost with the next start."""
    muted: bool = False
    """True: the camera is closed."""
    commands: tuple[CommandName, ...] = ()
    """Commands that are obeyed; empty when they are off."""
    settings: dict[str, JsonValue] = Field(default_factory=dict)
    """All settings without secrets."""
    mqtt: BrokerLink | None = None
    """Filled in by the MQTT publisher."""


class State(Message):
    """What is seen now, for dashboards. Retained with an expiry; sent on change and at an interval."""

    schema_id: Annotated[Literal["urn:oahega:state:1"], Field(alias="schema")] = "urn:oahega:state:1"
    """Version of this contract."""
    time: Moment
    """When this was so, UTC."""
    device: DeviceName
    """Name of the device."""
    emotion: Label
    """The dominant emotion; `uncertain` when faces are seen and none is sure, `none` without a face."""
    confidence: Share
    """Averaged probability of that emotion; 0 for `none`."""
    faces: Count
    """Faces that are tracked now."""
    people: Count
    """People that are seen now, with or without a visible face."""
    muted: bool = False
    """True: the camera is closed and nothing is seen."""
    mute_problem: str | None = None
    """Why the next start may be muted or not, other than now; or why this one began muted."""
    camera: Literal["live", "muted", "stalled", "absent"] = "live"
    """Tells `no face` from `no picture`."""
    picture_problem: str | None = None
    """What is wrong with the picture now: black, frozen or torn; null when nothing is."""


class Showing(Message):
    """What the screen beside the device shows, as its page or a program says. Retained with an expiry."""

    schema_id: Annotated[Literal["urn:oahega:showing:1"], Field(alias="schema")] = "urn:oahega:showing:1"
    """Version of this contract."""
    time: Moment
    """Since when, UTC."""
    device: DeviceName
    """Name of the device."""
    content: Annotated[str, Field(min_length=1, max_length=64)] | None
    """Name of the content, printable characters; null: nothing, or nothing that is known."""


class Latency(Message):
    """Durations of one stage since the last message."""

    p50: Figure
    """Median, milliseconds."""
    p95: Figure
    """95th percentile, milliseconds."""


class CameraHealth(Message):
    """The camera since the start of the daemon."""

    state: Literal["live", "muted", "stalled", "absent"]
    """As in `state`."""
    fps: Figure
    """Frames per second that arrived."""
    expected_fps: Figure
    """Frames per second that the settings ask for."""
    dropped: Count = 0
    """Frames that were replaced by newer ones before they were used."""
    stalls: Count = 0
    """Times that no frame came in time."""
    reopens: Count = 0
    """Times that the camera was opened again."""
    left_out: Count = 0
    """Pictures that were not looked at, because they were frozen or torn."""
    picture_problem: str | None = None
    """As in `state`."""


class AcceleratorHealth(Message):
    """What the models run on."""

    active: Accelerator
    """In use now."""
    wanted: str
    """What the settings ask for."""
    degraded: bool = False
    """True: not what the settings ask for."""
    reason: str | None = None
    """Why it fell back."""
    restarts: Count = 0
    """Times that the accelerator's process was started again."""


class Delivery(Message):
    """What became of the events and summaries, counted since the start of the daemon."""

    connected: bool
    """The broker accepted the connection."""
    protocol: Literal["5", "3.1.1"] | None = None
    """None while not connected, and for publishers without a broker."""
    accepted: Count = 0
    """Events that are safe: on disk, or taken over by the broker."""
    published: Count = 0
    """Events that the broker took over."""
    queued: Count = 0
    """Events that wait now, those of earlier starts included."""
    dropped: Count = 0
    """Events that were given up: too many, too old, lost with a damaged file, or refused by the broker."""
    dropped_reason: str | None = None
    """Why events were given up last, in one sentence."""
    connects: Count = 0
    """Connections that the broker accepted."""
    ignored_commands: Count = 0
    """Commands that were ignored: retained, not for us, or too many at once."""
    store: Literal["disk", "memory", "none"] = "none"
    """Where waiting events lie; memory although a folder is set: the disk is full or read-only."""
    problem: str | None = None
    """What is wrong now, in one sentence."""


class System(Message):
    """The board."""

    temperature_c: Annotated[float, Field(allow_inf_nan=False)] | None = None
    """Of the processor, degrees Celsius."""
    throttled: bool | None = None
    """The processor is slowed down now (heat or weak power supply)."""
    undervoltage: bool | None = None
    """The power supply has been too weak since the board started."""
    load: Figure | None = None
    """Load average over one minute."""
    memory_mb: Figure | None = None
    """Resident memory of the daemon."""


class DriftFigure(Message):
    """One quantity of the faces of the last day, beside the first days with the bundle."""

    distance: Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]
    """Cliff's delta: 0: no difference; 1: every value is greater than all of the first days; -1: smaller."""
    limit: Figure
    """Of its size; the more the device's days differ by themselves, the greater."""
    since: date | None = None
    """Day on which it went beyond the limit; null while it is not."""


class Asked(Message):
    """Expressions that people showed on request, of any bundle: the newest round, a dozen faces a month."""

    faces: Count
    """Of the newest round: the newest days that together have a dozen faces."""
    right: Count
    """Of these, faces that the bundle in use at that time read as what was asked for."""
    interval: tuple[Share, Share] | None = None
    """Of the share of right ones, 95 %; null before the first face."""
    last: date | None = None
    """Newest day of the round."""
    due: Count
    """Faces that are still to be asked for in this month."""
    before: Count
    """Faces of all rounds before."""
    before_right: Count
    chance: Share | None = None
    """That so few or fewer of the round are right if nothing has changed; null while there are too few faces.
    A problem is said below 0.01."""


class Drift(Message):
    """Whether faces look as they did in the first days with this bundle. Only counts of faces are kept."""

    learning: bool
    """True: the first days are not over, nothing is compared."""
    learned: Count
    """Faces of the first days."""
    problem: str | None = None
    """What drifts and what it most likely is, in one sentence."""
    since: date | None = None
    """When the oldest drift began."""
    quantities: dict[str, DriftFigure] = Field(default_factory=dict)
    """By name; `labels` is the expression whose share changed most."""
    asked: Asked | None = None


class ShadowSide(Message):
    """What one of two bundles said of the faces that both have read."""

    confidence: Share | None = None
    """Mean probability of the likeliest expression; null before the first face."""
    drift: dict[str, Annotated[float, Field(ge=-1, le=1, allow_inf_nan=False)]] = Field(default_factory=dict)
    """Distance to the first days, as in `drift`, of the quantities that depend on the classifier; empty while
    those days are learned or not watched."""


class Shadow(Message):
    """The newest bundle that read the same faces as the one in use, which decides; also when that is over."""

    bundle: ModelIdentity
    """The new one."""
    state: Literal["running", "passed", "refused", "left"]
    """passed: it was taken; left: another bundle was put in its place, or the daemon stopped."""
    since: Moment
    """When it began, UTC."""
    until: Moment
    """When it is over, UTC."""
    faces: Count
    """Faces that both have read; each counts as it was when it was nearest."""
    agreement: Share | None = None
    """Share of them to which both give the same expression; null before the first face."""
    in_use: ShadowSide
    """The bundle in use."""
    beside: ShadowSide
    """The new one."""
    problem: str | None = None
    """Why the new one is not to be taken, in one sentence."""


class Health(Message):
    """How the device does. Retained with an expiry; sent at an interval."""

    schema_id: Annotated[Literal["urn:oahega:health:1"], Field(alias="schema")] = "urn:oahega:health:1"
    """Version of this contract."""
    time: Moment
    """When this was measured, UTC."""
    device: DeviceName
    """Name of the device."""
    release: str
    """Version of the daemon."""
    boot_id: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    """The running start of the daemon, as in its events; null from releases that do not say it."""
    bundle_sha256: str
    """Of the models' manifest."""
    bundle_problem: str | None = None
    """Why a bundle that was put in place is not in use."""
    uptime_s: Figure
    """Seconds since the daemon started."""
    fps: Figure
    """Frames per second through the whole chain."""
    stages_ms: dict[str, Latency]
    """Per stage of the chain."""
    camera: CameraHealth
    """The camera."""
    mute_problem: str | None = None
    """As in `state`."""
    accelerator: AcceleratorHealth
    """What the models run on."""
    delivery: Delivery
    """The way of the events to the broker."""
    drift: Drift | None = None
    """Null where it is not watched."""
    shadow: Shadow | None = None
    """Null while no bundle ran in the shadow since the start."""
    events: Count
    """Events made since the daemon started; the newest has the `seq` one below."""
    summaries: Count = 0
    """Summaries made since the daemon started, as `events`."""
    last_event: Moment | None = None
    """When the newest of them was made, UTC by the same clock as `time`; null while there is none."""
    system: System = System()
    """The board."""


class EmptyCommand(Message):
    """Payload of `unmute`, `snapshot-state` and `restart`; may also be left empty."""

    transaction: Annotated[str, Field(max_length=128)] | None = None
    """Comes back in the answer."""


class MuteCommand(Message):
    """Payload of `mute`; may also be left empty."""

    muted: Annotated[bool, Field(strict=True)] = True
    """False does what `unmute` does: a switch needs one topic for both."""
    transaction: Annotated[str, Field(max_length=128)] | None = None
    """Comes back in the answer."""


class SetCommand(Message):
    """Payload of `set`: at least one of the two settings."""

    frames: Annotated[Frames | None, Field(alias="smoothing.frames")] = None
    """N: frames that are averaged."""
    threshold: Annotated[Threshold | None, Field(alias="trigger.threshold")] = None
    """Averaged probability that an emotion must reach."""
    transaction: Annotated[str, Field(max_length=128)] | None = None
    """Comes back in the answer."""

    def settings(self) -> dict[str, int | float]:
        """The settings that it names, by their key path."""
        return self.model_dump(by_alias=True, exclude={"transaction"}, exclude_none=True)


class Response(Message):
    """The answer to a command."""

    schema_id: Annotated[Literal["urn:oahega:response:1"], Field(alias="schema")] = "urn:oahega:response:1"
    """Version of this contract."""
    command: str
    """The command's name, from its topic."""
    status: Literal["ok", "error"]
    """error: nothing was changed."""
    error: str | None = None
    """What was wrong, in one sentence."""
    data: dict[str, Any] | None = None
    """What the command answers: the settings in force, or the state."""
    transaction: str | None = None
    """As in the command."""


class TopicOnly(Message):
    """One topic of Home Assistant's availability list."""

    topic: str
    """Says online or offline."""
    value_template: str | None = None
    """What is read from it, if not the word itself."""


class DiscoveryDevice(Message):
    """The device, as Home Assistant shows it."""

    identifiers: tuple[str, ...]
    """What makes it this device."""
    name: str
    """Name of the device."""
    manufacturer: str
    """Who makes it."""
    model: str
    """The models in use."""
    sw_version: str
    """Version of the daemon."""


class Origin(Message):
    """Who wrote the description."""

    name: str
    """The program."""
    sw_version: str
    """Its version."""


class Entity(Message):
    """One entity in Home Assistant's own words; with the platform alone, it is taken away."""

    platform: Literal["sensor", "binary_sensor", "event", "number", "switch", "button", "device_automation"]
    """Kind of entity; `device_automation` is a trigger and no entity."""
    availability: tuple[TopicOnly, ...] | None = None
    automation_type: Literal["trigger"] | None = None
    type: str | None = None
    subtype: str | None = None
    topic: str | None = None
    payload: str | None = None
    unique_id: str | None = None
    name: str | None = None
    state_topic: str | None = None
    value_template: str | None = None
    command_topic: str | None = None
    command_template: str | None = None
    json_attributes_topic: str | None = None
    json_attributes_template: str | None = None
    device_class: str | None = None
    state_class: str | None = None
    entity_category: str | None = None
    unit_of_measurement: str | None = None
    expire_after: Annotated[int, Field(ge=1)] | None = None
    options: tuple[str, ...] | None = None
    event_types: tuple[str, ...] | None = None
    min: float | None = None
    max: float | None = None
    step: float | None = None
    mode: Literal["box", "slider"] | None = None
    payload_on: str | None = None
    payload_off: str | None = None
    payload_press: str | None = None
    state_on: str | None = None
    state_off: str | None = None


class Discovery(Message):
    """Home Assistant's device-based discovery. Retained; sent on every connect and after its birth."""

    device: DiscoveryDevice
    """The device."""
    origin: Origin
    """Who says so."""
    availability: tuple[TopicOnly, ...]
    """Where it is told that the device is there."""
    components: dict[str, Entity]
    """The entities."""

    def to_json(self) -> str:
        """Without what is not set: Home Assistant refuses null."""
        return self.model_dump_json(by_alias=True, exclude_none=True)

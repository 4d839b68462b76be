"""Settings: strict TOML in layers, every error at once with its key, its value and what to do."""

from __future__ import annotations

import difflib
import os
import re
import socket
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, Secret, ValidationError, ValidationInfo, field_validator

from oahega_edge.errors import SettingsError, plain
from oahega_edge.manifest import Manifest
from oahega_edge.publishers.broker import read_address
from oahega_edge.samples.consent import OFF, obstacle
from oahega_edge.samples.keys import PUBLIC, read_key
from oahega_edge.secret import HIDDEN, Hidden, Source, holds_login, holds_secret, masked, shown
from oahega_edge.text import read_text

PACKAGED = Path(__file__).parents[1] / "default.toml"
DEVICE_FOLDER = Path("/etc/oahega-edge")
"""Of `edge.toml`, and of one file per instance where several daemons run on the device."""
ENVIRONMENT_PREFIX = "OAHEGA_"
LARGEST_SETTINGS = 1 << 20
LARGEST_PASSWORD = 4096
"""Bytes of a file."""

INSTANCE = "[a-z0-9][a-z0-9-]{0,62}"
"""Pattern of the names of devices and instances."""
REFUSED_CONTEXTS = {
    "workplace": "inferring emotions of people at work",
    "education": "inferring emotions of people in schools and universities",
}
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Seconds = Annotated[float, Field(ge=0, allow_inf_nan=False)]
Milliseconds = Annotated[int, Field(ge=0)]
Region = tuple[Share, Share, Share, Share]


class Section(BaseModel):
    """Frozen, closed, and with each field's docstring as its description."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, hide_input_in_errors=True
    )

    @field_validator("*")
    @classmethod
    def _without_login(cls, value: object) -> object:
        """Only a `Source` may hold one, because it is never shown whole."""
        texts = value if isinstance(value, tuple) else (value,)
        if any(isinstance(text, str) and holds_login(text) for text in texts):
            raise ValueError("must not hold a login; name user and password file in their own settings")
        return value


class Deployment(Section):
    """Where the device watches."""

    context: Literal["public-space", "own-home", "art", "research", "development"]
    """Must be answered before `run`."""

    @field_validator("context", mode="before")
    @classmethod
    def _lawful(cls, value: object) -> object:
        reason = REFUSED_CONTEXTS.get(value) if isinstance(value, str) else None
        if reason:
            raise ValueError(
                f"is refused: {reason} is prohibited in the EU (Regulation 2024/1689, article 5(1)(f))"
            )
        return value


class Device(Section):
    """Who this device is."""

    name: Annotated[str, Field(pattern=f"^{INSTANCE}$")]
    """In topics and events."""

    @field_validator("name", mode="before")
    @classmethod
    def _from_host(cls, value: object) -> object:
        return value if value != "" else host_name(socket.gethostname())


class Camera(Section):
    """The source of frames; see default.toml."""

    source: Source
    user: Hidden
    password_file: str
    rotate: Literal[0, 90, 180, 270]
    mirror: bool
    width: Annotated[int, Field(ge=64, le=8192)]
    height: Annotated[int, Field(ge=64, le=8192)]
    fps: Annotated[float, Field(gt=0, le=240, allow_inf_nan=False)]
    roi: Region
    stall_s: Annotated[float, Field(ge=0.2, le=600, allow_inf_nan=False)]
    attempts: Annotated[int, Field(ge=1)]

    @field_validator("source")
    @classmethod
    def _named(cls, value: Source) -> Source:
        if not value.get_secret_value():
            raise ValueError("names no camera; see default.toml")
        return value

    @field_validator("user")
    @classmethod
    def _of_a_network_camera(cls, value: Hidden, info: ValidationInfo) -> Hidden:
        source = info.data["source"].get_secret_value() if "source" in info.data else "rtsp://"
        if value.get_secret_value() and ("://" not in source or "@" in source):
            raise ValueError("is for a network camera whose camera.source names no user; remove one of them")
        return value

    @field_validator("password_file")
    @classmethod
    def _of_a_user(cls, value: str, info: ValidationInfo) -> str:
        if value and "user" in info.data and not info.data["user"].get_secret_value():
            raise ValueError("needs camera.user")
        return value

    @field_validator("roi")
    @classmethod
    def _not_empty(cls, value: Region) -> Region:
        return _not_empty(value)


class BundleChoice(Section):
    """The model bundle."""

    path: str
    public_keys: tuple[str, ...]
    """Ed25519, 32 bytes in base64; when there is one, the bundle must be signed by one of them."""
    shadow_minutes: Annotated[float, Field(ge=0, le=43200, allow_inf_nan=False)]
    """For which a new bundle runs in the shadow of the one in use; 0: it is taken at once."""


class Runtime(Section):
    """What the models run on."""

    library: Literal["auto", "litert", "tflite"]
    accelerator: Annotated[str, Field(pattern=r"^(cpu|auto|(usb|pci)(:[0-9])?)$")]
    threads: Annotated[int, Field(ge=1, le=64)]
    python: str
    """Interpreter of the accelerator's process; empty: the daemon's own."""


class Detection(Section):
    """Which faces and people count."""

    face_score: Share
    person_score: Share
    nms_iou: Share
    every: Annotated[int, Field(ge=1, le=100)]
    min_face_px: Annotated[int, Field(ge=0)]
    masks: tuple[Region, ...]

    @field_validator("masks")
    @classmethod
    def _no_empty_mask(cls, value: tuple[Region, ...]) -> tuple[Region, ...]:
        return tuple(_not_empty(region) for region in value)


class Motion(Section):
    """When the detector need not look at an empty scene."""

    gate: bool
    look_every_ms: Annotated[int, Field(ge=1, le=1000)]


class Tracking(Section):
    """Faces from frame to frame."""

    match_iou: Annotated[float, Field(gt=0, le=1)]
    start_hits: Annotated[int, Field(ge=1, le=100)]
    lost_after_ms: Milliseconds
    hold_ms: Milliseconds


class Smoothing(Section):
    """What a face shows, from its last frames."""

    frames: Annotated[int, Field(ge=1, le=1000)]
    mean: Literal["belief", "geometric", "arithmetic"]
    lasting_s: Annotated[float, Field(ge=0.1, le=3600, allow_inf_nan=False)]
    lapse: Annotated[float, Field(ge=0, le=0.5)]
    max_age_ms: Annotated[int, Field(ge=1)]


class TriggerSettings(Section):
    """When an averaged emotion becomes an event."""

    threshold: Share
    hysteresis: Share
    dwell_ms: Milliseconds
    min_frames: Annotated[int, Field(ge=1, le=1000)]
    heartbeat_s: Seconds
    min_interval_ms: Milliseconds
    sensitivity: Annotated[float, Field(ge=-3, le=3, allow_inf_nan=False)]
    labels: tuple[str, ...]
    min_group: Annotated[int, Field(ge=0, le=1000)]

    @field_validator("labels")
    @classmethod
    def _none_or_several(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("names an emotion twice; name each once")
        if len(value) == 1:
            raise ValueError("needs two emotions or more: a single one would be sure of every face")
        return value

    @field_validator("min_group")
    @classmethod
    def _a_group_is_no_single_person(cls, value: int) -> int:
        if value == 1:
            raise ValueError("must be 0 (off) or at least 2")
        return value


class Mqtt(Section):
    """The broker."""

    host: str
    """A name or an IP address, IPv6 with or without brackets."""
    port: Annotated[int, Field(ge=1, le=65535)]
    root: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*(/[a-z0-9][a-z0-9_-]*)*$")]
    username: Hidden
    password_file: str
    tls: Literal["auto", "on", "off"]
    ca_file: str
    cert_file: str
    key_file: str
    keepalive_s: Annotated[int, Field(ge=5, le=3600)]
    will_delay_s: Annotated[int, Field(ge=0, le=3600)]
    session_expiry_s: Annotated[int, Field(ge=0, le=86_400)]
    event_expiry_s: Annotated[int, Field(ge=1)]
    state_expiry_s: Annotated[int, Field(ge=1)]
    commands: bool
    discovery: bool
    discovery_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*$")]

    @field_validator("host")
    @classmethod
    def _host_alone(cls, value: str) -> str:
        if not value:
            return value
        address = read_address(value)
        if value.strip("[]") != address.host:
            tls = ', mqtt.tls = "on"' if address.encrypted else ""
            raise ValueError(
                f'write the host alone: mqtt.host = "{address.host}", mqtt.port = {address.port}{tls}'
            )
        return address.host


class Store(Section):
    """Events made while the broker is away."""

    policy: Literal["all", "latest", "none"]
    path: str
    max_events: Annotated[int, Field(ge=1, le=10_000_000)]
    max_age_s: Annotated[int, Field(ge=1)]


class SummarySettings(Section):
    """Many visits together."""

    interval_s: Annotated[float, Field(ge=0, le=86_400, allow_inf_nan=False)]

    @field_validator("interval_s")
    @classmethod
    def _no_flood(cls, value: float) -> float:
        if 0 < value < 1:
            raise ValueError("must be 0 (off) or at least 1")
        return value


class DriftSettings(Section):
    """Whether faces still look as in the first days."""

    watch: bool


class HealthSettings(Section):
    """What the device says of itself."""

    interval_s: Annotated[float, Field(ge=1, le=3600, allow_inf_nan=False)]


class MetricsSettings(Section):
    """The same figures for Prometheus."""

    port: Annotated[int, Field(ge=0, le=65535)]
    host: str


class PageSettings(Section):
    """The device's own page."""

    port: Annotated[int, Field(ge=0, le=65535)]
    host: Annotated[str, Field(min_length=1)]
    token_file: str
    names: tuple[str, ...]
    notice: str
    folder: str


class SampleSettings(Section):
    """Pictures of people who agreed, sealed for the operator."""

    consent: Literal["off", "asked-at-the-device", "written"]
    """How people agree."""
    recipient: str
    """The operator's public key, as `python -m oahega_build sample-key` prints it."""
    most: Annotated[int, Field(ge=1, le=1000)]
    days: Annotated[int, Field(ge=1, le=365)]

    @field_validator("recipient")
    @classmethod
    def _a_key_where_it_is_needed(cls, value: str, info: ValidationInfo) -> str:
        if value:
            read_key(PUBLIC, value)
        elif info.data.get("consent", OFF) != OFF:
            raise ValueError("is needed; make a key with `python -m oahega_build sample-key FILE`")
        return value


class Logging(Section):
    """The log on standard error."""

    level: Literal["debug", "info", "warning", "error"]


class Settings(Section):
    """Everything, complete: a Settings that exists can be run."""

    deployment: Deployment
    device: Device
    camera: Camera
    bundle: BundleChoice
    runtime: Runtime
    detection: Detection
    motion: Motion
    tracking: Tracking
    smoothing: Smoothing
    trigger: TriggerSettings
    mqtt: Mqtt
    store: Store
    summary: SummarySettings
    drift: DriftSettings
    health: HealthSettings
    metrics: MetricsSettings
    page: PageSettings
    samples: SampleSettings
    logging: Logging


Tree = dict[str, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Layer:
    """Values from one place."""

    origin: str
    values: Tree


class Layers:
    """The layers as read, before they are one Settings."""

    def __init__(self, layers: Iterable[Layer]) -> None:
        """`layers`: the weakest first."""
        self._layers = list(layers)

    def merged(self) -> dict[str, dict[str, tuple[Any, str]]]:
        """Value and origin of every key that any layer names."""
        result: dict[str, dict[str, tuple[Any, str]]] = {}
        for layer in self._layers:
            for section, values in layer.values.items():
                for key, value in values.items():
                    result.setdefault(section, {})[key] = (value, layer.origin)
        return result

    def bundle_path(self) -> Path | None:
        """The bundle that the settings name, None for the packaged one."""
        path = self.merged().get("bundle", {}).get("path", ("", ""))[0]
        return Path(path) if isinstance(path, str) and path else None

    def store_path(self) -> str:
        """The state folder that the settings name; empty: none."""
        path = self.merged().get("store", {}).get("path", ("", ""))[0]
        return path if isinstance(path, str) else ""

    def bundle_keys(self) -> tuple[str, ...]:
        """The keys of which one must have signed the bundle; empty: it need not be signed."""
        keys = self.merged().get("bundle", {}).get("public_keys", ((), ""))[0]
        if not isinstance(keys, list | tuple) or not all(isinstance(key, str) for key in keys):
            raise SettingsError(
                f"bundle.public_keys = {plain(repr(keys))}: should be a list of keys in base64"
            )
        return tuple(keys)

    def with_suggestions(self, manifest: Manifest) -> Layers:
        """The same with the bundle's suggestions just above the packaged defaults."""
        suggested = Layer(f"bundle {manifest.name}-{manifest.version}", suggestions(manifest))
        return Layers([*self._layers[:1], suggested, *self._layers[1:]])

    def resolve(self) -> Settings:
        """One Settings; SettingsError lists every problem, one a line."""
        merged = self.merged()
        values = {
            section: {key: value for key, (value, _) in keys.items()} for section, keys in merged.items()
        }
        try:
            settings = Settings.model_validate(values)
        except ValidationError as error:
            problems = sorted(_problem(item, merged) for item in error.errors(include_url=False))
            raise SettingsError("\n".join(problems)) from error
        consent, context = settings.samples.consent, settings.deployment.context
        reason = obstacle(consent, context, settings.trigger.min_group, settings.page.port)
        if reason:
            origin = merged["samples"]["consent"][1]
            raise SettingsError(f"samples.consent = {consent!r} (from {origin}): {reason}")
        return settings


def suggestions(manifest: Manifest) -> Tree:
    """What a bundle suggests, under the settings' names."""
    detection, decision = manifest.detector.suggested, manifest.emotion.suggested
    scores = {
        f"{label}_score": score for label, score in detection.score.items() if label in ("face", "person")
    }
    return {
        "detection": {**scores, "nms_iou": detection.nms_iou},
        "smoothing": {"frames": decision.frames, "lapse": decision.lapse},
        "trigger": {"threshold": decision.threshold},
    }


def read_layers(
    file: Path | None,
    environment: Mapping[str, str],
    assignments: Iterable[str],
    *,
    instance: str | None = None,
    folder: Path = DEVICE_FOLDER,
) -> Layers:
    """Packaged defaults, the device's file, the instance's, the environment and `key=value` assignments.

    `file` takes the place of the device's, which need not exist. SettingsError names what cannot be parsed.
    """
    layers = [Layer("packaged default", _parse(PACKAGED))]
    if file is not None or (folder / "edge.toml").exists():
        path = file or folder / "edge.toml"
        layers.append(Layer(str(path), _parse(path)))
    if instance is not None:
        layers += _of_instance(instance, Layers(layers), folder / f"{instance}.toml")
    layers.append(Layer("environment", _from_environment(environment)))
    layers.append(Layer("--set", _from_assignments(assignments)))
    return Layers(layers)


def layers_of(values: Mapping[str, Any], origin: str) -> Layers:
    """Packaged defaults with the values of a program, by their key paths; no file, no environment."""
    tree: Tree = {}
    for path, value in values.items():
        section, _, key = path.partition(".")
        tree.setdefault(section, {})[key] = value
    return Layers([Layer("packaged default", _parse(PACKAGED)), Layer(origin, tree)])


def read_password(file: Path, name: str) -> Hidden:
    """A file's one line. SettingsError, which names the setting or option, when it cannot be read."""
    try:
        return Hidden(read_text(file, LARGEST_PASSWORD).rstrip("\n"))
    except OSError as error:
        raise SettingsError(f"{name} = {str(file)!r}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise SettingsError(f"{name} = {str(file)!r}: cannot be read ({error})") from error


def host_name(host: str) -> str:
    """A device name from a host name: lower case, a-z, 0-9 and -."""
    return re.sub(r"[^a-z0-9]+", "-", host.lower().split(".")[0]).strip("-")[:63] or "oahega-edge"


def _of_instance(name: str, common: Layers, file: Path) -> list[Layer]:
    """The device's name with the instance's behind it, and the instance's own file if it exists."""
    if not re.fullmatch(INSTANCE, name):
        raise SettingsError(f"--instance {plain(name)}: an instance is called by a-z, 0-9 and -, as in left")
    host = common.merged().get("device", {}).get("name", ("", ""))[0] or host_name(socket.gethostname())
    named = Layer(f"instance {name}", {"device": {"name": f"{host}-{name}"}})
    return [named, Layer(str(file), _parse(file))] if file.exists() else [named]


def _parse(path: Path) -> Tree:
    try:
        tree = tomllib.loads(read_text(path, LARGEST_SETTINGS))
    except OSError as error:
        raise SettingsError(f"settings file {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise SettingsError(f"settings file {path} is not TOML: {plain(error)}") from error
    loose = [plain(key) for key, value in tree.items() if not isinstance(value, dict)]
    if loose:
        raise SettingsError(f"settings file {path}: {', '.join(loose)} stand outside of a [section]")
    return tree


def _from_environment(environment: Mapping[str, str]) -> Tree:
    """OAHEGA_CAMERA_FPS=10 is camera.fps; variables of no known section are not ours."""
    tree: Tree = {}
    for name, text in environment.items():
        section, _, key = name.removeprefix(ENVIRONMENT_PREFIX).lower().partition("_")
        if name.startswith(ENVIRONMENT_PREFIX) and key and section in Settings.model_fields:
            tree.setdefault(section, {})[key] = _typed(section, key, text)
    return tree


def _from_assignments(assignments: Iterable[str]) -> Tree:
    tree: Tree = {}
    for assignment in assignments:
        path, equals, text = assignment.partition("=")
        section, dot, key = path.strip().partition(".")
        if not (equals and dot and key):
            raise SettingsError(
                f"--set {plain(masked(assignment))}: write section.key=value, as in --set camera.fps=10"
            )
        if holds_secret(text):
            raise SettingsError(
                f"--set {plain(path.strip())}: a login in a command line can be read by every user; use "
                "camera.user and camera.password_file, or mqtt.username and mqtt.password_file"
            )
        tree.setdefault(section, {})[key] = _typed(section, key, text.strip())
    return tree


def _typed(section: str, key: str, text: str) -> Any:
    """What a person typed for this setting: text where the setting is text, else a TOML value.

    `0` is a camera, and `2026-11-24` may be a bundle: neither becomes a number or a date. Quotes are removed.
    """
    value = _toml_value(text)
    return text if _is_text(section, key) and not isinstance(value, str) else value


def _toml_value(text: str) -> Any:
    """A TOML value where it parses as one, else the text itself."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def _is_text(section: str, key: str) -> bool:
    """Whether the setting takes any text, or one of several words."""
    model = Settings.model_fields[section].annotation if section in Settings.model_fields else None
    field = model.model_fields.get(key) if isinstance(model, type) and issubclass(model, Section) else None
    if field is None:
        return False
    kind = field.annotation
    if isinstance(kind, type):
        return issubclass(kind, str | Secret)
    words = getattr(kind, "__args__", ())
    return bool(words) and all(isinstance(word, str) for word in words)


def _not_empty(region: Region) -> Region:
    left, top, right, bottom = region
    if not (left < right and top < bottom):
        raise ValueError("must be left, top, right, bottom with left < right and top < bottom")
    return region


def _problem(item: Any, merged: Mapping[str, Mapping[str, tuple[Any, str]]]) -> str:
    """One error of pydantic's in one line: key path, value, where it comes from, what to do."""
    path = plain(".".join(str(part) for part in item["loc"]))
    section, key = str(item["loc"][0]), str(item["loc"][1]) if len(item["loc"]) > 1 else ""
    origin = merged.get(section, {}).get(key, (None, ""))[1]
    place = f" (from {origin})" if origin else ""
    if item["type"] == "extra_forbidden":
        return f"{path}: unknown setting{place}{_suggestion(item['loc'])}"
    if item["type"] == "missing":
        return f"{path}: is not set; {_remedy(path)}"
    message = item["msg"].removeprefix("Value error, ").removeprefix("Input ")
    value = _shown(item)
    if item["type"] == "string_type" and not isinstance(item["input"], list | dict):
        message += f'; write it in quotes: {key} = "{value}"'
    return f"{path} = {value}{place}: {message}"


def _shown(item: Any) -> str:
    """The value that is wrong, without what may be secret in it."""
    section, *keys = map(str, item["loc"])
    if (section, keys) == ("samples", ["recipient"]):
        return HIDDEN  # it may be the private key
    model: Any = Settings.model_fields[section].annotation
    kind: Any = model.model_fields[keys[0]].annotation if keys else None
    if not (isinstance(kind, type) and issubclass(kind, Secret)):
        return plain(masked(repr(item["input"])))
    given = item["input"]
    if kind is not Source or isinstance(given, list | dict):
        return HIDDEN
    return plain(repr(shown(given)) if isinstance(given, str) else str(given))


def _remedy(path: str) -> str:
    if path.startswith("deployment"):
        choices = ", ".join(_contexts())
        return f"say where the device watches: [deployment] context = one of {choices}"
    return "set it in edge.toml, or name a bundle that suggests it"


def _contexts() -> Iterator[str]:
    annotation = Deployment.model_fields["context"].annotation
    yield from getattr(annotation, "__args__", ())


def _suggestion(loc: tuple[Any, ...]) -> str:
    known: list[str] = list(Settings.model_fields)
    if len(loc) > 1:
        field = Settings.model_fields.get(str(loc[0]))
        section = field.annotation if field else None
        known = (
            list(section.model_fields) if isinstance(section, type) and issubclass(section, Section) else []
        )
    close = difflib.get_close_matches(str(loc[-1]), known, n=1)
    if close:
        return f"; did you mean {plain('.'.join([*map(str, loc[:-1]), close[0]]))}?"
    return f"; known here: {', '.join(known)}"


def environment() -> Mapping[str, str]:
    """The process's environment."""
    return os.environ

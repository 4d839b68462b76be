"""Anything at all as settings, manifest, command or model file: it works, or is refused in plain sentences.

What is accepted is then used, so that nothing slips through the checks and fails later. Each test tries some
dozens of cases; in the long mode 10,000.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mini_bundle import make_bundle
from oahega_edge.bundles.load import load_bundle, parse_manifest, seal
from oahega_edge.bundles.models import Models
from oahega_edge.chain.frame import Frame
from oahega_edge.contract.topics import Topics
from oahega_edge.errors import BundleError, CameraError, EdgeError, SettingsError
from oahega_edge.publishers.commands import Refused, read_command
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.wire import Incoming
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.tflite_file import parse_tflite
from oahega_edge.service.assembly import make_camera, mqtt_options, store_options
from oahega_edge.service.chains import make_pipeline
from oahega_edge.service.engine import Engine, runtime_options
from oahega_edge.service.settings import PACKAGED, Settings, read_layers
from oahega_edge.service.setup import read_setup
from oahega_edge.stopwatch import Stopwatch
from small_engine import NOON
from tiny import NAMES, tiny

LONGEST_SENTENCE = 600
FRAME = Frame(np.full((96, 128, 3), 90, np.uint8), 0.0, NOON, 0)
HOW_MANY = [60, pytest.param(10_000, marks=pytest.mark.long)]


def fuzz(cases: int, check: Callable[..., None], **what: st.SearchStrategy[Any]) -> None:
    """Run `check` on so many cases, the same ones each time."""
    quiet = settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    quiet(given(**what)(lambda **case: check(**case)))()


def assert_plain(error: EdgeError) -> None:
    """Sentences, one a line, none of them endless."""
    lines = str(error).splitlines()
    assert lines
    for line in lines:
        assert line.strip(), error
        assert len(line) <= LONGEST_SENTENCE, line
        assert line.isprintable(), line


# --- Settings

KEYS = [
    (section, key)
    for section, field in Settings.model_fields.items()
    for key in field.annotation.model_fields
]  # type: ignore[union-attr]
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 400),
    st.floats(),
    st.floats(0, 1),
    st.text(max_size=40),
    st.dates(),
    st.datetimes(),
    st.times(),
    st.sampled_from(
        ["auto", "usb:1", "0", "loop:nothing.mp4", "rtsp://u:p@h/x", "own-home", "latest", "geometric"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=12,
)
WRONG_NAMES = st.text(st.characters(codec="utf-8"), max_size=12)
WRONG_KEYS = st.tuples(st.sampled_from(sorted(Settings.model_fields)), WRONG_NAMES)
WRONG_KEYS |= st.tuples(WRONG_NAMES, WRONG_NAMES)


def likely(place: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that this part of the settings' JSON Schema allows, or nearly."""
    least, most = place.get("minimum", place.get("exclusiveMinimum")), place.get("maximum")
    match place:
        case {"enum": options}:
            return st.sampled_from(options)
        case {"type": "boolean"}:
            return st.booleans()
        case {"type": "integer"}:
            return st.integers(least, most) | st.integers(least, (least or 0) + 50)
        case {"type": "number"}:
            return st.floats(least, most, allow_nan=False) | st.floats(least, (least or 0) + 5)
        case {"pattern": pattern}:
            return st.from_regex(pattern)
        case {"type": "array", "prefixItems": items}:
            return st.tuples(*map(likely, items)).map(sorted)
        case {"type": "array", "items": items}:
            return st.lists(likely(items), max_size=3)
        case _:
            return st.sampled_from(["", "0", "happy", "sad", "loop:nothing.mp4"]) | st.text(max_size=20)


def likely_setting() -> st.SearchStrategy[tuple[tuple[str, str], object]]:
    """A key and a value that may well be accepted."""
    schema = Settings.model_json_schema()

    def of(key: tuple[str, str]) -> st.SearchStrategy[tuple[tuple[str, str], object]]:
        section = schema["$defs"][schema["properties"][key[0]]["$ref"].rpartition("/")[2]]
        return st.tuples(st.just(key), likely(section["properties"][key[1]]))

    return st.sampled_from(KEYS).flatmap(of)


SETTINGS = st.lists(likely_setting(), max_size=6) | st.lists(
    likely_setting() | st.tuples(st.sampled_from(KEYS) | WRONG_KEYS, VALUES), max_size=4
)


def as_toml(value: object) -> str:
    """A TOML value; for tests only, the device never writes TOML."""
    match value:
        case bool():
            return str(value).lower()
        case float():
            return repr(value)
        case int():
            return str(value)
        case datetime() | date() | time():
            return value.isoformat()
        case list():
            return f"[{', '.join(map(as_toml, value))}]"
        case dict():
            return "{" + ", ".join(f"{as_toml(key)} = {as_toml(one)}" for key, one in value.items()) + "}"
        case _:
            return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("fuzz") / "tiny")


@pytest.fixture(scope="module")
def models(bundle: Path) -> Iterator[Models]:
    setup = read_setup(read_layers(None, {}, [f"bundle.path={bundle}", "deployment.context=development"]))
    with Models(setup.bundle, runtime_options(setup)) as opened:
        yield opened


class Device:
    """Reads settings as the device does, and uses what it accepted."""

    def __init__(self, folder: Path, bundle: Path, models: Models) -> None:
        self.accepted = 0
        self._file = folder / "edge.toml"
        self._bundle = bundle
        self._models = models

    def read(self, toml: bytes, environment: dict[str, str], assignments: list[str]) -> None:
        self._file.write_bytes(toml)
        # The bundle's place is no wish of the fuzzer's: most of its paths are nowhere.
        needed = [f"bundle.path={self._bundle}", "bundle.public_keys=[]", "deployment.context=development"]
        try:
            setup = read_setup(read_layers(self._file, environment, [*assignments, *needed]))
        except SettingsError as error:
            assert_plain(error)
        else:
            self.accepted += 1
            self._use(setup.settings)

    def _use(self, accepted: Settings) -> None:
        setup_bundle = load_bundle(self._bundle)
        try:
            pipeline = make_pipeline(setup_bundle, self._models, accepted, Stopwatch())
            pipeline.process(FRAME)
            pipeline.finish()
            mqtt_options(accepted, {})
            store_options(accepted, None)
            make_camera(accepted)
        except (SettingsError, CameraError) as error:
            assert_plain(error)


@pytest.fixture
def device(tmp_path: Path, bundle: Path, models: Models) -> Device:
    return Device(tmp_path, bundle, models)


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_values_in_the_settings(device: Device, cases: int) -> None:
    def check(keys: list[tuple[tuple[str, str], object]]) -> None:
        sections: dict[str, dict[str, object]] = {}
        for (section, key), value in keys:
            sections.setdefault(section, {})[key] = value
        text = "".join(
            f"[{as_toml(section)}]\n"
            + "".join(f"{as_toml(key)} = {as_toml(one)}\n" for key, one in values.items())
            for section, values in sections.items()
        )
        device.read(text.encode("utf-8", "replace"), {}, [])

    fuzz(cases, check, keys=SETTINGS)

    print(f"{cases} settings files of any values, {device.accepted} accepted and used")
    assert device.accepted > cases / 10


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_text_as_the_settings_file(device: Device, cases: int) -> None:
    packaged = PACKAGED.read_bytes()

    def check(edits: list[tuple[int, int, bytes]], noise: bytes | None) -> None:
        device.read(edited(packaged, edits) if noise is None else noise, {}, [])

    fuzz(cases, check, edits=EDITS, noise=st.none() | st.none() | st.none() | st.binary(max_size=300))

    print(f"{cases} settings files of any text, {device.accepted} accepted and used")
    assert device.accepted > cases / 10


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_values_from_environment_and_command_line(device: Device, cases: int) -> None:
    def check(
        variable: tuple[tuple[str, str], object], raw: str, option: tuple[tuple[str, str], object], wild: str
    ) -> None:
        (section, key), value = variable
        assignment = f"{'.'.join(option[0])}={as_toml(option[1])}"
        device.read(b"", {f"OAHEGA_{section}_{key}".upper(): raw or as_toml(value)}, [wild or assignment])

    anything = st.just("") | st.just("") | st.text(max_size=30)
    fuzz(
        cases,
        check,
        variable=likely_setting(),
        raw=anything,
        option=likely_setting() | st.tuples(st.sampled_from(KEYS) | WRONG_KEYS, VALUES),
        wild=anything,
    )

    print(f"{cases} environments and command lines, {device.accepted} accepted and used")
    assert device.accepted > cases / 20


# --- Manifests

EDITS = st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 12), st.binary(max_size=6)), max_size=4)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.integers()
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["detector.tflite", "boxes", "../x", "int8", "grey", "face", "0" * 64]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


def edited(content: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Some pieces of it replaced by others."""
    for at, length, piece in edits:
        begin = at % (len(content) + 1)
        content = content[:begin] + piece + content[begin + length :]
    return content


def places(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in a tree of JSON."""
    yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from places(one, (*path, key))
    elif isinstance(value, list):
        for index, one in enumerate(value[:2]):
            yield from places(one, (*path, index))


def with_changes(tree: Any, changes: list[tuple[tuple[Any, ...], str, Any]]) -> Any:
    """A copy in which values are replaced, taken away, or joined by unknown ones."""
    tree = copy.deepcopy(tree)
    for path, deed, value in changes:
        node = tree
        for step in path[:-1]:
            try:
                node = node[step]
            except (KeyError, IndexError, TypeError):
                break
        else:
            _change(node, path, deed, value)
    return tree


def nudged(value: Any, by: Any) -> Any:
    """Another value of the same kind."""
    step = by if isinstance(by, int | float) else 1
    match value:
        case bool() | None:
            return not value
        case int():
            return value + int(step) if abs(step) < 1e9 else value // 2
        case float():
            return value * float(step)
        case str():
            return value[:-1] + "0"
        case list():
            return value[:-1] if step % 2 else value + value[:1]
        case _:
            return value


def _change(node: Any, path: tuple[Any, ...], deed: str, value: Any) -> None:
    if not path or not isinstance(node, dict | list):
        return
    try:
        if deed == "nudge":
            node[path[-1]] = nudged(node[path[-1]], value)
        elif deed == "replace":
            node[path[-1]] = value
        elif deed == "remove":
            del node[path[-1]]
        elif isinstance(node, dict):
            node[str(value)[:8]] = value
    except (KeyError, IndexError, TypeError):
        return  # an earlier change took the place away


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_values_in_a_manifest(tmp_path: Path, cases: int) -> None:
    """Accepted is a manifest whose bundle works, from its files to the golden answer and a first frame."""
    folder = make_bundle(tmp_path / "tiny")
    manifest = json.loads((folder / "manifest.json").read_text())
    accepted = 0

    def check(changes: list[tuple[tuple[Any, ...], str, Any]]) -> None:
        nonlocal accepted
        (folder / "manifest.json").write_text(json.dumps(with_changes(manifest, changes)))
        seal(folder)
        try:
            setup = read_setup(
                read_layers(None, {}, [f"bundle.path={folder}", "deployment.context=development"])
            )
            with Engine(setup, Stopwatch()) as engine:
                accepted += 1
                engine.pipeline.process(FRAME)
        except (BundleError, SettingsError) as error:
            assert_plain(error)

    change = st.tuples(
        st.sampled_from(sorted(places(manifest), key=str)),
        st.sampled_from(["nudge", "nudge", "nudge", "replace", "remove", "add"]),
        JSON,
    )
    fuzz(cases, check, changes=st.lists(change, max_size=2))

    print(f"{cases} manifests of any values, {accepted} accepted and used")
    assert accepted > cases / 10


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_text_as_a_manifest(bundle: Path, cases: int) -> None:
    whole = (bundle / "manifest.json").read_bytes()
    accepted = 0

    def check(edits: list[tuple[int, int, bytes]], noise: bytes | None) -> None:
        nonlocal accepted
        try:
            parse_manifest(edited(whole, edits) if noise is None else noise, "manifest.json")
            accepted += 1
        except BundleError as error:
            assert_plain(error)

    fuzz(
        cases,
        check,
        edits=EDITS,
        noise=st.none() | st.none() | JSON.map(lambda j: json.dumps(j).encode()) | st.binary(),
    )

    print(f"{cases} manifests of any text, {accepted} accepted")


# --- Model files and commands


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_bytes_as_a_model_file(tmp_path: Path, cases: int) -> None:
    originals = [tiny(name).path.read_bytes() for name in NAMES]
    file = tmp_path / "model.tflite"
    refused = 0

    def check(original: bytes, edits: list[tuple[int, int, bytes]]) -> None:
        nonlocal refused
        content = edited(original, edits)
        try:
            parse_tflite(content)
        except ValueError:
            refused += 1
            file.write_bytes(content)
            with pytest.raises(BundleError) as caught:
                open_model(file, tiny(NAMES[0]).outputs, tiny(NAMES[0]).input)
            assert_plain(caught.value)

    fuzz(cases, check, original=st.sampled_from(originals) | st.binary(max_size=200), edits=EDITS)

    print(f"{cases} model files, {refused} refused")
    assert 0 < refused < cases


@pytest.mark.parametrize("cases", HOW_MANY)
def test_any_command(cases: int) -> None:
    """Nothing, a command within its limits, or one sentence for the sender."""
    topics = Topics("oahega/v1", "kiosk")
    counts = {"NoneType": 0, "Command": 0, "Refused": 0}

    def check(message: Incoming) -> None:
        read = read_command(message, topics)
        counts[type(read).__name__] += 1
        if isinstance(read, Refused):
            assert read.response.error
            assert len(read.response.error) <= LONGEST_SENTENCE
            assert len(read.response.error.splitlines()) == 1
            assert topics.may_answer_on(read.reply_to)
        if isinstance(read, Command):
            assert not message.retained
            assert set(read.settings) <= {"smoothing.frames", "trigger.threshold"}
            assert topics.may_answer_on(read.reply_to)

    payload = JSON.map(lambda value: json.dumps(value).encode()) | st.binary(max_size=60)
    payload |= st.fixed_dictionaries(
        {},
        optional={
            "smoothing.frames": JSON,
            "trigger.threshold": st.floats(0, 1) | JSON,
            "muted": st.booleans() | JSON,
            "transaction": st.text(max_size=80) | JSON,
        },
    ).map(lambda value: json.dumps(value).encode())
    names = st.sampled_from(["set", "mute", "unmute", "restart", "snapshot-state"]) | st.text(max_size=10)
    fuzz(
        cases,
        check,
        message=st.builds(
            Incoming,
            topic=names.map(lambda name: f"oahega/v1/kiosk/cmd/{name}"),
            payload=payload,
            retained=st.sampled_from([False, False, False, True]),
            reply_to=st.none() | st.none() | st.text(max_size=20) | st.just("oahega/v1/kiosk/response/x"),
            correlation=st.none() | st.binary(max_size=1200),
        ),
    )

    print(f"{cases} commands: {counts}")
    assert all(counts.values())

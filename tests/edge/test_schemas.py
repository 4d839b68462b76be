"""The committed contract: JSON Schemas equal the models, and real messages fit them."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator, ValidationError

from brokers import Ear, Heard, Mosquitto, wait_until
from edge.mqtt_samples import event, health, info, options, state
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.schema_files import FOLDER, files


@pytest.mark.parametrize("name", sorted(files()))
def test_the_committed_file_is_what_the_models_generate(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")

    assert committed == files()[name], "run python -m oahega_edge.schema_files"


def test_no_file_is_left_over() -> None:
    assert {path.name for path in FOLDER.iterdir()} == set(files())


@pytest.mark.parametrize("name", [name for name in files() if name.endswith(".schema.json")])
def test_each_schema_is_a_schema(name: str) -> None:
    schema = json.loads(files()[name])

    Draft202012Validator.check_schema(schema)
    assert schema["$id"].startswith("urn:oahega:")


def validator(kind: str) -> Draft202012Validator:
    schema = json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
    return Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)


@pytest.fixture
def heard(mosquitto: Mosquitto) -> Iterator[list[Heard]]:
    with Ear(mosquitto.port) as ear, MqttPublisher(options(mosquitto.port)) as publisher:
        publisher.info(info())
        publisher.state(state())
        publisher.health(health())
        publisher.publish(event())
        publisher.publish(event(phase="end", emotion="uncertain"))
        wait_until(lambda: len(ear.on("/event")) == 2 and ear.on("/health") and ear.on("/info"))
        yield ear.heard


@pytest.mark.broker
def test_what_a_real_broker_delivers_fits_its_schema(heard: list[Heard]) -> None:
    kinds = [each.topic.rsplit("/", 1)[1] for each in heard]
    for kind, message in zip(kinds, heard, strict=True):
        if kind == "availability":
            assert message.text in ("online", "offline")
        else:
            validator(kind).validate(json.loads(message.text))

    assert set(kinds) == {"availability", "info", "state", "health", "event"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("schema", "urn:oahega:event:2"),
        ("id", "1"),
        ("time", "2026-11-24 12:00"),
        ("phase", "maybe"),
        ("confidence", 1.5),
        ("box", [0, 0, 1]),
        ("box", [0, 0, 1, 2]),
        ("picture", "x"),
        ("seq", -1),
    ],
)
def test_the_event_schema_refuses(key: str, value: object) -> None:
    broken = {**json.loads(event().to_json()), key: value}

    with pytest.raises(ValidationError):
        validator("event").validate(broken)

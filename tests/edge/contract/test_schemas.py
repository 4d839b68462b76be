"""The committed contract: JSON Schemas equal the models, and real messages fit them."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator

import pytest
from jsonschema import Draft202012Validator, ValidationError

from brokers import Ear, Heard, Mosquitto
from edge.mqtt_samples import BASE, QUICK, event, health, info, options, showing, state, summary
from node_packages import node
from oahega_edge.contract.messages import COMMANDS
from oahega_edge.contract.schema_files import FOLDER, files
from oahega_edge.publishers.mqtt import MqttPublisher
from waiting import wait_until

OWN = {"info", "event", "summary", "state", "showing", "health"}
LAST = ("/summary", "/showing", "/health", "/config")


@pytest.mark.parametrize("name", sorted(files()))
def test_the_committed_file_is_what_the_models_generate(name: str) -> None:
    committed = (FOLDER / name).read_text(encoding="utf-8")

    assert committed == files()[name], "run python -m oahega_edge.contract.schema_files"


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
    """Everything that a device with all its features switched on sends."""
    everything = options(mosquitto.port, commands=True, discovery=True)
    with Ear(mosquitto.port) as ear, MqttPublisher(everything, pauses=QUICK) as publisher:
        publisher.info(info(commands=COMMANDS))
        publisher.state(state())
        publisher.showing(showing())
        publisher.health(health())
        publisher.publish(event())
        publisher.publish(event(phase="end", emotion="uncertain"))
        publisher.summary(summary())
        wait_until(lambda: len(ear.on("/event")) == 2 and all(map(ear.on, LAST)))
        for name in (*COMMANDS, "set"):
            ear.say(f"{BASE}/cmd/{name}", b'{"smoothing.frames": 3}' if name == "set" else b"{}")
        waiting = len(COMMANDS) + 1
        while waiting:
            for command in wait_until(publisher.commands):
                publisher.respond(command, command.done({"smoothing.frames": 3}))
                waiting -= 1
        ear.say(f"{BASE}/cmd/mute", b"nonsense")
        wait_until(lambda: ear.on("/response/mute")[1:] and ear.on("/response/restart"))
        publisher.__exit__(None, None, None)
        wait_until(lambda: ear.on("/availability")[-1].text == "offline")
        yield [each for each in ear.heard if "/cmd/" not in each.topic]


def pattern_of(address: str) -> re.Pattern[str]:
    names = {"root": "oahega/v1", "device": "kiosk-1", "discoveryPrefix": "homeassistant"}
    return re.compile(re.escape(address.format(**names)))


@pytest.mark.broker
def test_nothing_is_sent_that_the_contract_does_not_describe(heard: list[Heard]) -> None:
    """Topic, payload, QoS, retain and expiry of every message on a real broker against the document."""
    contract = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
    seen = set()
    for message in heard:
        (name,) = [
            name
            for name, each in contract["channels"].items()
            if pattern_of(each["address"]).fullmatch(message.topic)
        ]
        seen.add(name.split("-")[0])
        (kind,) = contract["channels"][name]["messages"]
        described = contract["components"]["messages"][kind]
        if described["contentType"] == "text/plain":
            assert message.text in described["payload"]["enum"]
        else:
            schema = {**described["payload"], "components": contract["components"]}
            Draft202012Validator(schema).validate(json.loads(message.text))
        assert message.properties["ContentType"] == described["contentType"]
        if name.startswith("response"):
            assert (message.qos, message.retain) == (1, False)
            continue
        binding = contract["operations"][f"send-{name}"]["bindings"]["mqtt"]
        assert (message.qos, message.retain) == (binding["qos"], binding["retain"])
        expiry = message.properties.get("MessageExpiryInterval")
        assert (expiry is None) == ("messageExpiryInterval" not in binding)
        assert expiry is None or expiry <= binding["messageExpiryInterval"]

    assert seen == {"availability", "discovery", "response", *OWN}


@pytest.mark.broker
def test_what_a_real_broker_delivers_fits_its_schema_file(heard: list[Heard]) -> None:
    checked = set()
    for message in heard:
        kind = message.topic.removeprefix(f"{BASE}/").split("/")[0]
        if kind in {*OWN, "response"}:
            validator(kind).validate(json.loads(message.text))
            checked.add(kind)

    assert checked == {*OWN, "response"}


@pytest.mark.broker
def test_every_event_carries_the_headers_that_the_contract_names(heard: list[Heard]) -> None:
    contract = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
    named = contract["components"]["messages"]["event"]["headers"]["properties"]

    for message in heard:
        if message.topic.endswith("/event"):
            assert [key for key, _ in message.properties["UserProperty"]] == list(named)


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    contract = json.loads(files()["asyncapi.json"])

    def references(node: object) -> Iterator[str]:
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "$ref":
                    yield value
                yield from references(value)
        elif isinstance(node, list):
            for each in node:
                yield from references(each)

    found = list(references(contract))
    for reference in found:
        target = contract
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]

    assert len(found) > 30


@pytest.mark.lengthy
def test_the_public_parser_accepts_the_asyncapi_document() -> None:
    program = (
        "const {Parser} = require('@asyncapi/parser');"
        "new Parser().parse(require('fs').readFileSync(0, 'utf8')).then(({document, diagnostics}) => {"
        "const errors = diagnostics.filter(({severity}) => severity === 0);"
        "console.log(JSON.stringify(errors)); process.exit(document && !errors.length ? 0 : 1)})"
    )
    command = [node("@asyncapi/parser"), "-e", program]

    done = subprocess.run(command, input=files()["asyncapi.json"], capture_output=True, text=True)

    assert done.returncode == 0, done.stdout + done.stderr


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

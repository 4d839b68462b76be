"""Every example of docs/subscribing.md is run, or checked against the contract where it cannot be."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from brokers import Ear, Mosquitto
from documents import SUBSCRIBING, blocks, chapter
from edge.mqtt_samples import BASE, QUICK, event, info, options, summary
from node_packages import node
from oahega_edge.contract.events import VisitSummary
from oahega_edge.contract.schema_files import FOLDER
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.secret import Hidden
from waiting import PATIENCE, wait_until


def examples(section: str, language: str) -> list[str]:
    return blocks(SUBSCRIBING, section, language)


def at(text: str, port: int) -> str:
    return text.replace("1883", str(port)).replace("localhost", "127.0.0.1")


@pytest.fixture
def publisher(mosquitto: Mosquitto) -> Iterator[MqttPublisher]:
    with MqttPublisher(options(mosquitto.port, commands=True), pauses=QUICK) as opened:
        wait_until(lambda: opened.connected)
        yield opened


def first_line(command: list[str], publisher: MqttPublisher, tmp_path: Path) -> str:
    """What the program says of an event; published until it has subscribed."""
    with (tmp_path / "said").open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT)

        def has_said_a_line() -> bool:
            assert process.poll() is None, (tmp_path / "said").read_text()
            publisher.publish(event())
            return "\n" in (tmp_path / "said").read_text()

        try:
            wait_until(has_said_a_line)
        finally:
            process.terminate()
            process.wait(PATIENCE)
    return (tmp_path / "said").read_text().splitlines()[0]


def test_the_page_shows_an_event_and_an_answer_that_fit_their_schemas() -> None:
    shown = [text for part in ("The event", "The summary", "Commands") for text in examples(part, "json")]

    for text, kind in zip(shown, ("event", "summary", "response"), strict=True):
        schema = json.loads((FOLDER / f"{kind}.schema.json").read_text(encoding="utf-8"))
        Draft202012Validator(schema).validate(json.loads(text))


def test_the_page_names_every_topic_with_its_qos_and_expiry() -> None:
    contract = json.loads((FOLDER / "asyncapi.json").read_text(encoding="utf-8"))
    rows = dict(
        re.findall(
            r"^\| `(\w+)` \| ([01] \| \S+ \|(?: \d+ s)?)", chapter(SUBSCRIBING, "Topics"), re.MULTILINE
        )
    )
    for name in ("availability", "info", "event", "state", "health"):
        binding = contract["operations"][f"send-{name}"]["bindings"]["mqtt"]
        expiry = binding.get("messageExpiryInterval")
        retain = "yes" if binding["retain"] else "**no**"
        expected = f"{binding['qos']} | {retain} |" + ("" if expiry is None else f" {expiry} s")

        assert rows[name] == expected


@pytest.mark.broker
def test_mosquitto_sub(publisher: MqttPublisher, mosquitto: Mosquitto, tmp_path: Path) -> None:
    if shutil.which("mosquitto_sub") is None:
        pytest.skip("no mosquitto_sub on this machine")
    (command,) = examples("Shell", "sh")

    line = first_line(["bash", "-c", "exec " + at(command, mosquitto.port)], publisher, tmp_path)

    assert json.loads(line)["emotion"] == "happy"


@pytest.mark.broker
def test_python(publisher: MqttPublisher, mosquitto: Mosquitto, tmp_path: Path) -> None:
    (program,) = examples("Python", "python")

    line = first_line([sys.executable, "-c", at(program, mosquitto.port)], publisher, tmp_path)

    assert line == "kiosk-1 t1 update happy"


@pytest.mark.broker
def test_node(publisher: MqttPublisher, mosquitto: Mosquitto, tmp_path: Path) -> None:
    (program,) = examples("Node", "js")

    line = first_line([node("mqtt"), "-e", at(program, mosquitto.port)], publisher, tmp_path)

    assert line == "kiosk-1 t1 update happy"


def test_home_assistants_automation_reads_what_is_published() -> None:
    (automation,) = examples("Home Assistant", "yaml")
    published = json.loads(event().to_json())

    assert f"topic: {BASE}/event" in automation
    fields = re.findall(r"payload_json\.(\w+)", automation)
    assert fields == ["emotion", "confidence", "changed", "delayed"]
    assert set(fields) <= set(published)


def test_node_reds_flow_is_wired() -> None:
    (text,) = examples("Node-RED", "json")
    flow: dict[str, dict[str, Any]] = {node["id"]: node for node in json.loads(text)}

    assert flow["oahega-in"]["topic"] == "oahega/v1/+/event"
    assert flow[flow["oahega-in"]["broker"]]["type"] == "mqtt-broker"
    for each in flow.values():
        assert all(target in flow for output in each.get("wires", []) for target in output)


def test_node_reds_function_lets_fresh_events_through() -> None:
    (text,) = examples("Node-RED", "json")
    (function,) = [each["func"] for each in json.loads(text) if each["type"] == "function"]
    fresh, late = event().to_json(), event().waited(9000).to_json()
    program = (
        f"const f = new Function('msg', {json.dumps(function)});"
        f"console.log(JSON.stringify([f({{payload: {fresh}}}), f({{payload: {late}}})]))"
    )

    done = subprocess.run([node(), "-e", program], capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [{"payload": "happy", "topic": "kiosk-1"}, None]


def test_telegrafs_paths_exist_in_the_event() -> None:
    events, summaries, output = map(tomllib.loads, examples("Telegraf", "toml"))
    consumer = events["inputs"]["mqtt_consumer"][0]
    parser = consumer["json_v2"][0]
    named = [parser["timestamp_path"], *(each["path"] for each in [*parser["tag"], *parser["field"]])]
    of_visits = {f"visit.{name}" for name in VisitSummary.model_fields}

    assert consumer["topics"] == ["oahega/v1/+/event"]
    assert set(named) <= set(json.loads(event().to_json())) | of_visits
    assert {each["path"] for each in parser["field"] if each.get("optional")} == set(named) & of_visits
    assert list(output["outputs"]) == ["elasticsearch"]

    consumer = summaries["inputs"]["mqtt_consumer"][0]
    (picked,) = consumer["json_v2"][0]["object"]
    assert consumer["topics"] == ["oahega/v1/+/summary"]
    assert {*picked["tags"], *picked["excluded_keys"]} <= set(json.loads(summary().to_json()))


@pytest.mark.broker
def test_mosquitto_rr_gets_its_answer(publisher: MqttPublisher, mosquitto: Mosquitto) -> None:
    if shutil.which("mosquitto_rr") is None:
        pytest.skip("no mosquitto_rr on this machine")
    (command,) = examples("Commands", "sh")
    asking = subprocess.Popen(["bash", "-c", "exec " + at(command, mosquitto.port)], stdout=subprocess.PIPE)
    (received,) = wait_until(publisher.commands)

    publisher.respond(received, received.done({"smoothing.frames": 12, "trigger.threshold": 0.6}))

    answer, _ = asking.communicate(timeout=PATIENCE)
    assert json.loads(answer) == json.loads(examples("Commands", "json")[0])


@pytest.mark.broker
def test_the_access_rules_let_a_device_work_and_keep_it_to_its_own(tmp_path: Path) -> None:
    (rules,) = examples("The broker", "acl")
    (tmp_path / "access").write_text(rules)
    passwords = tmp_path / "passwords"
    for number, user in enumerate(("kiosk-1", "panel")):
        create = ["-c"] if number == 0 else []
        subprocess.run(["mosquitto_passwd", *create, "-b", passwords, user, "secret"], check=True)
    extra = f"allow_anonymous false\npassword_file {passwords}\nacl_file {tmp_path / 'access'}"
    mine = {"username": "kiosk-1", "password": Hidden("secret"), "commands": True, "discovery": True}
    with (
        Mosquitto(tmp_path, extra=extra) as broker,
        Ear(broker.port, login=("panel", "secret")) as ear,
        MqttPublisher(options(broker.port, **mine), pauses=QUICK) as publisher,
        MqttPublisher(options(broker.port, **{**mine, "device": "kiosk-2", "client_id": "b"})) as intruder,
    ):
        publisher.info(info())
        publisher.publish(event())
        intruder.publish(event())
        wait_until(lambda: publisher.statistics().published == 1)
        wait_until(lambda: intruder.statistics().dropped == 1)
        ear.say(f"{BASE}/cmd/mute")

        assert wait_until(publisher.commands)
        assert {each.topic.split("/")[2] for each in ear.heard} == {"kiosk-1"}

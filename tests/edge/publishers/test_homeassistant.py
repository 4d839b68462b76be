"""Home Assistant's discovery: one retained message with entities that exist on the wire."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from typing import Any

import jinja2
import pytest

from brokers import Ear, Mosquitto
from edge.mqtt_samples import BASE, QUICK, event, health, info, options, state, summary
from oahega_edge.contract.messages import COMMANDS, SetCommand
from oahega_edge.contract.topics import Topics
from oahega_edge.publishers.homeassistant import discovery
from oahega_edge.publishers.mqtt import WELCOME_S, MqttPublisher
from oahega_edge.visits.summary import Tally
from waiting import wait_until

BASE_EVENT = f"{BASE}/event"
CONFIG = "homeassistant/device/kiosk-1/config"


def described(**changes: object) -> dict[str, Any]:
    topics = Topics("oahega/v1", "kiosk-1")
    content: dict[str, Any] = json.loads(discovery(info(**changes), topics, 60, 180).to_json())
    return content


def test_home_assistant_gets_what_it_demands() -> None:
    """origin.name and the device's identifiers are mandatory; each entity needs platform and unique_id."""
    config = described(commands=COMMANDS)

    assert config["origin"]["name"] == "oahega-edge"
    assert config["device"]["identifiers"] == ["oahega-kiosk-1"]
    entities = [each for each in config["components"].values() if each["platform"] != "device_automation"]
    assert all({"platform", "unique_id", "name"} <= set(each) for each in entities)
    ids = [each["unique_id"] for each in entities]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]+", each) for each in [*ids, *config["components"]])
    assert "null" not in json.dumps(config)


def test_the_papers_two_settings_are_numbers_and_mute_is_a_switch() -> None:
    entities = described(commands=COMMANDS)["components"]

    assert entities["frames"]["platform"] == "number"
    assert entities["threshold"]["platform"] == "number"
    assert entities["mute"]["platform"] == "switch"
    assert (entities["threshold"]["min"], entities["threshold"]["max"]) == (0, 1)


def test_what_the_numbers_send_is_what_set_takes() -> None:
    entities = described(commands=COMMANDS)["components"]
    frames = entities["frames"]["command_template"].replace("{{ value | int }}", "12")
    threshold = entities["threshold"]["command_template"].replace("{{ value }}", "0.75")

    assert SetCommand.model_validate_json(frames).settings() == {"smoothing.frames": 12}
    assert SetCommand.model_validate_json(threshold).settings() == {"trigger.threshold": 0.75}


def test_without_commands_their_entities_are_taken_away() -> None:
    entities = described()["components"]

    assert entities["frames"] == {"platform": "number"}
    assert entities["mute"] == {"platform": "switch"}
    assert entities["expression"]["name"] == "Expression"


def test_the_options_are_the_labels_and_what_stands_for_none_of_them() -> None:
    entities = described(labels=("happy", "sad"))["components"]

    assert entities["expression"]["options"] == ["happy", "sad", "uncertain", "none"]
    assert entities["decision"]["event_types"] == ["happy", "sad", "uncertain"]


def news(**changes: object) -> dict[str, str]:
    """What each template that follows events makes of one."""
    entities = described(labels=("happy", "sad"))["components"]
    content = json.loads(event().to_json()) | changes
    templates = {key: each["value_template"] for key, each in entities.items() if BASE_EVENT in str(each)}
    return {key: jinja2.Template(text).render(value_json=content) for key, text in templates.items()}


def test_a_decision_fires_the_event_and_the_trigger_of_its_expression() -> None:
    fired = news(emotion="happy", phase="new", changed=True)
    triggers = described(labels=("happy", "sad"))["components"]

    assert json.loads(fired["decision"])["event_type"] == "happy"
    assert (triggers["shows_0"]["subtype"], triggers["shows_1"]["subtype"]) == ("happy", "sad")
    assert [fired[key] == triggers[key]["payload"] for key in ("shows_0", "shows_1")] == [True, False]


@pytest.mark.parametrize(
    "changes",
    [{"changed": False, "phase": "update"}, {"changed": False, "phase": "end"}, {"delayed": True}],
    ids=["heartbeat", "end", "delayed"],
)
def test_what_is_no_news_fires_nothing(changes: dict[str, object]) -> None:
    assert set(news(**changes).values()) == {""}


def test_whether_the_device_is_connected_can_be_read_while_it_is_not() -> None:
    connected = described()["components"]["connected"]

    assert (connected["payload_on"], connected["payload_off"]) == ("online", "offline")
    assert [each["value_template"] for each in connected["availability"]] == ["online"]


def test_confidence_is_a_percentage() -> None:
    confidence = described()["components"]["confidence"]

    shown = jinja2.Template(confidence["value_template"]).render(value_json={"confidence": 0.834})

    assert (shown, confidence["unit_of_measurement"]) == ("83.0", "%")


def fields_of(template: str) -> list[list[str]]:
    """The paths below value_json that a template reads."""
    paths = re.findall(r"value_json((?:\.\w+|\['[\w.]+'\])+)", template)
    return [re.findall(r"\.(\w+)|\['([\w.]+)'\]", path) for path in paths]  # type: ignore[return-value]


def test_every_template_reads_a_field_that_is_published() -> None:
    published = {
        f"{BASE}/state": json.loads(state().to_json()),
        f"{BASE}/health": json.loads(health().to_json()),
        f"{BASE}/info": json.loads(info().to_json()),
        f"{BASE}/event": json.loads(event().to_json()),
        f"{BASE}/summary": json.loads(summary().to_json()),
    }
    read = 0
    for entity in described(commands=COMMANDS)["components"].values():
        for path in fields_of(entity.get("value_template", "")):
            value = published[entity.get("state_topic") or entity["topic"]]
            for dotted, quoted in path:
                value = value[dotted or quoted]
            read += 1

    assert read >= 12


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    with Ear(mosquitto.port) as subscriber:
        yield subscriber


@pytest.mark.broker
def test_the_description_is_retained_and_follows_a_change_of_the_info(mosquitto: Mosquitto, ear: Ear) -> None:
    publisher = MqttPublisher(options(mosquitto.port, discovery=True))
    publisher.info(info())
    with publisher:
        wait_until(lambda: ear.on("/config"))
        publisher.info(info(volatile=("smoothing.frames",)))
        publisher.info(info(labels=("happy", "ahegao")))
        wait_until(lambda: len(ear.on("/config")) == 2 and len(ear.on("/info")) == 3)

    first, second = ear.on("/config")
    assert (first.topic, first.retain, first.qos) == (CONFIG, True, 1)
    assert json.loads(second.text)["components"]["expression"]["options"][1] == "ahegao"


@pytest.mark.broker
def test_everything_is_said_again_when_home_assistant_starts(mosquitto: Mosquitto, ear: Ear) -> None:
    pauses = iter([0.05])
    with MqttPublisher(
        options(mosquitto.port, discovery=True), pauses=QUICK, birth_pause=lambda: next(pauses)
    ) as publisher:
        publisher.info(info())
        publisher.state(state())
        wait_until(lambda: publisher.connected and ear.on("/state") and ear.on("/config"))
        ear.heard.clear()

        ear.say("homeassistant/status", b"offline")
        ear.say("homeassistant/status", b"online")

        wait_until(
            lambda: ear.on("/config") and ear.on("/availability") and ear.on("/info") and ear.on("/state")
        )
    assert ear.on("/availability")[0].text == "online"


@pytest.mark.broker
def test_a_flood_of_births_gets_few_answers_and_one_thread(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(
        options(mosquitto.port, discovery=True), pauses=QUICK, birth_pause=lambda: 1.0
    ) as publisher:
        publisher.info(info())
        wait_until(lambda: publisher.connected and ear.on("/config"))
        ear.heard.clear()
        before = threading.active_count()

        started = time.monotonic()
        for _ in range(300):
            ear.say("homeassistant/status", b"online")
            assert threading.active_count() <= before + 1
        wait_until(lambda: ear.on("/config"))
        wait_until(lambda: threading.active_count() <= before)
        seconds = time.monotonic() - started

    assert len(ear.on("/config")) <= 2 + seconds / WELCOME_S


@pytest.mark.broker
def test_without_discovery_nothing_is_said_to_home_assistant(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(options(mosquitto.port)) as publisher:
        publisher.info(info())
        wait_until(lambda: ear.on("/info"))

    assert [each for each in ear.heard if each.topic.startswith("homeassistant")] == []


def test_visits_and_smiles_of_a_day_are_read_from_the_summary() -> None:
    entities = described(labels=("happy", "sad"))["components"]
    told = json.loads(summary().to_json())

    read = {
        key: jinja2.Template(entities[key]["value_template"]).render(value_json=told)
        for key in ("visits_today", "smiles_today")
    }

    assert read == {"visits_today": "40", "smiles_today": "20"}
    assert {entities[key]["state_topic"] for key in read} == {f"{BASE}/summary"}


def test_a_day_without_a_smile_reads_as_none_at_all() -> None:
    template = described(labels=("happy", "sad"))["components"]["smiles_today"]["value_template"]
    sober = json.loads(summary(today=Tally(3, {"sad": 1})).to_json())

    assert jinja2.Template(template).render(value_json=sober) == "0"


@pytest.mark.parametrize(
    ("labels", "interval_s", "there"),
    [
        (("happy", "sad"), 300.0, {"visits_today", "smiles_today"}),
        (("sad", "calm"), 300.0, {"visits_today"}),
        (("happy", "sad"), 0.0, set()),
    ],
)
def test_only_what_will_be_told_is_announced(
    labels: tuple[str, ...], interval_s: float, there: set[str]
) -> None:
    entities = described(labels=labels, settings={"summary": {"interval_s": interval_s}})["components"]

    assert {key for key in entities if key.endswith("_today") and "name" in entities[key]} == there

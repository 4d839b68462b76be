"""The MQTT publisher against real brokers."""

from __future__ import annotations

import contextlib
import json
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

from brokers import Ear, Gate, Mosquitto, free_port
from edge.mqtt_samples import BASE, QUICK, event, events, health, info, options, stamp, state
from edge.stored import Clock
from oahega_edge.contract.events import Event
from oahega_edge.errors import SettingsError
from oahega_edge.publishers.connection import Connection
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.store import StoreOptions
from oahega_edge.publishers.wire import Outgoing, Session
from oahega_edge.secret import Hidden
from oahega_edge.tools.broker import EmbeddedBroker
from processes import environment
from waiting import PATIENCE, await_end, beside, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    with Ear(mosquitto.port) as subscriber:
        yield subscriber


def test_a_connected_device_says_who_it_is_before_anything_else(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(options(mosquitto.port), pauses=QUICK) as publisher:
        publisher.info(info())
        publisher.state(state())
        publisher.publish(event())
        wait_until(lambda: ear.on("/event"))

        topics = [each.topic.removeprefix(f"{BASE}/") for each in ear.heard]

    assert topics[0] == "availability"
    assert topics.index("info") < topics.index("event")
    assert topics.index("state") < topics.index("event")


def test_each_message_goes_as_the_contract_says(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(options(mosquitto.port, event_expiry_s=3000, state_expiry_s=600)) as publisher:
        wait_until(lambda: publisher.connected)
        publisher.info(info())
        publisher.state(state())
        publisher.health(health())
        publisher.publish(event())
        for kind in ("event", "health", "info", "state", "availability"):
            wait_until(lambda kind=kind: ear.on(f"/{kind}"))

    found = {each.topic.rsplit("/", 1)[1]: each for each in ear.heard}
    assert {kind: (each.qos, each.retain) for kind, each in found.items()} == {
        "availability": (1, True),
        "info": (1, True),
        "state": (1, True),
        "health": (0, True),
        "event": (1, False),
    }
    # The broker takes off what it held a message for.
    assert 3000 - PATIENCE <= found["event"].properties["MessageExpiryInterval"] <= 3000
    assert 600 - PATIENCE <= found["state"].properties["MessageExpiryInterval"] <= 600
    assert "MessageExpiryInterval" not in found["info"].properties
    assert found["event"].properties["ContentType"] == "application/json"


def test_an_event_carries_its_cloudevents_attributes(mosquitto: Mosquitto, ear: Ear) -> None:
    sent = event()

    with MqttPublisher(options(mosquitto.port)) as publisher:
        publisher.publish(sent)
        heard = wait_until(lambda: ear.on("/event"))[0]

    attributes = dict(heard.properties["UserProperty"])
    assert attributes == {
        "specversion": "1.0",
        "id": sent.id,
        "source": "urn:oahega:device:kiosk-1",
        "type": "oahega.expression.update",
        "time": "2026-11-24T12:00:00.123Z",
        "subject": "t1",
        "dataschema": "urn:oahega:event:1",
    }


def test_a_clean_stop_says_offline_itself(mosquitto: Mosquitto, ear: Ear) -> None:
    with MqttPublisher(options(mosquitto.port, will_delay_s=60, session_expiry_s=60)):
        wait_until(lambda: ear.on("/availability"))

    assert [each.text for each in wait_until(lambda: ear.on("/availability")[1:])] == ["offline"]


class Introducing:
    """A receiver that takes its time to say that it is there."""

    def __init__(self) -> None:
        self.came_up, self.go_on = threading.Event(), threading.Event()
        self.connection: Connection | None = None

    def subscribed(self, refused: object) -> None: ...

    def up(self, protocol: object, note: object) -> None:
        self.came_up.set()
        self.go_on.wait(PATIENCE)
        assert self.connection is not None
        self.connection.publish(Outgoing(topic=f"{BASE}/availability", payload="online"))

    def down(self) -> None: ...

    def acknowledged(self, token: object, refusal: object) -> None: ...

    def received(self, message: object) -> None: ...


def test_a_stop_while_the_connection_comes_up_has_the_last_word(mosquitto: Mosquitto, ear: Ear) -> None:
    """Else a device that has gone would stay online: after an orderly end the will is not sent."""
    receiver = Introducing()
    receiver.connection = Connection(options(mosquitto.port), Session(), receiver, (), QUICK)
    receiver.connection.start()
    receiver.came_up.wait(PATIENCE)

    goodbye = Outgoing(topic=f"{BASE}/availability", payload="offline")
    stopping = beside(lambda: receiver.connection.stop(goodbye, PATIENCE))
    stopping.join(0.2)
    receiver.go_on.set()
    await_end(stopping)

    wait_until(lambda: len(ear.on("/availability")) == 2)
    assert [each.text for each in ear.on("/availability")] == ["online", "offline"]


def test_everything_published_before_a_stop_arrives(mosquitto: Mosquitto, ear: Ear) -> None:
    sent = events(100)

    with MqttPublisher(options(mosquitto.port), clock=Clock(), farewell_s=PATIENCE) as publisher:
        wait_until(lambda: ear.on("/availability"))  # from here on an event is fresh
        for each in sent:
            publisher.publish(each)

    wait_until(lambda: ear.on("/availability")[1:])
    assert [Event.model_validate_json(each.text) for each in ear.on("/event")] == sent


CRASHING = """
import sys, time, os, signal
from edge.mqtt_samples import options, info
from oahega_edge.publishers.mqtt import MqttPublisher

with MqttPublisher(options(int(sys.argv[1]))) as publisher:
    publisher.info(info())
    time.sleep(600)
"""


def test_the_broker_says_offline_for_a_device_that_was_killed(mosquitto: Mosquitto, ear: Ear) -> None:
    command = [sys.executable, "-c", CRASHING, str(mosquitto.port)]
    with subprocess.Popen(command, env=environment()) as process:
        try:
            wait_until(lambda: ear.on("/availability"))
        finally:
            process.kill()

    assert wait_until(lambda: ear.on("/availability")[-1].text == "offline")
    assert ear.on("/availability")[-1].retain


def test_a_broker_that_is_not_there_holds_nothing_up(caplog: pytest.LogCaptureFixture) -> None:
    port = free_port()

    with MqttPublisher(options(port), pauses=QUICK) as publisher:
        for each in events(50):
            publisher.publish(each)
        publisher.state(state())
        wait_until(lambda: publisher.statistics().queued == 50)
        wait_until(lambda: publisher.statistics().problem)

    assert not publisher.connected
    warnings = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert len(warnings) == 1
    assert f"the broker at 127.0.0.1:{port} cannot be reached" in warnings[0]


def test_events_made_while_the_broker_is_away_come_in_order_and_marked(
    mosquitto: Mosquitto, ear: Ear
) -> None:
    sent, clock = events(60), Clock()
    with (
        Gate(mosquitto.port) as gate,
        MqttPublisher(options(gate.port), clock=clock, pauses=QUICK) as publisher,
    ):
        for each in sent:
            publisher.publish(each)
        wait_until(lambda: publisher.statistics().queued == 60)

        clock.pass_by(1)
        gate.open()

        wait_until(lambda: len(ear.on("/event")) == 60)
        publisher.publish(event())
        live = wait_until(lambda: ear.on("/event")[60:])[0]
        heard = [Event.model_validate_json(each.text) for each in ear.on("/event")[:60]]

    assert [each.id for each in heard] == [each.id for each in sent]
    assert all(each.delayed and each.age_ms > 0 for each in heard)
    assert not json.loads(live.text)["delayed"]


def test_after_a_broker_restart_everything_is_said_again(mosquitto: Mosquitto) -> None:
    with MqttPublisher(options(mosquitto.port), pauses=QUICK) as publisher:
        publisher.info(info())
        publisher.state(state())
        wait_until(lambda: publisher.connected)

        mosquitto.restart()

        with Ear(mosquitto.port) as ear:
            wait_until(lambda: ear.on("/availability") and ear.on("/info") and ear.on("/state"))
            wait_until(lambda: ear.on("/availability")[-1].text == "online")


def test_a_refused_connection_is_not_connected(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        Mosquitto(tmp_path, extra="allow_anonymous false") as broker,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        wait_until(lambda: publisher.statistics().problem)

        assert not publisher.connected
        assert publisher.statistics().connects == 0
        assert "refused the connection: Not authorized" in str(publisher.statistics().problem)


def test_username_and_password_let_in(tmp_path: Path) -> None:
    passwords = tmp_path / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", passwords, "kiosk", "secret"], check=True)

    with (
        Mosquitto(tmp_path, extra=f"allow_anonymous false\npassword_file {passwords}") as broker,
        MqttPublisher(options(broker.port, username="kiosk", password=Hidden("secret"))) as publisher,
    ):
        assert wait_until(lambda: publisher.connected)


def test_a_password_without_a_user_is_refused() -> None:
    with pytest.raises(SettingsError, match="username is empty"):
        MqttPublisher(options(1883, password=Hidden("secret")))


@pytest.fixture
def amqtt() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


def test_a_broker_without_mqtt5_is_served_with_3_1_1(
    amqtt: EmbeddedBroker, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with Ear(amqtt.port, protocol=paho.MQTTv311) as ear:
        with MqttPublisher(options(amqtt.port), pauses=QUICK) as publisher:
            publisher.info(info())
            publisher.state(state())
            publisher.publish(event())
            wait_until(lambda: ear.on("/event"))
            assert publisher.statistics().protocol == "3.1.1"

        wait_until(lambda: [each.text for each in ear.on("/availability")] == ["online", "offline"])
        said = json.loads(ear.on("/info")[0].text)["mqtt"]

    assert said["protocol"] == "3.1.1"
    assert "refuses MQTT 5" in said["note"]
    assert len([each for each in caplog.messages if "refuses MQTT 5" in each]) == 1


def test_a_retained_state_is_found_by_who_comes_later(amqtt: EmbeddedBroker) -> None:
    with MqttPublisher(options(amqtt.port), pauses=QUICK) as publisher:
        publisher.state(state())
        wait_until(lambda: publisher.connected)

        with Ear(amqtt.port, protocol=paho.MQTTv311) as ear:
            assert json.loads(wait_until(lambda: ear.on("/state"))[0].text)["emotion"] == "happy"


def test_the_state_of_long_ago_is_not_said_on_connect(mosquitto: Mosquitto, ear: Ear) -> None:
    with (
        Gate(mosquitto.port) as gate,
        MqttPublisher(options(gate.port, state_expiry_s=0), pauses=QUICK) as publisher,
    ):
        publisher.state(state())
        publisher.publish(event())

        gate.open()

        wait_until(lambda: ear.on("/event"))
        assert ear.on("/state") == []


def test_policy_none_drops_what_cannot_be_sent_at_once(mosquitto: Mosquitto, ear: Ear) -> None:
    late = event(stamp(boot_id="boot-2"))
    with (
        Gate(mosquitto.port) as gate,
        MqttPublisher(options(gate.port), StoreOptions(policy="none"), pauses=QUICK) as publisher,
    ):
        for each in events(5):
            publisher.publish(each)
        wait_until(lambda: publisher.statistics().dropped == 5)

        gate.open()

        wait_until(lambda: ear.on("/availability"))
        publisher.publish(late)
        heard = wait_until(lambda: ear.on("/event"))
    assert [json.loads(each.text)["id"] for each in heard] == [late.id]


class BadLine(Gate):
    """A line that can take a CONNECT and hang up, as a router does that has lost its way."""

    hangs_up = False

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self.levels: list[int] = []
        """Protocol level of every CONNECT that was hung up on: 4 is MQTT 3.1.1."""

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if self.hangs_up:
                    self.levels += [data[data.index(b"MQTT") + 4]] if b"MQTT" in data else []
                    break
                sink.sendall(data)
        self._shut(source)
        self._shut(sink)


@pytest.mark.broker
def test_a_bad_line_to_a_broker_of_mqtt_5_is_no_reason_for_another_version(mosquitto: Mosquitto) -> None:
    with (
        BadLine(mosquitto.port) as line,
        MqttPublisher(options(line.port), pauses=QUICK) as publisher,
    ):
        line.open()
        assert wait_until(lambda: publisher.connected)

        line.hangs_up = True
        line.close()
        line.open()
        assert wait_until(lambda: len(line.levels) >= 4)
        line.hangs_up = False

        assert wait_until(lambda: publisher.connected)
        assert publisher.statistics().protocol == "5"
        assert set(line.levels) == {5}

"""What a broker refuses or does not take: it is kept to, and said where people look."""

from __future__ import annotations

import json
import socket
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from brokers import HOST, Ear, Mosquitto
from edge.mqtt_samples import BASE, DEVICE, QUICK, event, events, health, info, options, state
from oahega_edge.contract.messages import COMMANDS, Info
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.publishers.connection import Connection, ReconnectPauses
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.wire import Limits, Outgoing, Session
from oahega_edge.tools.listen import Listener
from waiting import wait_until

pytestmark = pytest.mark.broker

COMMANDED = info().model_copy(update={"commands": COMMANDS})


def broker_that_keeps(folder: Path, rules: str) -> Mosquitto:
    """Grants every subscription, and keeps what the client may not read."""
    access = folder / "access"
    access.write_text(f"{rules}\nuser dashboard\ntopic readwrite #\n")
    access.chmod(0o600)
    return Mosquitto(folder, f"allow_anonymous true\nacl_file {access}")


def broker_that_refuses(folder: Path, *filters: str) -> Mosquitto:
    """Answers these subscriptions with a failure."""
    plugin = next(Path("/usr/lib").rglob("mosquitto_dynamic_security.so"), None)
    if plugin is None:
        pytest.skip("mosquitto has no plugin for access rules here")
    refused = [{"acltype": "subscribeLiteral", "topic": each, "allow": False} for each in filters]
    kinds = ("publishClientSend", "publishClientReceive", "subscribe", "unsubscribe")
    rules = {
        "defaultACLAccess": dict.fromkeys(kinds, True),
        "clients": [],
        "roles": [{"rolename": "all", "acls": refused}],
        "groups": [{"groupname": "all", "roles": [{"rolename": "all"}], "clients": []}],
        "anonymousGroup": "all",
    }
    file = folder / "rules.json"
    file.write_text(json.dumps(rules))
    return Mosquitto(folder, f"allow_anonymous true\nplugin {plugin}\nplugin_opt_config_file {file}")


def device(port: int) -> MqttPublisher:
    return MqttPublisher(options(port, commands=True, discovery=True), pauses=QUICK)


def test_commands_that_can_never_arrive_are_not_announced(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        broker_that_refuses(tmp_path, f"{BASE}/cmd/+") as broker,
        Ear(broker.port) as ear,
        device(broker.port) as publisher,
    ):
        publisher.info(COMMANDED)
        publisher.publish(event())
        wait_until(lambda: ear.on("/event"))
        said = publisher.statistics().problem

        infos = [Info.model_validate_json(each.text) for each in ear.on("/info")]
        discovered = ear.on("/config")[-1].text

    assert {each.commands for each in infos} == {()}
    assert f"{BASE}/cmd/" not in discovered
    assert said is not None
    assert f"refuses to let this device read {BASE}/cmd/+" in said
    assert "no command can arrive" in said
    assert len([each for each in caplog.messages if "/cmd/+" in each]) == 1


@pytest.mark.parametrize(
    ("topic", "consequence"),
    [
        (f"{BASE}/info", "another device of the same name goes unnoticed"),
        ("homeassistant/status", "a restart of Home Assistant goes unnoticed"),
    ],
)
def test_each_refused_subscription_says_what_does_not_work(
    tmp_path: Path, topic: str, consequence: str
) -> None:
    with (
        broker_that_refuses(tmp_path, topic) as broker,
        Ear(broker.port) as ear,
        device(broker.port) as publisher,
    ):
        publisher.info(COMMANDED)
        said = wait_until(lambda: publisher.statistics().problem)
        wait_until(lambda: ear.on("/info") and '"mute"' in ear.on("/info")[-1].text)

    assert consequence in said


def test_commands_that_the_broker_keeps_are_withdrawn_until_it_gives_them(tmp_path: Path) -> None:
    broker = broker_that_keeps(tmp_path, f"topic write {BASE}/#\ntopic write homeassistant/#")
    with (
        broker,
        Ear(broker.port, login=("dashboard", "")) as ear,
        device(broker.port) as publisher,
    ):
        publisher.info(COMMANDED)
        said = wait_until(lambda: publisher.statistics().problem)
        wait_until(lambda: ear.on("/info") and '"commands":[]' in ear.on("/info")[-1].text)
        assert "no command can arrive" in said
        (tmp_path / "access").write_text("topic readwrite #\nuser dashboard\ntopic readwrite #\n")
        broker.restart()

        wait_until(lambda: ear.on("/info") and '"mute"' in ear.on("/info")[-1].text)
        wait_until(lambda: publisher.statistics().problem is None)


def test_a_subscriber_is_told_what_it_may_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with broker_that_refuses(tmp_path, "oahega/v1/+/event") as broker:
        options_ = BrokerOptions(host=HOST, port=broker.port, client_id="listener")
        with Listener(options_, pauses=QUICK) as listener:
            wait_until(lambda: listener.connected)

    assert any("refuses to let us read oahega/v1/+/event" in each for each in caplog.messages)


@pytest.mark.parametrize("bytes_taken", [1200, 1900])
def test_what_is_larger_than_the_broker_takes_is_left_out_and_the_rest_goes(
    tmp_path: Path, bytes_taken: int, caplog: pytest.LogCaptureFixture
) -> None:
    extra = f"allow_anonymous true\nmax_packet_size {bytes_taken}"
    large = info().model_copy(update={"settings": {"filling": "x" * 3000}})
    with (
        Mosquitto(tmp_path, extra) as broker,
        Ear(broker.port) as ear,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        publisher.info(large)
        for each in events(20):
            publisher.publish(each)
        wait_until(lambda: len(ear.on("/event")) == 20)
        statistics = publisher.statistics()

    assert statistics.connects == 1
    assert statistics.problem == f"{BASE}/info is left out: the broker takes at most {bytes_taken} bytes"
    assert not ear.on("/info")
    assert len([each for each in caplog.messages if "left out" in each]) == 1


def test_an_event_that_the_broker_does_not_take_is_counted_and_holds_nothing_up(tmp_path: Path) -> None:
    large = event().model_copy(update={"scores": {f"label-{i}": 0.0 for i in range(200)} | {"happy": 1.0}})
    with (
        Mosquitto(tmp_path, "allow_anonymous true\nmax_packet_size 1500") as broker,
        Ear(broker.port) as ear,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        publisher.publish(large)
        publisher.publish(event(track="t2"))
        wait_until(lambda: ear.on("/event"))
        wait_until(lambda: publisher.statistics().dropped == 1)

        assert publisher.statistics().queued == 0


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ("retain_available false", {"event": 1, "state": 1, "info": 1}),
        ("max_qos 0", {"event": 0, "state": 0, "info": 0}),
        ("retain_available false\nmax_qos 0\nmax_inflight_messages 1", {"event": 0, "state": 0, "info": 0}),
        ("max_inflight_messages 1", {"event": 1, "state": 1, "info": 1}),
    ],
    ids=["no retain", "QoS 0", "nothing", "one at a time"],
)
def test_a_broker_gets_what_it_says_that_it_takes(
    tmp_path: Path, extra: str, expected: dict[str, int]
) -> None:
    with (
        Mosquitto(tmp_path, f"allow_anonymous true\n{extra}") as broker,
        Ear(broker.port) as ear,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        publisher.info(info())
        publisher.state(state())
        publisher.health(health())
        for each in events(30):
            publisher.publish(each)
        wait_until(lambda: len(ear.on("/event")) == 30)
        wait_until(lambda: publisher.statistics().published == 30)
        statistics = publisher.statistics()

    assert {kind: ear.on(f"/{kind}")[0].qos for kind in expected} == expected
    assert (statistics.connects, statistics.problem, statistics.dropped) == (1, None, 0)


def test_limits_change_only_what_the_broker_does_not_take() -> None:
    message = Outgoing(topic="a", payload="b", qos=1, retain=True)

    assert Limits().fitted(message) == message
    assert Limits(retains=False).fitted(message).retain is False
    assert Limits(highest_qos=0).fitted(message).qos == 0


class ShortLived:
    """Accepts every MQTT 5 connection and closes it a moment later."""

    def __init__(self) -> None:
        self.accepted = 0
        self._listener = socket.create_server((HOST, 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.recv(4096)
                self.accepted += 1
                client.sendall(bytes([0x20, 3, 0, 0, 0]))
                time.sleep(0.05)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


class Deaf:
    """A receiver that is told and does nothing."""

    def subscribed(self, refused: object) -> None: ...

    def up(self, protocol: object, note: object) -> None: ...

    def down(self) -> None: ...

    def acknowledged(self, token: object, refusal: object) -> None: ...

    def received(self, message: object) -> None: ...


@dataclass(frozen=True, slots=True)
class Recorded(ReconnectPauses):
    """Remembers after how many failures it was asked, and hardly pauses."""

    asked: list[int] = field(default_factory=list)

    def after(self, failures: int) -> float:
        self.asked.append(failures)
        return 0.01


def test_a_connection_that_ends_at_once_is_tried_again_with_growing_pauses() -> None:
    broker = ShortLived()
    chosen = BrokerOptions(host=HOST, port=broker.port, client_id=DEVICE)
    will = Outgoing(topic="a", payload="b")
    pauses = Recorded(settled_s=600)
    connection = Connection(chosen, Session(will=will), Deaf(), (), pauses)

    connection.start()
    try:
        wait_until(lambda: len(pauses.asked) >= 5)
    finally:
        connection.stop(None)
        broker.close()

    assert pauses.asked[:5] == [1, 2, 3, 4, 5]
    assert broker.accepted >= 5
    longest = ReconnectPauses(random=lambda: 1.0)
    assert [longest.after(failures) for failures in pauses.asked[:5]] == [1, 2, 4, 8, 16]

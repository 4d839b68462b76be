"""What every publisher promises."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edge.mqtt_samples import event, events, health, info, options, showing, state, summary
from oahega_edge.errors import PublishError
from oahega_edge.feed.mounting import Mounting
from oahega_edge.feed.publisher import FedPublisher
from oahega_edge.feed.socket import FeedSocket
from oahega_edge.publishers.jsonlines import JsonLinesPublisher
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.port import Command, Publisher
from oahega_edge.publishers.recording import RecordingPublisher
from oahega_edge.tools.broker import EmbeddedBroker
from waiting import wait_until

Opener = Callable[[], Publisher]
ADAPTERS = (
    "json lines",
    "recording",
    "fed",
    pytest.param("mqtt 5 at mosquitto", marks=pytest.mark.broker),
    pytest.param("mqtt 3.1.1 at amqtt", marks=pytest.mark.broker),
)


def fed(inner: Publisher, path: Path) -> FedPublisher:
    closed = Mounting(time.monotonic, lambda: 0)
    return FedPublisher(inner, FeedSocket(path), mounting=closed, least_px=28, clock=time.monotonic)


@pytest.fixture
def amqtt() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture(params=ADAPTERS)
def opened(request: pytest.FixtureRequest) -> Iterator[Publisher]:
    openers: dict[str, Opener] = {
        "json lines": lambda: JsonLinesPublisher(io.StringIO()),
        "recording": RecordingPublisher,
        "fed": lambda: fed(RecordingPublisher(), request.getfixturevalue("tmp_path") / "feed.sock"),
        "mqtt 5 at mosquitto": lambda: MqttPublisher(options(request.getfixturevalue("mosquitto").port)),
        "mqtt 3.1.1 at amqtt": lambda: MqttPublisher(options(request.getfixturevalue("amqtt").port)),
    }
    with openers[request.param]() as publisher:
        yield publisher


def test_it_takes_every_kind_of_message(opened: Publisher) -> None:
    opened.info(info())
    opened.state(state())
    opened.showing(showing())
    opened.health(health())
    opened.publish(event())
    opened.summary(summary())
    opened.respond(Command("mute"), Command("mute").done())

    assert opened.commands() == []


def test_it_counts_what_it_published(opened: Publisher) -> None:
    wait_until(lambda: opened.connected)

    for each in events(5):
        opened.publish(each)

    wait_until(lambda: opened.statistics().published == 5)
    assert opened.statistics().accepted == 5
    assert opened.statistics().queued == 0


def test_it_may_be_closed_twice(opened: Publisher) -> None:
    opened.__exit__(None, None, None)
    opened.__exit__(None, None, None)

    assert isinstance(opened.connected, bool)


def test_json_lines_are_events_one_per_line() -> None:
    out = io.StringIO()
    sent = events(3)

    with JsonLinesPublisher(out) as publisher:
        publisher.info(info())
        for each in sent:
            publisher.publish(each)

    assert [json.loads(line)["id"] for line in out.getvalue().splitlines()] == [each.id for each in sent]
    assert not out.closed


def test_a_reader_that_has_gone_is_said() -> None:
    out = io.StringIO()
    out.close()

    with JsonLinesPublisher(out) as publisher, pytest.raises(PublishError, match="has ended"):
        publisher.publish(event())


def test_a_recording_publisher_hands_out_each_command_once() -> None:
    publisher = RecordingPublisher()
    publisher.send_command(Command("mute"))

    first, second = publisher.commands(), publisher.commands()

    assert [command.name for command in first] == ["mute"]
    assert second == []


def test_an_answer_carries_the_transaction() -> None:
    command = Command("set", {"smoothing.frames": 4}, transaction="7")

    assert command.done({"smoothing.frames": 4}).transaction == "7"
    assert command.refused("no").model_dump()["error"] == "no"

"""The way of the events: each at least once, in order, and no disk write where none is needed."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import Ear, Gate, Mosquitto
from edge.mqtt_samples import QUICK, event, events, options, stamp
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.store import FILE_NAME, StoreOptions
from waiting import PATIENCE, await_end, beside, wait_until

pytestmark = pytest.mark.broker


@pytest.fixture
def ear(mosquitto: Mosquitto) -> Iterator[Ear]:
    with Ear(mosquitto.port) as subscriber:
        yield subscriber


@pytest.fixture
def gate(mosquitto: Mosquitto) -> Iterator[Gate]:
    with Gate(mosquitto.port) as forwarder:
        yield forwarder


def first_arrivals(ear: Ear) -> list[dict[str, object]]:
    """Events without the second copies that QoS 1 allows."""
    found: dict[str, dict[str, object]] = {}
    for each in ear.on("/event"):
        content = json.loads(each.text)
        found.setdefault(content["id"], content)
    return list(found.values())


def taken(publisher: MqttPublisher) -> int:
    """Events that the courier has seen and that have not arrived."""
    now = publisher.statistics()
    return now.queued + now.dropped


def test_events_of_an_earlier_start_are_sent_first(gate: Gate, ear: Ear, tmp_path: Path) -> None:
    store = StoreOptions(folder=tmp_path / "store")
    with MqttPublisher(options(gate.port), store, pauses=QUICK) as publisher:
        for each in events(30, boot_id="boot-1"):
            publisher.publish(each)
        wait_until(lambda: publisher.statistics().accepted == 30)

    with MqttPublisher(options(gate.port), store, pauses=QUICK) as publisher:
        for each in events(10, boot_id="boot-2"):
            publisher.publish(each)
        wait_until(lambda: publisher.statistics().queued == 40)
        gate.open()
        wait_until(lambda: len(first_arrivals(ear)) == 40)

    heard = first_arrivals(ear)
    expected = [("boot-1", n) for n in range(30)] + [("boot-2", n) for n in range(10)]
    assert [(each["boot_id"], each["seq"]) for each in heard] == expected
    assert all(each["delayed"] for each in heard)


def test_with_the_broker_there_nothing_is_written_to_the_disk(
    mosquitto: Mosquitto, ear: Ear, tmp_path: Path
) -> None:
    store = StoreOptions(folder=tmp_path / "store", commit_interval_s=10 * PATIENCE)
    maker = stamp()
    with MqttPublisher(options(mosquitto.port), store) as publisher:
        wait_until(lambda: publisher.connected and publisher.statistics().store == "disk")
        before = (tmp_path / "store" / f"{FILE_NAME}-wal").stat().st_size

        for _ in range(50):
            publisher.publish(event(maker))
        wait_until(lambda: publisher.statistics().published == 50)

        assert (tmp_path / "store" / f"{FILE_NAME}-wal").stat().st_size == before
        assert publisher.statistics().accepted == 50


def test_a_connection_that_breaks_again_and_again_loses_nothing(gate: Gate, ear: Ear, tmp_path: Path) -> None:
    made = events(600, tracks=5)
    store = StoreOptions(folder=tmp_path / "store")
    gate.open()
    with MqttPublisher(options(gate.port), store, pauses=QUICK) as publisher:

        def speak() -> None:
            for each in made:
                publisher.publish(each)
                time.sleep(0.002)

        speaker = beside(speak)
        for _ in range(5):
            wait_until(lambda: publisher.connected)
            time.sleep(0.05)
            gate.close()
            time.sleep(0.05)
            gate.open()
        await_end(speaker)
        wait_until(lambda: len(first_arrivals(ear)) == 600)
        wait_until(lambda: publisher.statistics().queued == 0)

        assert publisher.statistics().accepted == 600
        assert publisher.statistics().dropped == 0

    assert [each["seq"] for each in first_arrivals(ear)] == list(range(600))


def test_what_was_in_flight_when_the_connection_broke_is_marked_when_it_comes_again(
    mosquitto: Mosquitto, ear: Ear
) -> None:
    """A frozen broker acknowledges nothing; the copies sent after it must not pass as news."""
    with MqttPublisher(options(mosquitto.port, keepalive_s=2), pauses=QUICK) as publisher:
        wait_until(lambda: publisher.connected)
        os.kill(mosquitto.pid, signal.SIGSTOP)
        publisher.publish(event())
        wait_until(lambda: not publisher.connected)

        os.kill(mosquitto.pid, signal.SIGCONT)

        wait_until(lambda: publisher.statistics().published == 1)
        # The broker may know the first copy as well: it lay in the connection that was given up.
        wait_until(lambda: any(json.loads(each.text)["delayed"] for each in ear.on("/event")))
    assert json.loads(ear.on("/event")[-1].text)["age_ms"] > 0


def test_policy_latest_sends_the_newest_of_each_face(gate: Gate, ear: Ear) -> None:
    with MqttPublisher(options(gate.port), StoreOptions(policy="latest"), pauses=QUICK) as publisher:
        for each in events(50, tracks=2):
            publisher.publish(each)
        wait_until(lambda: publisher.statistics().dropped == 48)

        gate.open()

        wait_until(lambda: publisher.statistics().published == 2)
        assert publisher.statistics().queued == 0
        wait_until(lambda: len(first_arrivals(ear)) == 2)
    assert [each["seq"] for each in first_arrivals(ear)] == [48, 49]


def test_at_the_bound_the_oldest_go_and_the_count_is_right(gate: Gate, ear: Ear, tmp_path: Path) -> None:
    store = StoreOptions(folder=tmp_path / "store", max_events=40)
    with MqttPublisher(options(gate.port), store, pauses=QUICK) as publisher:
        for number, each in enumerate(events(140), 1):
            publisher.publish(each)
            if number % 20 == 0:  # else the courier's inbox could be full as well, which keeps the oldest
                wait_until(lambda number=number: taken(publisher) == number)
        wait_until(lambda: publisher.statistics().dropped == 100)

        gate.open()

        wait_until(lambda: publisher.statistics().published == 40)
        wait_until(lambda: publisher.statistics().queued == 0)
        wait_until(lambda: len(first_arrivals(ear)) == 40)
    assert [each["seq"] for each in first_arrivals(ear)] == list(range(100, 140))


def test_a_refused_event_is_counted_as_dropped(tmp_path: Path) -> None:
    rules = tmp_path / "acl"
    rules.write_text("topic readwrite oahega/v1/+/availability\n")
    with (
        Mosquitto(tmp_path, extra=f"allow_anonymous true\nacl_file {rules}") as broker,
        MqttPublisher(options(broker.port)) as publisher,
    ):
        publisher.publish(event())

        wait_until(lambda: publisher.statistics().dropped == 1)
        assert publisher.statistics().published == 0
        assert publisher.statistics().queued == 0

"""Two devices that believe to be one: cloned SD cards."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterator

import pytest

from brokers import HOST, Ear, Mosquitto
from edge.mqtt_samples import QUICK, info, options
from oahega_edge.publishers.connection import ReconnectPauses
from oahega_edge.publishers.mqtt import MqttPublisher
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.broker

CONNACK = b"\x20\x03\x00\x00\x00"
TAKEN_OVER = b"\xe0\x02\x8e\x00"


class OneTrickBroker:
    """Speaks just enough MQTT 5 to accept a client and then say that its session was taken over.

    mosquitto 2.0.11 closes the connection without that word, so it cannot serve here.
    """

    def __init__(self) -> None:
        self._listener = socket.create_server((HOST, 0))
        self.port: int = self._listener.getsockname()[1]
        self.connects = 0
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE)

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            with client:
                client.settimeout(PATIENCE)
                first = client.recv(65536)
                client.sendall(CONNACK)
                is_probe = not first[9] & 0b100  # no will
                if not is_probe:
                    self.connects += 1
                    client.recv(65536)
                    client.sendall(TAKEN_OVER)
                client.recv(65536)


@pytest.fixture
def rude() -> Iterator[OneTrickBroker]:
    broker = OneTrickBroker()
    yield broker
    broker.close()


def test_a_session_that_was_taken_over_is_named(
    rude: OneTrickBroker, caplog: pytest.LogCaptureFixture
) -> None:
    pauses = ReconnectPauses(first_s=0.01, taken_over_s=600, taken_over_largest_s=600)
    with MqttPublisher(options(rude.port), pauses=pauses) as publisher:
        problem = wait_until(lambda: publisher.statistics().problem)

        assert "another client took over the client id 'oahega-kiosk-1'" in problem
        assert "cloned SD card" in problem
        assert rude.connects == 1
    assert len([each for each in caplog.records if each.levelno == logging.WARNING]) == 1


def test_pauses_after_a_takeover_are_long_grow_and_are_bounded() -> None:
    pauses = ReconnectPauses(random=lambda: 1.0)

    assert [pauses.after_takeover(n) for n in (1, 2, 3, 9)] == [30, 60, 120, 600]
    assert [pauses.after(n) for n in (1, 2, 3, 20)] == [1, 2, 4, 60]
    assert pauses.after(1_000_000) == 60  # a broker that was away for years


def test_pauses_are_never_in_step() -> None:
    low, high = ReconnectPauses(random=lambda: 0.0), ReconnectPauses(random=lambda: 1.0)

    assert (low.after(3), high.after(3)) == (2.0, 4.0)


def test_twins_with_one_client_id_find_out_and_back_off(mosquitto: Mosquitto) -> None:
    patient = ReconnectPauses(first_s=0.1, largest_s=0.1, taken_over_s=600, taken_over_largest_s=600)
    with (
        MqttPublisher(options(mosquitto.port), pauses=patient) as first,
        MqttPublisher(options(mosquitto.port), pauses=patient) as second,
    ):
        first.info(info(boot_id="boot-a"))
        second.info(info(boot_id="boot-b"))

        wait_until(lambda: any("took over" in str(twin.statistics().problem) for twin in (first, second)))


def test_twins_with_different_client_ids_are_named_and_both_stay(mosquitto: Mosquitto) -> None:
    with (
        MqttPublisher(options(mosquitto.port, client_id="a")) as first,
        MqttPublisher(options(mosquitto.port, client_id="b")) as second,
    ):
        first.info(info(boot_id="boot-a"))
        wait_until(lambda: first.connected)
        second.info(info(boot_id="boot-b"))

        problem = wait_until(lambda: first.statistics().problem)

        assert "another device with the name 'kiosk-1' is connected" in problem
        assert first.connected
        assert second.connected


def test_the_info_of_our_own_last_start_is_no_twin(mosquitto: Mosquitto) -> None:
    for boot in ("boot-a", "boot-b"):
        with MqttPublisher(options(mosquitto.port), pauses=QUICK) as publisher, Ear(mosquitto.port) as ear:
            publisher.info(info(boot_id=boot))
            wait_until(lambda ear=ear, boot=boot: [each for each in ear.on("/info") if boot in each.text])

            assert publisher.statistics().problem is None


def test_nonsense_on_our_info_topic_is_no_twin(mosquitto: Mosquitto) -> None:
    with MqttPublisher(options(mosquitto.port)) as publisher, Ear(mosquitto.port) as ear:
        publisher.info(info())
        for payload in (b"", b"[]", b"\xff", b'{"boot_id": 7', b"[" * 50_000):
            ear.say("oahega/v1/kiosk-1/info", payload)
        ear.say("oahega/v1/kiosk-1/info", b'{"boot_id": "boot-b"}')

        wait_until(lambda: publisher.statistics().problem)
        assert publisher.connected

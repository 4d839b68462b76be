"""TLS against a real mosquitto: on by default on its port, and never unverified."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import Mosquitto
from certificates import Authority, secured
from edge.mqtt_samples import QUICK, options
from oahega_edge.errors import SettingsError
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.secret import Hidden
from waiting import wait_until


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


@pytest.fixture
def broker(tmp_path: Path, authority: Authority) -> Iterator[Mosquitto]:
    with secured(tmp_path, authority.issue("server")) as running:
        yield running


def problem_of(broker: Mosquitto, **changes: object) -> str:
    with MqttPublisher(options(broker.port, tls="on", **changes), pauses=QUICK) as publisher:
        problem = wait_until(lambda: publisher.statistics().problem)
        assert publisher.statistics().connects == 0
    return str(problem)


@pytest.mark.parametrize(
    ("port", "tls", "encrypted"),
    [(8883, "auto", True), (1883, "auto", False), (8883, "off", False), (1883, "on", True)],
)
def test_tls_is_on_by_default_on_its_port(port: int, tls: str, encrypted: bool) -> None:
    assert BrokerOptions(host="x", port=port, tls=tls).uses_tls == encrypted  # type: ignore[arg-type]


@pytest.mark.broker
def test_a_broker_with_a_trusted_certificate_is_connected(broker: Mosquitto, authority: Authority) -> None:
    given = options(broker.port, tls="on", ca_file=authority.file)

    with MqttPublisher(given, pauses=QUICK) as publisher:
        assert wait_until(lambda: publisher.connected)


@pytest.mark.broker
def test_a_certificate_of_an_unknown_authority_is_refused(broker: Mosquitto) -> None:
    assert "its certificate is not trusted" in problem_of(broker)


@pytest.mark.broker
def test_a_certificate_of_another_authority_is_refused(broker: Mosquitto, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other")

    assert "its certificate is not trusted" in problem_of(broker, ca_file=other.file)


@pytest.mark.broker
def test_a_certificate_for_another_host_is_refused(tmp_path: Path, authority: Authority) -> None:
    with secured(tmp_path, authority.issue("server", address="127.0.0.9")) as broker:
        problem = problem_of(broker, ca_file=authority.file)

    assert "its certificate is not trusted: IP address mismatch" in problem


@pytest.mark.broker
def test_a_certificate_from_the_future_makes_doubt_of_the_clock(tmp_path: Path, authority: Authority) -> None:
    with secured(tmp_path, authority.issue("server", valid_in_days=5)) as broker:
        problem = problem_of(broker, ca_file=authority.file)

    assert "is the device's clock right?" in problem


@pytest.mark.broker
def test_a_client_certificate_lets_in(tmp_path: Path, authority: Authority) -> None:
    client = authority.issue("client")
    demand = f"cafile {authority.file}\nrequire_certificate true"
    with (
        secured(tmp_path, authority.issue("server"), demand) as broker,
        MqttPublisher(
            options(
                broker.port,
                tls="on",
                ca_file=authority.file,
                cert_file=client.cert_file,
                key_file=client.key_file,
            ),
            pauses=QUICK,
        ) as publisher,
    ):
        assert wait_until(lambda: publisher.connected)


def test_a_missing_authority_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"mqtt\.ca_file /nowhere\.pem"):
        MqttPublisher(options(8883, ca_file="/nowhere.pem"))


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.pem").write_text("no certificate")

    with pytest.raises(SettingsError, match=r"mqtt\.ca_file .*x\.pem.*name readable PEM files"):
        MqttPublisher(options(8883, ca_file=str(tmp_path / "x.pem")))


def test_a_password_that_goes_unencrypted_is_said(caplog: pytest.LogCaptureFixture) -> None:
    for host in ("broker.example", "localhost"):
        MqttPublisher(options(1883, host=host, username="kiosk", password=Hidden("secret")))

    said = [each.getMessage() for each in caplog.records]
    assert said == ["MQTT: the password for broker.example:1883 goes unencrypted; set mqtt.tls."]


def test_the_password_is_not_in_the_options_text() -> None:
    assert "secret" not in repr(options(1883, username="kiosk", password=Hidden("secret")))

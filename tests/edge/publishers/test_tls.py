"""TLS against a real mosquitto: on by default on its port, and never unverified."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from brokers import Mosquitto, wait_until
from edge.mqtt_samples import QUICK, options
from oahega_edge.errors import SettingsError
from oahega_edge.publishers.connection import BrokerOptions
from oahega_edge.publishers.mqtt import MqttPublisher


@dataclass(frozen=True)
class Certificate:
    cert_file: str
    key_file: str


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self._now = datetime.datetime.now(datetime.UTC)
        builder = self._builder(self._name, self._key.public_key(), 0)
        certificate = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        ).add_extension(
            x509.KeyUsage(True, False, False, False, False, True, True, False, False), critical=True
        )
        signed = certificate.sign(self._key, hashes.SHA256())
        self.file = str(folder / f"{name}.pem")
        Path(self.file).write_bytes(signed.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, address: str = "127.0.0.1", valid_in_days: int = 0) -> Certificate:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(address))])
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        signed = (
            self._builder(subject, key.public_key(), valid_in_days)
            .add_extension(alternative, critical=False)
            .add_extension(authority, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        cert_file, key_file = self._folder / f"{name}.crt", self._folder / f"{name}.key"
        cert_file.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return Certificate(str(cert_file), str(key_file))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, valid_in_days: int
    ) -> x509.CertificateBuilder:
        begin = self._now + datetime.timedelta(days=valid_in_days) - datetime.timedelta(hours=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(begin + datetime.timedelta(days=10))
        )


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "authority")


def secured(folder: Path, server: Certificate, extra: str = "") -> Mosquitto:
    lines = f"certfile {server.cert_file}\nkeyfile {server.key_file}\nallow_anonymous true\n{extra}"
    return Mosquitto(folder, extra=lines)


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
        MqttPublisher(options(1883, host=host, username="kiosk", password="secret"))

    said = [each.getMessage() for each in caplog.records]
    assert said == ["MQTT: the password for broker.example:1883 goes unencrypted; set mqtt.tls."]


def test_the_password_is_not_in_the_options_text() -> None:
    assert "secret" not in repr(options(1883, username="kiosk", password="secret"))

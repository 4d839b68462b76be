"""TLS against a real mosquitto: on by default on its port, and never unverified."""

from __future__ import annotations

import ctypes
import os
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization

from brokers import Mosquitto
from certificates import Authority, Certificate, secured
from edge.mqtt_samples import QUICK, options
from oahega_edge.errors import SettingsError
from oahega_edge.publishers.broker import BrokerOptions, tls_context
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


IN_OPEN, IN_CLOSE_NOWRITE = 0x20, 0x10


def given_files(authority: Authority, client: Certificate) -> BrokerOptions:
    return BrokerOptions(
        host="broker",
        tls="on",
        ca_file=authority.file,
        cert_file=client.cert_file,
        key_file=client.key_file,
    )


@contextmanager
def openings(*files: str) -> Iterator[list[int]]:
    """How often this process opens each file, told by the kernel at the end."""
    libc, counted = ctypes.CDLL(None), [0] * len(files)
    descriptor = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    # Two openings in a row would be merged; with the closings between them they are not.
    wanted = IN_OPEN | IN_CLOSE_NOWRITE
    watches = [libc.inotify_add_watch(descriptor, file.encode(), wanted) for file in files]
    try:
        yield counted
        events = os.read(descriptor, 65536)
    finally:
        os.close(descriptor)
    for watch, kind, _, _ in struct.iter_unpack("iIII", events):
        counted[watches.index(watch)] += kind == IN_OPEN


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


def test_certificates_are_what_was_read_with_bounds(authority: Authority) -> None:
    """OpenSSL does not open them again: what it would find then nobody has looked at."""
    client = authority.issue("client")
    with openings(authority.file, client.cert_file, client.key_file) as times:
        tls_context(given_files(authority, client))

    assert times == [1, 1, 1]


def test_a_process_that_may_not_be_dumped_can_use_its_certificates(authority: Authority) -> None:
    """Its /proc/self belongs to root, whoever it runs as."""
    script = (
        "import sys; from oahega_edge.child import forbid_dumps; "
        "from oahega_edge.publishers.broker import BrokerOptions, tls_context; forbid_dumps(); "
        "ca, cert, key = sys.argv[1:]; "
        "tls_context(BrokerOptions(host='b', tls='on', ca_file=ca, cert_file=cert, key_file=key))"
    )
    client = authority.issue("client")

    subprocess.run(
        [sys.executable, "-c", script, authority.file, client.cert_file, client.key_file], check=True
    )


def test_one_file_may_hold_certificate_and_key(authority: Authority, tmp_path: Path) -> None:
    client = authority.issue("client")
    both = tmp_path / "both.pem"
    both.write_bytes(Path(client.key_file).read_bytes() + Path(client.cert_file).read_bytes())

    tls_context(BrokerOptions(host="broker", tls="on", cert_file=str(both)))


def test_an_authority_may_be_described_in_any_language(authority: Authority, tmp_path: Path) -> None:
    certificate = Path(authority.file).read_bytes()
    described = tmp_path / "described.pem"
    described.write_bytes("\ufeff# Zertifizierungsstelle der Universität\r\n".encode() + certificate * 2)

    context = tls_context(BrokerOptions(host="broker", tls="on", ca_file=str(described)))

    assert len(context.get_ca_certs()) == 1


def test_an_encrypted_key_is_refused_without_asking_for_its_passphrase(authority: Authority) -> None:
    client = authority.issue("client")
    key = serialization.load_pem_private_key(Path(client.key_file).read_bytes(), None)
    Path(client.key_file).write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"secret"),
        )
    )

    with pytest.raises(SettingsError, match="the key is encrypted; store it without a passphrase"):
        tls_context(given_files(authority, client))


def test_a_key_of_another_certificate_is_refused(authority: Authority) -> None:
    mixed = Certificate(authority.issue("one").cert_file, authority.issue("two").key_file)

    with pytest.raises(SettingsError, match="name readable PEM files"):
        tls_context(given_files(authority, mixed))


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


def test_the_login_is_not_in_the_options_text() -> None:
    text = repr(options(1883, username="u-canary", password=Hidden("p-canary")))

    assert "canary" not in text

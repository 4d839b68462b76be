"""Where the broker is, how to log in, and how its certificate is verified."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from oahega_edge.contract import defaults
from oahega_edge.contract.topics import Topics
from oahega_edge.errors import SettingsError
from oahega_edge.files import in_memory, read_file
from oahega_edge.secret import Hidden

MQTT_PORT, MQTTS_PORT = 1883, 8883
LARGEST_CERTIFICATE = 4 << 20
"""Bytes; the bundle of all authorities of Debian has 220 kB."""
SCHEMES = {"mqtt": False, "tcp": False, "mqtts": True, "ssl": True, "tls": True}
"""Beginning of an address -> whether it means TLS."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a broker is, as a person wrote it."""

    host: str
    """A name, or an IP address without brackets."""
    port: int
    encrypted: bool = False
    """The address begins with mqtts://."""


def read_address(text: str) -> Address:
    """`host`, `host:port`, `[::1]:port`, `::1`, `mqtt://host` or `mqtts://host`; without a port the scheme's.

    Raises ValueError with what is wrong, in one sentence that quotes no password.
    """
    scheme, slashes, rest = text.partition("://")
    if not slashes:
        scheme, rest = "mqtt", text
    if scheme.lower() not in SCHEMES:
        raise ValueError(f"begins with {scheme}://; only mqtt:// and mqtts:// are spoken")
    if "@" in rest:
        raise ValueError("holds a user name; give it and the password apart from the address")
    host, port = _parted(rest.removesuffix("/"))
    if not _is_host(host) or not (not port or (port.isdecimal() and 1 <= int(port) <= 65_535)):
        raise ValueError("is no address; write host, host:port or [IPv6]:port")
    encrypted = SCHEMES[scheme.lower()]
    return Address(host, int(port or (MQTTS_PORT if encrypted else MQTT_PORT)), encrypted)


def _parted(text: str) -> tuple[str, str]:
    """Host and port, the port empty when it is not given."""
    if text.startswith("["):
        host, bracket, port = text[1:].partition("]")
        return host if bracket else "", port.removeprefix(":")
    if text.count(":") > 1:  # an IPv6 address without brackets
        return text, ""
    host, _, port = text.partition(":")
    return host, port


def _is_host(text: str) -> bool:
    """A name or an IP address; whether it exists, only the network knows."""
    if ":" in text:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            return False
        return True
    return bool(text) and all(character.isalnum() or character in "-._" for character in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Where the broker is and how to log in. Secrets come from files that the caller has read."""

    host: str
    port: int = 1883
    client_id: str = ""
    username: str | None = field(default=None, repr=False)
    password: Hidden | None = None
    tls: Literal["auto", "on", "off"] = "auto"
    """auto: on when the port is 8883. Certificates are always verified."""
    ca_file: str | None = None
    """Trust only this authority; None: the system's."""
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = defaults.KEEPALIVE_S

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls == "on" or (self.tls == "auto" and self.port == MQTTS_PORT)

    @property
    def address(self) -> str:
        """For messages to people."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions(BrokerOptions):
    """The broker, and the device's place in it."""

    device: str
    root: str = defaults.ROOT
    will_delay_s: int = 5
    """After which the broker publishes `offline` for a device that vanished; a shorter gap goes unnoticed."""
    session_expiry_s: int = defaults.SESSION_EXPIRY_S
    """How long the broker keeps the session; never less than the will's delay."""
    event_expiry_s: int = defaults.EVENT_EXPIRY_S
    state_expiry_s: int = defaults.STATE_EXPIRY_S
    health_expiry_s: int = defaults.HEALTH_EXPIRY_S
    commands: bool = False
    discovery: bool = False
    discovery_prefix: str = defaults.DISCOVERY_PREFIX

    @property
    def topics(self) -> Topics:
        """Of this device."""
        return Topics(self.root, self.device)


class TlsContext(ssl.SSLContext):
    """Verifies the broker's certificate and name, TLS 1.2 or newer; no setting turns that off.

    It closes the socket of a failed handshake, which paho leaves open.
    """

    _last: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        """Remember the socket for `clean_up`."""
        self._last = super().wrap_socket(*args, **kwargs)
        return self._last

    def clean_up(self) -> None:
        """After a failed connect."""
        if self._last is not None:
            self._last.close()
            self._last = None


def tls_context(options: BrokerOptions) -> TlsContext:
    """Raises SettingsError when the certificates cannot be used."""
    context = TlsContext(ssl.PROTOCOL_TLS_CLIENT)  # which demands certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if options.ca_file is None:
            context.load_default_certs()
        else:  # of a PEM file, all but the comments is ASCII
            context.load_verify_locations(cadata=_certificate(options.ca_file).decode("ascii", "ignore"))
        if options.cert_file is not None:
            _show(context, _certificate(options.cert_file), options.key_file)
    except (OSError, ValueError) as error:
        files = ", ".join(
            f"{name} {path}"
            for name, path in (
                ("mqtt.ca_file", options.ca_file),
                ("mqtt.cert_file", options.cert_file),
                ("mqtt.key_file", options.key_file),
            )
            if path is not None
        )
        raise SettingsError(
            f"The certificates for MQTT cannot be used ({files}): {error}; name readable PEM files."
        ) from error
    return context


def _certificate(file: str) -> bytes:
    return read_file(Path(file), LARGEST_CERTIFICATE)


def _show(context: ssl.SSLContext, chain: bytes, key_file: str | None) -> None:
    """Our own certificate and its key. OpenSSL opens files only, so it is given what was read in memory."""
    key = chain if key_file is None else _certificate(key_file)
    with in_memory(chain) as chain_path, in_memory(key) as key_path:
        context.load_cert_chain(chain_path, key_path, password=_no_passphrase)


def _no_passphrase() -> str:
    """Called for an encrypted key; without it OpenSSL asks on the terminal and waits."""
    raise ValueError("the key is encrypted; store it without a passphrase, readable by the service only")


def reason_of(error: Exception) -> str:
    """Why a connection failed, for people."""
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "; is the device's clock right?" if "not yet valid" in error.verify_message else ""
        return f"its certificate is not trusted: {error.verify_message}{hint}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return str(error)

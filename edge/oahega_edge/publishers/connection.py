"""A lasting connection to an MQTT broker; the only module that touches paho.

paho's own reconnecting is not used: it keeps the unacknowledged messages of a lost connection and sends
them again unchanged, and cannot change the protocol version or pause longer for some reasons than for others.
Each connection is a fresh client, connected and run by one thread of ours.
"""

from __future__ import annotations

import contextlib
import logging
import random
import socket
import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from oahega_edge.errors import SettingsError

log = logging.getLogger(__name__)

ProtocolVersion = Literal["5", "3.1.1"]
Token = tuple[int, int]
"""Names one sent message: number of the connection, paho's message id."""

MQTTS_PORT = 8883
LOOPBACK = ("localhost", "127.0.0.1", "::1")
CONNECT_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
LARGEST_PACKET = 1_048_576
"""Bytes; the broker keeps larger messages from us. Far above what any command needs: mosquitto 2.0.11 loses a
place of our receiving window with every one that it keeps from us, and at last sends nothing more."""

MOST_IN_FLIGHT = 10
"""Unacknowledged messages, all kinds together. A broker that allows fewer ends the connection; paho can
only change it before connecting, so the next connection keeps to it."""

SESSION_TAKEN_OVER = 0x8E
REFUSES_MQTT5 = frozenset({0x81, 0x82, 0x84})
"""Malformed packet, protocol error, unsupported protocol version."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerOptions:
    """Where the broker is and how to be let in. Secrets come from files that the caller has read."""

    host: str
    port: int = 1883
    client_id: str = ""
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    tls: Literal["auto", "on", "off"] = "auto"
    """auto: on when the port is 8883. Certificates are always verified."""
    ca_file: str | None = None
    """Trust only this authority; None: the system's."""
    cert_file: str | None = None
    key_file: str | None = None
    keepalive_s: int = 30

    @property
    def uses_tls(self) -> bool:
        """Whether the connection is encrypted."""
        return self.tls == "on" or (self.tls == "auto" and self.port == MQTTS_PORT)

    @property
    def address(self) -> str:
        """For messages to people."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """One message to send. What needs MQTT 5 is left out where the broker speaks 3.1.1."""

    topic: str
    payload: str
    qos: Literal[0, 1] = 1
    retain: bool = False
    expiry_s: int | None = None
    content_type: str = "application/json"
    user_properties: tuple[tuple[str, str], ...] = ()
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Incoming:
    """One message that arrived."""

    topic: str
    payload: bytes
    retained: bool
    reply_to: str | None = None
    correlation: bytes | None = None


@dataclass(frozen=True, slots=True)
class Subscription:
    """One filter, at QoS 1."""

    topic: str
    as_published: bool = False
    """With MQTT 5, `retained` tells how a message was published, not whether it is an old one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What the broker keeps for us while we are away."""

    will: Outgoing | None = None
    will_delay_s: int = 0
    expiry_s: int = 0
    """Never less than the will's delay: the end of the session fires the will."""


class Receiver(Protocol):
    """What a connection tells its owner, from the network thread: none of these may wait."""

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """The broker accepted us; what is sent from here goes first."""
        ...

    def down(self) -> None:
        """The connection is gone; what was not acknowledged must be sent again."""
        ...

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """The broker took the message over, or says why not."""
        ...

    def received(self, message: Incoming) -> None:
        """A message of a subscription."""
        ...


@dataclass(frozen=True, slots=True)
class Pauses:
    """Between attempts: doubled up to a bound, and never in step with other devices."""

    first_s: float = 1.0
    largest_s: float = 60.0
    taken_over_s: float = 30.0
    """First pause after another client took our id."""
    taken_over_largest_s: float = 600.0
    random: Callable[[], float] = random.random

    def after(self, failures: int) -> float:
        """Seconds to wait after this many failures in a row (at least 1)."""
        return self._spread(self.first_s, failures, self.largest_s)

    def after_takeover(self, takeovers: int) -> float:
        """Seconds to wait after this many takeovers in a row (at least 1)."""
        return self._spread(self.taken_over_s, takeovers, self.taken_over_largest_s)

    def _spread(self, first: float, times: int, largest: float) -> float:
        doublings = min(times - 1, 30)  # a float overflows after a day of failures
        longest: float = min(first * 2.0**doublings, largest)
        return longest * (0.5 + 0.5 * self.random())


@dataclass(frozen=True, slots=True)
class _Ending:
    """Why a connection, or the attempt at one, is over."""

    kind: Literal["stopped", "answered", "unreachable", "refused", "no-mqtt5", "silent", "taken-over", "lost"]
    reason: str = ""
    was_up: bool = False


class Connection:
    """Keeps one client connected from `start` to `stop`."""

    def __init__(
        self,
        options: BrokerOptions,
        session: Session,
        receiver: Receiver,
        subscriptions: tuple[Subscription, ...] = (),
        pauses: Pauses | None = None,
    ) -> None:
        """Raises SettingsError when certificates cannot be used or a password has no user."""
        if options.password is not None and options.username is None:
            raise SettingsError("mqtt.username is empty but a password is set; set both or none.")
        if options.password is not None and not options.uses_tls and options.host not in LOOPBACK:
            log.warning("MQTT: the password for %s goes unencrypted; set mqtt.tls.", options.address)
        self._options = options
        self._session = session
        self._receiver = receiver
        self._subscriptions = subscriptions
        self._pauses = pauses or Pauses()
        self._tls = _tls_context(options) if options.uses_tls else None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-connect", daemon=True)
        self._lock = threading.Lock()
        self._attempt: _Attempt | None = None
        self._number = 0
        self._in_flight = MOST_IN_FLIGHT
        self._told: str | None = None
        self._told_fallback = False
        self._speaks_5 = False
        self._note: str | None = None
        self._ready = False
        self._last_ending: str | None = None

    @property
    def connected(self) -> bool:
        """The broker accepted the connection and it stands."""
        return self._ready

    @property
    def problem(self) -> str | None:
        """Why it is not connected, in one sentence."""
        return None if self.connected else self._told

    def start(self) -> None:
        """Begin connecting; returns at once."""
        self._thread.start()

    def stop(self, farewell: Outgoing | None, patience_s: float = 2.0) -> None:
        """Send the last message, disconnect in order (no will is sent), and end the threads."""
        self._stopping.set()
        with self._lock:
            attempt = self._attempt
        if attempt is not None:
            attempt.leave(farewell, patience_s)
        if self._thread.is_alive():
            self._thread.join(patience_s)

    def give_way(self) -> None:
        """Another device is known to have our client id: let it be connected, come back much later.

        Not every broker says so (mosquitto 2.0.11 does not); who finds out otherwise tells it here. Without
        a connection lost before, the ids differ and both can stay.
        """
        attempt = self._attempt
        if attempt is not None and self._last_ending == "lost":
            attempt.give_way()

    def publish(self, message: Outgoing) -> Token | None:
        """Send; None when not connected. QoS 1 is acknowledged through the receiver."""
        attempt = self._attempt
        return attempt.publish(message) if attempt is not None and attempt.up else None

    def _run(self) -> None:
        try:
            self._keep_connected()
        except Exception as error:
            self._told = f"the connection's thread died: {error!r}"
            raise

    def _keep_connected(self) -> None:
        failures = takeovers = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            ending = self._connect_and_stay()
            if ending.kind == "stopped":
                return
            self._last_ending = ending.kind
            failures = 1 if ending.was_up else failures + 1
            calm = ending.was_up and time.monotonic() - began > self._pauses.taken_over_largest_s
            if ending.kind == "taken-over":
                takeovers = 1 if calm else takeovers + 1
                pause = self._pauses.after_takeover(takeovers)
            else:
                pause = self._pauses.after(failures)
            self._tell(ending)
            self._stopping.wait(pause)

    def _connect_and_stay(self) -> _Ending:
        """With MQTT 5 if the broker speaks it: asked first, and again after every 3.1.1 connection."""
        if not self._speaks_5:
            answer = self._attempt_once("5", probe=True)
            if answer.kind in ("stopped", "unreachable"):
                return answer
            self._speaks_5 = answer.kind not in ("no-mqtt5", "silent")
            self._note = f"the broker at {self._options.address} refuses MQTT 5 ({answer.reason})"
        if not self._speaks_5:
            return self._attempt_once("3.1.1")
        ending = self._attempt_once("5")
        self._speaks_5 = ending.kind not in ("no-mqtt5", "silent")
        return ending

    def _attempt_once(self, protocol: ProtocolVersion, probe: bool = False) -> _Ending:
        """A probe is a bare CONNECT: amqtt chokes silently on the will and properties of MQTT 5."""
        with self._lock:
            if self._stopping.is_set():
                return _Ending("stopped")
            self._number += 1
            session = None if probe else self._session
            attempt = _Attempt(self._number, protocol, self._options, session, self._tls, self._in_flight)
            self._attempt = attempt
        attempt.on_up = lambda: self._came_up(attempt)
        attempt.on_acknowledged = self._receiver.acknowledged
        attempt.on_received = self._receiver.received
        ending = attempt.run()
        attempt.close()
        self._attempt = None
        self._in_flight = min(self._in_flight, attempt.allowed_in_flight)
        self._ready = False
        if ending.was_up:
            self._receiver.down()
        return ending if not self._stopping.is_set() else _Ending("stopped", was_up=ending.was_up)

    def _came_up(self, attempt: _Attempt) -> None:
        note = self._note if attempt.protocol == "3.1.1" else None
        if note is not None and not self._told_fallback:
            self._told_fallback = True
            log.warning("MQTT: %s; using 3.1.1, without expiry and properties.", note)
        log.info("MQTT: connected to %s (version %s).", self._options.address, attempt.protocol)
        self._told = None
        if self._subscriptions:
            attempt.subscribe(self._subscriptions)
        self._receiver.up(attempt.protocol, note)
        self._ready = True

    def _tell(self, ending: _Ending) -> None:
        """Each new reason once; a broker that stays away is no news."""
        text = self._sentence(ending)
        if text != self._told:
            self._told = text
            log.warning("MQTT: %s", text)

    def _sentence(self, ending: _Ending) -> str:
        where = self._options.address
        if ending.kind == "taken-over":
            return (
                f"another client took over the client id {self._options.client_id!r} at {where}: "
                "a cloned SD card? Give each device its own device.name."
            )
        if ending.kind == "refused":
            return f"the broker at {where} refused the connection: {ending.reason}; trying again with pauses."
        if ending.kind == "lost":
            return f"the connection to {where} was lost ({ending.reason}); trying again with pauses."
        return f"the broker at {where} cannot be reached ({ending.reason}); trying again with pauses."


class _Attempt:
    """One paho client from its CONNECT to its end."""

    def __init__(
        self,
        number: int,
        protocol: ProtocolVersion,
        options: BrokerOptions,
        session: Session | None,
        tls: _TlsContext | None,
        in_flight: int,
    ) -> None:
        self.protocol = protocol
        self.up = False
        self.allowed_in_flight = in_flight
        self.on_up: Callable[[], None] = lambda: None
        self.on_acknowledged: Callable[[Token, str | None], None] = lambda token, refusal: None
        self.on_received: Callable[[Incoming], None] = lambda message: None
        self._number = number
        self._options = options
        self._session = session
        self._over = threading.Event()
        self._refusal: ReasonCode | None = None
        self._goodbye: ReasonCode | None = None
        self._breakdown: str | None = None
        self._was_up = False
        self._answered = False
        self._gave_way = False
        self._farewell: int | None = None
        self._farewell_sent = threading.Event()
        self._tls = tls
        self._client = self._new_client(tls)
        self._client.max_inflight_messages = in_flight

    def run(self) -> _Ending:
        """Connect, and return when it is over."""
        try:
            self._connect()
        except (OSError, ValueError) as error:
            self._over.set()
            if self._tls is not None:
                self._tls.clean_up()
            return _Ending("unreachable", _reason_of(error))
        patience_until = time.monotonic() + CONNACK_TIMEOUT_S
        try:
            while self._client.loop() == paho.MQTT_ERR_SUCCESS:
                if self._refusal is None and not self._was_up and time.monotonic() > patience_until:
                    self._cut()
        except Exception as error:  # paho raises many kinds on malformed packets
            log.debug("MQTT: the network loop ended", exc_info=True)
            self._breakdown = f"{type(error).__name__}: {error}"
        finally:
            self.up = False
            self._over.set()
        return self._ending()

    def close(self) -> None:
        """Drop the callbacks: they would keep paho's client, which closes its last sockets as it is freed."""
        client = self._client
        client.on_connect = client.on_disconnect = client.on_publish = client.on_message = None
        self.on_up = lambda: None

    def publish(self, message: Outgoing) -> Token | None:
        """Hand over to the network thread; never writes to the socket itself."""
        properties = _publish_properties(message) if self.protocol == "5" else None
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties=properties
        )
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN):
            return None
        return self._number, info.mid

    def subscribe(self, subscriptions: tuple[Subscription, ...]) -> None:
        """Anew on every connection: a broker that was restarted has forgotten."""
        if self.protocol == "5":
            self._client.subscribe(
                [
                    (each.topic, SubscribeOptions(qos=1, retainAsPublished=each.as_published))
                    for each in subscriptions
                ]
            )
        else:
            self._client.subscribe([(each.topic, 1) for each in subscriptions])

    def give_way(self) -> None:
        """Leave the client id to another."""
        self._gave_way = True
        self._client.disconnect()

    def leave(self, farewell: Outgoing | None, patience_s: float) -> None:
        """Say the last word, wait for its acknowledgement, disconnect."""
        if self.up and farewell is not None:
            token = self.publish(farewell)
            if token is not None:
                self._farewell = token[1]
                self._farewell_sent.wait(patience_s)
        self._client.disconnect()
        if not self._over.wait(patience_s):
            self._cut()

    def _new_client(self, tls: _TlsContext | None) -> paho.Client:
        options = self._options
        version_5 = self.protocol == "5"
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=options.client_id,
            clean_session=None if version_5 else True,
            protocol=paho.MQTTv5 if version_5 else paho.MQTTv311,
            reconnect_on_failure=False,
        )
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        # With an external loop (which this makes it) publish() only wakes the loop; without, it would
        # write to the socket on the publishing thread.
        client.on_socket_register_write = lambda client, userdata, sock: None
        if options.username is not None:
            client.username_pw_set(options.username, options.password)
        if tls is not None:
            client.tls_set_context(tls)
        session = self._session
        if session is not None and session.will is not None:
            will = session.will
            properties = _will_properties(will, session.will_delay_s) if version_5 else None
            client.will_set(will.topic, will.payload, will.qos, will.retain, properties=properties)
        return client

    def _connect(self) -> None:
        options = self._options
        if self.protocol == "5" and self._session is not None:
            properties = _properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = max(self._session.expiry_s, self._session.will_delay_s)
            properties.MaximumPacketSize = LARGEST_PACKET
            self._client.connect(
                options.host, options.port, options.keepalive_s, clean_start=False, properties=properties
            )
        else:
            self._client.connect(options.host, options.port, options.keepalive_s)

    def _cut(self) -> None:
        """End a connection whose other side does not answer."""
        sock = self._client.socket()
        if isinstance(sock, socket.socket):
            with contextlib.suppress(OSError):  # it has gone meanwhile
                sock.shutdown(socket.SHUT_RDWR)

    def _ending(self) -> _Ending:
        if self._answered:
            return _Ending("answered")
        if self._refusal is not None:
            kind: Literal["no-mqtt5", "refused"] = "refused"
            if self.protocol == "5" and self._refusal.value in REFUSES_MQTT5:
                kind = "no-mqtt5"
            return _Ending(kind, str(self._refusal))
        if not self._was_up:
            return _Ending("silent", "it closed the connection without an answer")
        reason = self._breakdown or str(self._goodbye or "the other side closed it")
        told = self._goodbye is not None and self._goodbye.value == SESSION_TAKEN_OVER
        taken = told or self._gave_way
        return _Ending("taken-over" if taken else "lost", reason, was_up=True)

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:  # a refused CONNACK is not a connection
            self._refusal = code
        elif self._session is None:
            self._answered = True
            self._client.disconnect()
        else:
            self.allowed_in_flight = getattr(properties, "ReceiveMaximum", 65535)
            self.up = self._was_up = True
            self.on_up()

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        self.up = False
        if self._goodbye is None:  # the broker's own word comes first, the closed socket after it
            self._goodbye = code

    def _on_publish(
        self, client: paho.Client, userdata: Any, mid: int, code: ReasonCode, properties: Properties
    ) -> None:
        if mid == self._farewell:
            self._farewell_sent.set()
        self.on_acknowledged((self._number, mid), str(code) if code.is_failure else None)

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        properties = message.properties
        try:
            topic = message.topic
        except UnicodeDecodeError:
            return  # no topic of ours
        self.on_received(
            Incoming(
                topic=topic,
                payload=bytes(message.payload),
                retained=message.retain,
                reply_to=getattr(properties, "ResponseTopic", None),
                correlation=getattr(properties, "CorrelationData", None),
            )
        )


def _properties(packet: int) -> Properties:
    return Properties(packet)  # type: ignore[no-untyped-call]


def _will_properties(will: Outgoing, delay_s: int) -> Properties:
    properties = _properties(PacketTypes.WILLMESSAGE)
    properties.WillDelayInterval = delay_s
    properties.PayloadFormatIndicator = 1
    properties.ContentType = will.content_type
    return properties


def _publish_properties(message: Outgoing) -> Properties:
    properties = _properties(PacketTypes.PUBLISH)
    properties.PayloadFormatIndicator = 1
    properties.ContentType = message.content_type
    if message.expiry_s is not None:
        properties.MessageExpiryInterval = message.expiry_s
    if message.user_properties:
        properties.UserProperty = list(message.user_properties)
    if message.correlation is not None:
        properties.CorrelationData = message.correlation
    return properties


class _TlsContext(ssl.SSLContext):
    """Verifies the broker's certificate and name, TLS 1.2 or newer; no setting turns that off.

    It closes the socket of a failed handshake, which paho leaves open.
    """

    _last: ssl.SSLSocket | None = None

    def wrap_socket(self, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        self._last = super().wrap_socket(*args, **kwargs)
        return self._last

    def clean_up(self) -> None:
        """After a failed connect."""
        if self._last is not None:
            self._last.close()
            self._last = None


def _tls_context(options: BrokerOptions) -> _TlsContext:
    context = _TlsContext(ssl.PROTOCOL_TLS_CLIENT)  # which demands certificate and host name
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if options.ca_file is None:
            context.load_default_certs()
        else:
            context.load_verify_locations(options.ca_file)
        if options.cert_file is not None:
            context.load_cert_chain(options.cert_file, options.key_file)
    except (OSError, ssl.SSLError) as error:
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


def _reason_of(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        hint = "; is the device's clock right?" if "not yet valid" in error.verify_message else ""
        return f"its certificate is not trusted: {error.verify_message}{hint}"
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return str(error)

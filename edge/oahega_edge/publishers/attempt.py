"""One connection to the broker, from its CONNECT to its end; the only module that touches paho.

paho's own reconnecting is not used: it keeps the unacknowledged messages of a lost connection and sends
them again unchanged, and cannot change the protocol version or pause longer for some reasons than for others.
Each connection is a fresh client, connected and run by one thread of ours.
"""

from __future__ import annotations

import contextlib
import logging
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from oahega_edge.publishers.broker import BrokerOptions, TlsContext, reason_of
from oahega_edge.publishers.wire import (
    Incoming,
    Limits,
    Outgoing,
    ProtocolVersion,
    Session,
    Subscription,
    Token,
)

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 5.0
CONNACK_TIMEOUT_S = 10.0
SUBACK_TIMEOUT_S = 5.0
"""Then messages are sent although the broker has not answered the subscriptions."""
MOST_IN_FLIGHT = 10
"""Unacknowledged messages, all kinds together."""
LARGEST_PACKET = 1_048_576
"""Bytes; the broker keeps larger messages from us. Far above what any command needs: mosquitto 2.0.11 loses a
place of our receiving window with every one that it keeps from us, and at last sends nothing more."""

SESSION_TAKEN_OVER = 0x8E
REFUSES_MQTT5 = frozenset({0x81, 0x82, 0x84})
"""Malformed packet, protocol error, unsupported protocol version."""


@dataclass(frozen=True, slots=True)
class Ending:
    """Why a connection, or the attempt at one, is over."""

    kind: Literal["stopped", "answered", "unreachable", "refused", "no-mqtt5", "silent", "taken-over", "lost"]
    reason: str = ""
    was_up: bool = False


class Attempt:
    """One paho client from its CONNECT to its end."""

    def __init__(
        self,
        number: int,
        protocol: ProtocolVersion,
        options: BrokerOptions,
        session: Session | None,
        tls: TlsContext | None,
        limits: Limits,
        subscriptions: tuple[Subscription, ...] = (),
    ) -> None:
        """`limits`: the broker's at the last connection, for the will and for what paho must know before."""
        self.protocol = protocol
        self.up = False
        self.limits = limits
        self.refused_subscriptions: dict[str, str] = {}
        """Topics that the broker does not let us read, with its reason."""
        self.on_up: Callable[[], None] = lambda: None
        self.on_acknowledged: Callable[[Token, str | None], None] = lambda token, refusal: None
        self.on_received: Callable[[Incoming], None] = lambda message: None
        self._number = number
        self._options = options
        self._session = session
        self._subscriptions = subscriptions
        self._subscribed_by = float("inf")
        self._left_out = 0
        self._over = threading.Event()
        self._refusal: ReasonCode | None = None
        self._goodbye: ReasonCode | None = None
        self._breakdown: str | None = None
        self._was_up = False
        self._timed_out = False
        self._answered = False
        self._gave_way = False
        self._introduced = threading.Event()
        """What is said first on this connection is on its way."""
        self._farewell: int | None = None
        self._farewell_sent = threading.Event()
        self._tls = tls
        self._client = self._new_client(tls)
        self._client.max_inflight_messages = min(MOST_IN_FLIGHT, limits.receive_maximum)

    def run(self) -> Ending:
        """Connect, and return when it is over."""
        try:
            self._connect()
        except (OSError, ValueError) as error:
            self._over.set()
            if self._tls is not None:
                self._tls.clean_up()
            return Ending("unreachable", reason_of(error))
        patience_until = time.monotonic() + CONNACK_TIMEOUT_S
        try:
            while self._client.loop() == paho.MQTT_ERR_SUCCESS:
                if self._refusal is None and not self._was_up and time.monotonic() > patience_until:
                    self._timed_out = True
                    self._cut()
                if time.monotonic() > self._subscribed_by:
                    self._come_up()
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
        client.on_subscribe = None
        self.on_up = lambda: None

    def publish(self, message: Outgoing) -> Token | None:
        """Hand over to the network thread; never writes to the socket itself."""
        message = self.limits.fitted(message)
        properties = _publish_properties(message) if self.protocol == "5" else None
        most = self.limits.largest_packet
        if most is not None and _packet_size(message, properties) > most:
            return self._leave_out(f"{message.topic} is left out: the broker takes at most {most} bytes")
        info = self._client.publish(
            message.topic, message.payload, message.qos, message.retain, properties=properties
        )
        if info.rc not in (paho.MQTT_ERR_SUCCESS, paho.MQTT_ERR_NO_CONN):
            return None
        return self._number, info.mid

    def _leave_out(self, reason: str) -> Token:
        """Answer in the broker's place for a message that it would end the connection for."""
        self._left_out += 1
        token = self._number, -self._left_out
        self.on_acknowledged(token, reason)
        return token

    def _subscribe(self) -> None:
        """Anew on every connection: a broker that was restarted has forgotten."""
        self._subscribed_by = time.monotonic() + SUBACK_TIMEOUT_S
        if self.protocol == "5":
            self._client.subscribe(
                [
                    (each.topic, SubscribeOptions(qos=1, retainAsPublished=each.as_published))
                    for each in self._subscriptions
                ]
            )
        else:
            self._client.subscribe([(each.topic, 1) for each in self._subscriptions])

    def _come_up(self) -> None:
        """What the broker lets us read is known; from here messages are sent."""
        self._subscribed_by = float("inf")
        self.up = True
        self.on_up()
        self._introduced.set()

    def give_way(self) -> None:
        """Leave the client id to another."""
        self._gave_way = True
        self._client.disconnect()

    def leave(self, farewell: Outgoing | None, patience_s: float) -> None:
        """Say the last word after the first ones, wait for its acknowledgement, disconnect."""
        if self.up and farewell is not None:
            self._introduced.wait(patience_s)
            token = self.publish(farewell)
            if token is not None:
                self._farewell = token[1]
                self._farewell_sent.wait(patience_s)
        self._client.disconnect()
        if not self._over.wait(patience_s):
            self._cut()

    def _new_client(self, tls: TlsContext | None) -> paho.Client:
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
        client.on_subscribe = self._on_subscribe
        # With an external loop (which this makes it) publish() only wakes the loop; without, it would
        # write to the socket on the publishing thread.
        client.on_socket_register_write = lambda client, userdata, sock: None
        if options.username is not None:
            password = None if options.password is None else options.password.get_secret_value()
            client.username_pw_set(options.username, password)
        if tls is not None:
            client.tls_set_context(tls)
        session = self._session
        if session is not None and session.will is not None:
            will = self.limits.fitted(session.will)
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

    def _ending(self) -> Ending:
        if self._answered:
            return Ending("answered")
        if self._refusal is not None:
            kind: Literal["no-mqtt5", "refused"] = "refused"
            if self.protocol == "5" and self._refusal.value in REFUSES_MQTT5:
                kind = "no-mqtt5"
            return Ending(kind, str(self._refusal))
        if self._timed_out:
            return Ending("unreachable", "it takes the connection and does not answer")
        if not self._was_up:
            return Ending("silent", "it closed the connection without an answer")
        reason = self._breakdown or str(self._goodbye or "the other side closed it")
        announced = self._goodbye is not None and self._goodbye.value == SESSION_TAKEN_OVER
        taken = announced or self._gave_way
        return Ending("taken-over" if taken else "lost", reason, was_up=True)

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:  # a refused CONNACK is not a connection
            self._refusal = code
            return
        self.limits = _limits_of(properties)
        if self._session is None:
            self._answered = True
            self._client.disconnect()
        else:
            self._was_up = True
            if self._subscriptions:
                self._subscribe()
            else:
                self._come_up()

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, codes: list[ReasonCode], properties: Properties
    ) -> None:
        for subscription, code in zip(self._subscriptions, codes, strict=False):
            if code.is_failure:
                self.refused_subscriptions[subscription.topic] = str(code)
        if not self.up:
            self._come_up()

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
        refusal = (
            f"the broker refused a message ({code}): check its access rules" if code.is_failure else None
        )
        self.on_acknowledged((self._number, mid), refusal)

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


def _limits_of(properties: Properties | None) -> Limits:
    """What the CONNACK allows; what it does not mention has no limit."""
    return Limits(
        largest_packet=getattr(properties, "MaximumPacketSize", None),
        retains=bool(getattr(properties, "RetainAvailable", 1)),
        highest_qos=1 if getattr(properties, "MaximumQoS", 2) else 0,
        receive_maximum=getattr(properties, "ReceiveMaximum", 65_535),
    )


def _packet_size(message: Outgoing, properties: Properties | None) -> int:
    """Bytes of the PUBLISH packet, at most a few too many (MQTT 5.0, section 3.3)."""
    described = b"" if properties is None else properties.pack()  # type: ignore[no-untyped-call]
    return 5 + 2 + len(message.topic.encode()) + 2 + len(described) + len(message.payload.encode())


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

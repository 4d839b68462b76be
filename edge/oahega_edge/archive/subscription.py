"""A subscription that survives its worker: a persistent session, and each message acknowledged by hand.

The broker keeps what arrives while the worker is away, and sends again what it never acknowledged. Apart from
`publishers/`, the only module that touches paho: the daemon's connection acknowledges at once.
"""

from __future__ import annotations

import logging
import queue
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from oahega_edge.publishers.broker import BrokerOptions, tls_context

log = logging.getLogger(__name__)

GROUP = "archive"
SESSION_EXPIRY_S = 7 * 86_400
"""How long the broker keeps what arrives while a worker is away."""
RECEIVE_MAXIMUM = 2_000
"""Messages that the broker sends ahead of their acknowledgement; what a worker holds in memory."""
MOST_UNACKNOWLEDGED_AT_ONCE = 10_000
"""Messages of QoS 0 have no such bound: beyond this, they are left out."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message and how to acknowledge it."""

    topic: str
    payload: bytes
    mid: int
    qos: int
    connection: int
    """Number of the connection that brought it: only there the message id means this message."""


class Subscription:
    """Receives as long as the context lasts; comes back by itself."""

    def __init__(self, broker: BrokerOptions, root: str, *, retained: bool) -> None:
        """`retained`: also read what is retained; the shared part of a group never brings it."""
        self._broker = broker
        self._topics = [f"$share/{GROUP}/{root}/+/{kind}" for kind in ("event", "summary")]
        if retained:
            self._topics += [f"{root}/+/{kind}" for kind in ("health", "availability")]
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._connection = 0
        self._leaving = False
        self.connected = False
        self.left_out = 0
        """Messages of QoS 0 that came faster than they could be kept."""
        self._tls = tls_context(broker) if broker.uses_tls else None
        self._client = self._new_client()

    def __enter__(self) -> Self:
        self._client.connect_async(
            self._broker.host,
            self._broker.port,
            self._broker.keepalive_s,
            clean_start=False,
            properties=_connect_properties(),
        )
        self._client.loop_start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._leaving = True
        self._client.disconnect()
        self._client.loop_stop()

    def fetch(self, most: int, patience_s: float) -> list[Delivery]:
        """What has arrived, oldest first; waits this long for company after the first."""
        until = time.monotonic() + patience_s
        found: list[Delivery] = []
        while len(found) < most:
            try:
                found.append(self._inbox.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        return found

    def acknowledge(self, done: Iterable[Delivery]) -> None:
        """These are kept; what an earlier connection brought comes again and is known then."""
        for each in done:
            if each.qos and each.connection == self._connection:
                self._client.ack(each.mid, each.qos)

    def _new_client(self) -> paho.Client:
        broker = self._broker
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=broker.client_id,
            protocol=paho.MQTTv5,
            manual_ack=True,
        )
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        client.reconnect_delay_set(1, 30)
        if broker.username is not None:
            password = None if broker.password is None else broker.password.get_secret_value()
            client.username_pw_set(broker.username, password)
        if self._tls is not None:
            client.tls_set_context(self._tls)
        return client

    def _on_connect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if code.is_failure:
            log.warning("The broker at %s refuses the archive: %s.", self._broker.address, code)
            return
        self._connection += 1
        self.connected = True
        log.info("Connected to the broker at %s.", self._broker.address)
        sock = client.socket()
        if isinstance(sock, socket.socket):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._topics])

    def _on_disconnect(
        self, client: paho.Client, userdata: Any, flags: Any, code: ReasonCode, properties: Properties | None
    ) -> None:
        if self.connected and not self._leaving:
            log.warning("The connection to the broker is lost (%s); it is tried again.", code)
        self.connected = False

    def _on_subscribe(
        self, client: paho.Client, userdata: Any, mid: int, codes: list[ReasonCode], properties: Properties
    ) -> None:
        for topic, code in zip(self._topics, codes, strict=False):
            if code.is_failure:
                log.warning("The broker refuses to let us read %s (%s); check its access rules.", topic, code)
        log.info("Subscribed.")

    def _on_message(self, client: paho.Client, userdata: Any, message: paho.MQTTMessage) -> None:
        if message.qos == 0 and self._inbox.qsize() > MOST_UNACKNOWLEDGED_AT_ONCE:
            self.left_out += 1
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = "not UTF-8"
        self._inbox.put(Delivery(topic, bytes(message.payload), message.mid, message.qos, self._connection))


def _connect_properties() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = SESSION_EXPIRY_S
    properties.ReceiveMaximum = RECEIVE_MAXIMUM
    return properties

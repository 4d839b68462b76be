"""A subscription that survives its worker: a persistent session, and each message acknowledged by hand.

The broker keeps what arrives while the worker is away, and sends again what it never acknowledged. The only
module that touches mqtt5: paho takes a hundred microseconds of processor for a message, this takes five.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import select
import socket
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from types import TracebackType
from typing import Self

import mqtt5

from oahega_edge.archive.records import LARGEST
from oahega_edge.errors import EdgeError
from oahega_edge.publishers.broker import BrokerOptions, tls_context

log = logging.getLogger(__name__)

ARCHIVE = "archive"
"""The name of an archive that has a broker to itself."""
SESSION_EXPIRY_S = 7 * 86_400
"""How long the broker keeps what arrives while a worker is away."""
RECEIVE_MAXIMUM = 10_000
"""Messages that the broker sends ahead of their acknowledgement; what a worker holds in memory."""
LARGEST_PACKET = LARGEST + 4096
"""Bytes that the broker may send at once; it drops what is larger, so that nobody can fill the memory."""
MOST_UNACKNOWLEDGED_AT_ONCE = 20_000
"""Messages of QoS 0 have no such bound: beyond this, they are left out."""
NETWORK_PATIENCE_S = 10.0
"""For a connection to be made, and for the broker to take what is sent."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 1.0, 5.0
"""Before the broker is tried again: one that forgets shared subscriptions when it restarts (mosquitto 2.0.11)
keeps nothing for the archive until then.
"""
QUIET_S = 2.0
"""Before the broker is asked whether it has sent all of a session that is given up."""
_PUBLISH = 3
_CHUNK = 1 << 18


class SessionBroken(EdgeError):
    """The session with the broker ended before its work was done; the same may work later."""


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
    """Receives as long as the context lasts; comes back by itself. All network is one thread's."""

    def __init__(
        self,
        broker: BrokerOptions,
        root: str,
        *,
        retained: bool,
        archive: str = ARCHIVE,
        gives_up: bool = False,
    ) -> None:
        """`retained`: also read what is retained; the shared part of a group never brings it. `archive`: the
        workers of one name share the events among them. `gives_up`: only receive what the broker has put
        aside for this session, and end it then, so that the other workers get all that comes.
        """
        self._broker = broker
        self._topics = [f"$share/{archive}/{root}/+/{kind}" for kind in ("event", "summary")]
        if retained:
            self._topics += [f"{root}/+/{kind}" for kind in ("health", "availability")]
        self._tls = tls_context(broker) if broker.uses_tls else None
        self._inbox: queue.SimpleQueue[Delivery] = queue.SimpleQueue()
        self._acknowledged: deque[tuple[int, list[bytes]]] = deque()
        """(connection, packets) that the network thread has still to send."""
        self._connection = 0
        self._complaint = ""
        """What was said last of a connection that is lost; empty while it holds."""
        self._gives_up = gives_up
        self._owed = 0
        """Messages of this connection that are not acknowledged yet."""
        self._stirred = 0.0
        """When there was last something to take or to acknowledge of a session that is given up."""
        self._pings = 0
        """Not answered yet."""
        self._is_unsubscribed = self._is_asked = False
        self.is_over = False
        """The session is given up, and all that it had is acknowledged."""
        self._keepalive_s: float = broker.keepalive_s
        self._leaving = threading.Event()
        self.left_out = 0
        """Messages of QoS 0 that came faster than they could be kept."""
        self._is_full = False
        self._bell, self._ear = socket.socketpair()
        self._bell.setblocking(False)
        self._thread = threading.Thread(target=self._stay_connected, name="subscription", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._leaving.set()
        self._ring()
        self._thread.join(2 * NETWORK_PATIENCE_S)  # a name server that is away may take longer
        self._bell.close()
        self._ear.close()

    def fetch(self, most: int, patience_s: float) -> list[Delivery]:
        """What has arrived, oldest first; waits this long for company after the first."""
        until = time.monotonic() + patience_s
        found: list[Delivery] = []
        while len(found) < most:
            try:
                found.append(self._inbox.get(timeout=max(0.0, until - time.monotonic())))
            except queue.Empty:
                break
        if not found and not self._thread.is_alive() and not self.is_over:
            raise SessionBroken("the connection to the broker broke down; start the archive again")
        return found

    def acknowledge(self, done: Iterable[Delivery]) -> None:
        """These are kept; what an earlier connection brought comes again and is known then."""
        now = self._connection
        packets = [_acknowledgement(each.mid) for each in done if each.qos and each.connection == now]
        self._acknowledged.append((now, packets))
        self._ring()

    def _ring(self) -> None:
        with contextlib.suppress(BlockingIOError):  # full of rings that were not yet heard
            self._bell.send(b"!")

    def _stay_connected(self) -> None:
        pause = FIRST_PAUSE_S
        while not self._is_done():
            before = self._connection
            try:
                with self._connected() as link:
                    self._converse(link)
            except (OSError, ValueError) as error:
                self._complain(str(error))
            pause = FIRST_PAUSE_S if self._connection > before else min(2 * pause, LONGEST_PAUSE_S)
            if not self.is_over:
                self._leaving.wait(pause)

    def _is_done(self) -> bool:
        return self._leaving.is_set() or self.is_over

    def _complain(self, reason: str) -> None:
        """Once for each reason, and not at the end: nothing is tried again then."""
        if reason != self._complaint and not self._leaving.is_set():
            log.warning("The broker at %s is away (%s); it is tried again.", self._broker.address, reason)
        self._complaint = reason

    @contextlib.contextmanager
    def _connected(self) -> Iterator[socket.socket]:
        """With CONNECT sent; the session is left in order when the block ends so."""
        broker = self._broker
        with contextlib.ExitStack() as stack:
            link = stack.enter_context(
                socket.create_connection((broker.host, broker.port), timeout=NETWORK_PATIENCE_S)
            )
            link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls is not None:
                link = stack.enter_context(self._tls.wrap_socket(link, server_hostname=broker.host))
            link.sendall(self._greeting().write())
            yield link
            link.sendall(mqtt5.DisconnectPacket(session_expiry_interval=0 if self.is_over else None).write())

    def _greeting(self) -> mqtt5.ConnectPacket:
        broker = self._broker
        return mqtt5.ConnectPacket(
            broker.client_id,
            username=broker.username,
            password=None if broker.password is None else broker.password.get_secret_value().encode(),
            clean_start=False,
            keep_alive=broker.keepalive_s,
            session_expiry_interval=SESSION_EXPIRY_S,
            receive_max=RECEIVE_MAXIMUM,
            max_packet_size=LARGEST_PACKET,
        )

    def _converse(self, link: socket.socket) -> None:
        """Until it is time to leave. Raises OSError when the connection is lost or the broker refuses."""
        unread = b""
        said = heard = time.monotonic()
        while not self._is_done():
            ready, _, _ = select.select([link, self._ear], [], [], self._patience_s())
            now = time.monotonic()
            if self._ear in ready:
                self._ear.recv(4096)
            if link in ready and (chunk := _receive(link)):
                heard = now
                unread = self._understand(link, unread + chunk)
            if waiting := self._waiting():
                link.sendall(waiting)
                said = now
            elif now - said >= self._keepalive_s / 2 or self._should_ask(now):
                self._ping(link, now)
                said = now
            if now - heard > 1.5 * self._keepalive_s:
                raise OSError(f"silent for {now - heard:.0f} s")

    def _patience_s(self) -> float:
        return min(self._keepalive_s, QUIET_S) / 4 if self._gives_up else self._keepalive_s / 4

    def _should_ask(self, now: float) -> bool:
        """Whether nothing may be left: the broker answers only after it has sent what it had."""
        quiet = self._is_unsubscribed and not self._owed and now - self._stirred >= QUIET_S
        return quiet and not self._pings

    def _ping(self, link: socket.socket, now: float) -> None:
        self._is_asked = self._should_ask(now)
        self._pings += 1
        link.sendall(mqtt5.PingReqPacket().write())

    def _waiting(self) -> bytes:
        """Acknowledgements of what this connection brought: an earlier one's mean something else now."""
        packets: list[bytes] = []
        while self._acknowledged:
            connection, made = self._acknowledged.popleft()
            if connection == self._connection:
                packets += made
                self._owed -= len(made)
                self._stirred = time.monotonic()
        return b"".join(packets)

    def _understand(self, link: socket.socket, data: bytes) -> bytes:
        """Act on each whole packet; what is left is the beginning of the next."""
        view, start = memoryview(data), 0
        while (length := _length_of_packet(view[start:])) is not None:
            self._act(link, view[start : start + length])
            start += length
        return bytes(view[start:])

    def _act(self, link: socket.socket, data: memoryview) -> None:
        if data[0] >> 4 == _PUBLISH:
            self._take(_delivery(data, self._connection))
            return
        packet, _ = mqtt5.read(data)
        match packet:
            case mqtt5.ConnAckPacket():
                self._welcomed(link, packet)
            case mqtt5.SubAckPacket():
                self._subscribed(packet)
            case mqtt5.UnsubAckPacket():
                self._is_unsubscribed, self._stirred = True, time.monotonic()
            case mqtt5.PingRespPacket():
                self._pings -= 1
                self.is_over = self._is_asked
            case mqtt5.DisconnectPacket():
                raise OSError(f"it says {_words(packet.reason_code)}")

    def _take(self, delivery: Delivery) -> None:
        waiting = self._inbox.qsize()
        if delivery.qos == 0 and waiting > MOST_UNACKNOWLEDGED_AT_ONCE:
            if not self._is_full:
                log.warning("Messages of QoS 0 come faster than they are kept; some are left out.")
            self._is_full = True
            self.left_out += 1
            return
        if self._is_full and waiting < MOST_UNACKNOWLEDGED_AT_ONCE / 2:
            log.info("Messages of QoS 0 are kept again; %d were left out since the start.", self.left_out)
            self._is_full = False
        if delivery.qos:
            self._owed += 1
        self._is_asked, self._stirred = False, time.monotonic()
        self._inbox.put(delivery)

    def _welcomed(self, link: socket.socket, packet: mqtt5.ConnAckPacket) -> None:
        if _refuses(packet.reason_code):
            raise OSError(f"it refuses the archive: {_words(packet.reason_code)}")
        self._keepalive_s = packet.server_keep_alive or self._broker.keepalive_s
        self._connection += 1
        self._complaint = ""
        self._owed, self._pings, self._is_asked, self._is_unsubscribed = 0, 0, False, False
        log.info("Connected to the broker at %s.", self._broker.address)
        if self._gives_up:
            link.sendall(mqtt5.UnsubscribePacket(1, self._topics).write())
            return
        filters = [mqtt5.TopicFilter(topic, max_qos=mqtt5.QoS.AT_LEAST_ONCE) for topic in self._topics]
        link.sendall(mqtt5.SubscribePacket(1, filters).write())

    def _subscribed(self, packet: mqtt5.SubAckPacket) -> None:
        for topic, code in zip(self._topics, packet.reason_codes, strict=False):
            if _refuses(code):
                log.warning(
                    "The broker refuses to let us read %s (%s); check its access rules.", topic, _words(code)
                )
        log.info("Subscribed.")


def _acknowledgement(mid: int) -> bytes:
    return mqtt5.PubAckPacket(mid).write()


def _receive(link: socket.socket) -> bytes:
    """What has come. Nothing when TLS had only something to say for itself."""
    try:
        chunk = link.recv(_CHUNK)
    except TimeoutError:
        return b""
    if not chunk:
        raise ConnectionResetError("it closed the connection")
    return chunk


def _length_of_packet(data: memoryview) -> int | None:
    """MQTT 5, 2.1.4: a byte of type, the length of the rest in one to four bytes. None: not all is there."""
    length = 0
    for place in range(1, min(5, len(data))):
        length |= (data[place] & 127) << 7 * (place - 1)
        if not data[place] & 128:
            whole = 1 + place + length
            return whole if whole <= len(data) else None
    if len(data) >= 5:
        raise ValueError("its packet has no valid length")
    return None


def _delivery(data: memoryview, connection: int) -> Delivery:
    """Of a PUBLISH. A topic that is not UTF-8 is for the pile of misfits; mqtt5 0.8 panics at it."""
    qos = data[0] >> 1 & 3
    start = next(place for place in range(1, 5) if not data[place] & 128) + 3
    end = start + int.from_bytes(data[start - 2 : start], "big")
    try:
        str(data[start:end], "utf-8")
    except UnicodeDecodeError:
        mid = int.from_bytes(data[end : end + 2], "big")
        return Delivery("not UTF-8", bytes(data[end:]), mid, qos, connection)
    packet, _ = mqtt5.read(data)
    assert isinstance(packet, mqtt5.PublishPacket)
    return Delivery(packet.topic, packet.payload, packet.packet_id or 0, qos, connection)


def _refuses(code: IntEnum) -> bool:
    return int(code) >= 128  # mqtt5's codes are not numbers, whatever their type says


def _words(code: IntEnum) -> str:
    """NOT_AUTHORIZED: not authorized."""
    return code.name.lower().replace("_", " ")

"""The MQTT publisher: what goes to which topic, how, and what is said first on every connect."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from oahega_edge.events import Event, rfc3339
from oahega_edge.messages import OFFLINE, ONLINE, BrokerLink, Delivery, Health, Info, Response, State
from oahega_edge.publishers import Command
from oahega_edge.publishers.connection import (
    BrokerOptions,
    Connection,
    Incoming,
    Outgoing,
    Pauses,
    ProtocolVersion,
    Session,
    Token,
)
from oahega_edge.publishers.courier import Courier
from oahega_edge.publishers.store import Instant, StoreOptions, device_clock
from oahega_edge.publishers.topics import Topics

log = logging.getLogger(__name__)

FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MqttOptions(BrokerOptions):
    """The broker, and the device's place in it."""

    device: str
    root: str = "oahega/v1"
    will_delay_s: int = 5
    """After this the broker says `offline` for a device that vanished; a short gap is not told."""
    session_expiry_s: int = 60
    """How long the broker keeps the session; never less than the will's delay."""
    event_expiry_s: int = 300
    state_expiry_s: int = 60
    commands: bool = False
    discovery: bool = False
    discovery_prefix: str = "homeassistant"

    @property
    def topics(self) -> Topics:
        """Of this device."""
        return Topics(self.root, self.device)


class MqttPublisher:
    """Events through the courier, everything else at once; the newest of each again on every connect."""

    def __init__(
        self,
        options: MqttOptions,
        store: StoreOptions | None = None,
        *,
        clock: Callable[[], Instant] | None = None,
        pauses: Pauses | None = None,
    ) -> None:
        """Raises SettingsError when certificates cannot be used. Connects on `__enter__`."""
        self._options = options
        self._topics = options.topics
        self._retained = _Retained()
        self._courier = Courier(store or StoreOptions(), self._send_event, clock or device_clock())
        self._connection = Connection(
            options,
            Session(
                will=self._availability(OFFLINE),
                will_delay_s=options.will_delay_s,
                expiry_s=options.session_expiry_s,
            ),
            receiver=self,
            pauses=pauses,
        )
        self._protocol: ProtocolVersion | None = None
        self._note: str | None = None
        self._connects = 0
        self._ignored = 0
        self._closed = False

    @property
    def connected(self) -> bool:
        """The broker accepted the connection and it stands."""
        return self._connection.connected

    def __enter__(self) -> Self:
        self._courier.start()
        self._connection.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        if self._closed:
            return
        self._closed = True
        self._let_go_out(FAREWELL_S)
        self._connection.stop(self._availability(OFFLINE), FAREWELL_S)
        self._courier.stop()

    def publish(self, event: Event) -> None:
        """To the courier, which brings it to the broker or keeps it."""
        self._courier.offer(event)

    def state(self, state: State) -> None:
        """Retained; the broker forgets it after the expiry, so that it cannot go stale."""
        self._send_latest("state", self._state_message(state))

    def health(self, health: Health) -> None:
        """Retained with an expiry, QoS 0."""
        self._send_latest("health", self._health_message(health))

    def info(self, info: Info) -> None:
        """Retained."""
        self._retained.info = info
        if self.connected:
            self._connection.publish(self._info_message(info))

    def commands(self) -> list[Command]:
        """Commands that arrived since the last call."""
        return []

    def respond(self, command: Command, response: Response) -> None:
        """Answer a command."""

    def statistics(self) -> Delivery:
        """The courier's counters and the connection's state."""
        events = self._courier.statistics()
        connected = self.connected
        return Delivery(
            connected=connected,
            protocol=self._protocol if connected else None,
            accepted=events.accepted,
            published=events.published,
            queued=events.queued,
            dropped=events.dropped,
            connects=self._connects,
            ignored_commands=self._ignored,
            store=events.place,
            problem=events.problem or self._connection.problem,
        )

    # What the connection tells, from its thread.

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """Availability first, then who we are and what is seen; the events follow."""
        self._protocol, self._note = protocol, note
        self._connects += 1
        self._connection.publish(self._availability(ONLINE))
        if self._retained.info is not None:
            self._connection.publish(self._info_message(self._retained.info))
        for message in self._retained.newest():
            self._connection.publish(message)
        self._courier.up()

    def down(self) -> None:
        """What was not acknowledged goes again."""
        self._courier.down()

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """Of an event, or of something else."""
        if refusal is not None:
            log.warning("MQTT: the broker refused a message (%s): check its access rules.", refusal)
        self._courier.acknowledged(token, refusal)

    def received(self, message: Incoming) -> None:
        """Nothing is subscribed yet."""

    def _send_event(self, event: Event) -> Token | None:
        return self._connection.publish(self._event_message(event))

    def _send_latest(self, kind: str, message: Outgoing) -> None:
        self._retained.keep(kind, message)
        self._connection.publish(message)

    def _let_go_out(self, patience_s: float) -> None:
        """Give the last events their chance before the goodbye."""
        until = time.monotonic() + patience_s
        while self.connected and not self._courier.idle() and time.monotonic() < until:
            time.sleep(0.01)

    def _availability(self, word: str) -> Outgoing:
        return Outgoing(topic=self._topics.availability, payload=word, retain=True, content_type="text/plain")

    def _info_message(self, info: Info) -> Outgoing:
        if self._protocol is not None:
            link = BrokerLink(protocol=self._protocol, note=self._note)
            info = info.model_copy(update={"mqtt": link})
        return Outgoing(topic=self._topics.info, payload=info.to_json(), retain=True)

    def _state_message(self, state: State) -> Outgoing:
        return Outgoing(
            topic=self._topics.state,
            payload=state.to_json(),
            retain=True,
            expiry_s=self._options.state_expiry_s,
        )

    def _health_message(self, health: Health) -> Outgoing:
        return Outgoing(
            topic=self._topics.health,
            payload=health.to_json(),
            qos=0,
            retain=True,
            expiry_s=max(self._options.state_expiry_s, 180),
        )

    def _event_message(self, event: Event) -> Outgoing:
        return Outgoing(
            topic=self._topics.event,
            payload=event.to_json(),
            expiry_s=self._options.event_expiry_s,
            user_properties=cloud_event_attributes(event),
        )


class _Retained:
    """The newest info, state and health, for the next connect."""

    def __init__(self) -> None:
        self.info: Info | None = None
        self._lock = threading.Lock()
        self._messages: dict[str, tuple[Outgoing, float]] = {}

    def keep(self, kind: str, message: Outgoing) -> None:
        """In place of the last of this kind."""
        with self._lock:
            self._messages[kind] = message, time.monotonic()

    def newest(self) -> list[Outgoing]:
        """Those that have not expired."""
        now = time.monotonic()
        with self._lock:
            return [
                message
                for message, kept_at in self._messages.values()
                if message.expiry_s is None or now - kept_at < message.expiry_s
            ]


def cloud_event_attributes(event: Event) -> tuple[tuple[str, str], ...]:
    """The event's envelope as CloudEvents 1.0 attributes (MQTT binding, binary mode)."""
    return (
        ("specversion", "1.0"),
        ("id", event.id),
        ("source", f"urn:oahega:device:{event.device}"),
        ("type", f"oahega.expression.{event.phase}"),
        ("time", rfc3339(event.time)),
        ("subject", event.track),
        ("dataschema", event.schema_id),
    )

"""The MQTT publisher: what goes to which topic, how, and what is said first on every connect."""

from __future__ import annotations

import contextlib
import json
import logging
import queue
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from oahega_edge.contract.events import Event, rfc3339
from oahega_edge.contract.messages import OFFLINE, ONLINE, BrokerLink, Delivery, Health, Info, Response, State
from oahega_edge.contract.topics import Topics
from oahega_edge.publishers.commands import Refused, read_command
from oahega_edge.publishers.connection import (
    BrokerOptions,
    Connection,
    Incoming,
    Outgoing,
    Pauses,
    ProtocolVersion,
    Session,
    Subscription,
    Token,
)
from oahega_edge.publishers.courier import Courier
from oahega_edge.publishers.homeassistant import BIRTH, config_topic, discovery, status_topic
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.store import Instant, StoreOptions, device_clock

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
MOST_COMMANDS = 16
"""Commands that may wait for the daemon."""
MOST_ANSWERS = 64
"""Answers to bad commands that may be on their way; while there are more, commands are ignored."""


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
    health_expiry_s: int = 180
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
        birth_pause: Callable[[], float] = lambda: random.uniform(0, 10),
    ) -> None:
        """Raises SettingsError when certificates cannot be used. Connects on `__enter__`.

        `birth_pause` gives the seconds between Home Assistant's start and our answer; random, because a
        whole fleet answers.
        """
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
            subscriptions=self._subscriptions(),
            pauses=pauses,
        )
        self._desk = CommandDesk(self._topics)
        self._twin = TwinWatch()
        self._birth_pause = birth_pause
        self._births: list[threading.Timer] = []
        self._discovered: Outgoing | None = None
        self._protocol: ProtocolVersion | None = None
        self._note: str | None = None
        self._connects = 0
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
        for timer in self._births:
            timer.cancel()
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
        """Retained; Home Assistant's description follows where it changes with it."""
        self._retained.info = info
        if self.connected:
            self._say_info(info)

    def commands(self) -> list[Command]:
        """Commands that arrived since the last call."""
        return self._desk.fetch()

    def respond(self, command: Command, response: Response) -> None:
        """On the topic that the sender asked for, with its correlation data."""
        if command.reply_to is not None:
            self._connection.publish(_answer(command.reply_to, command.correlation, response))

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
            ignored_commands=self._desk.ignored,
            store=events.place,
            problem=events.problem or self._connection.problem or self._twin.problem,
        )

    # What the connection tells, from its thread.

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """Availability first, then who we are and what is seen; the events follow."""
        self._protocol, self._note = protocol, note
        self._connects += 1
        self._desk.forget_answers()
        self._twin.connected()
        self._say_everything()
        self._courier.up()

    def down(self) -> None:
        """What was not acknowledged goes again."""
        self._courier.down()

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """Of an event, of an answer or of something else."""
        if refusal is not None:
            log.warning("MQTT: the broker refused a message (%s): check its access rules.", refusal)
        self._desk.answered(token)
        self._courier.acknowledged(token, refusal)

    def received(self, message: Incoming) -> None:
        """A command, Home Assistant's birth, or an info that should be ours."""
        if message.topic == self._topics.info:
            if self._twin.sees(message, self._retained.info):
                self._connection.give_way()
        elif message.topic == status_topic(self._options.discovery_prefix):
            self._welcome_home_assistant(message)
        elif self._options.commands:
            refused = self._desk.take(message)
            if refused is not None:
                answer = _answer(refused.reply_to, refused.correlation, refused.response)
                self._desk.answering(self._connection.publish(answer))

    def _subscriptions(self) -> tuple[Subscription, ...]:
        """No more than these: above all never our own root."""
        wanted = [Subscription(self._topics.info)]
        if self._options.commands:
            wanted.append(Subscription(self._topics.commands, as_published=True))
        if self._options.discovery:
            wanted.append(Subscription(status_topic(self._options.discovery_prefix)))
        return tuple(wanted)

    def _say_everything(self) -> None:
        self._connection.publish(self._availability(ONLINE))
        self._discovered = None
        if self._retained.info is not None:
            self._say_info(self._retained.info)
        for message in self._retained.newest():
            self._connection.publish(message)

    def _say_info(self, info: Info) -> None:
        self._connection.publish(self._info_message(info))
        self._twin.introduced()
        if self._options.discovery:
            config = self._discovery_message(info)
            if config != self._discovered:
                self._connection.publish(config)
                self._discovered = config

    def _welcome_home_assistant(self, message: Incoming) -> None:
        if message.payload == BIRTH.encode() and not message.retained and not self._closed:
            timer = threading.Timer(self._birth_pause(), self._say_everything)
            timer.daemon = True
            self._births = [each for each in self._births if each.is_alive()] + [timer]
            timer.start()

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
            expiry_s=self._options.health_expiry_s,
        )

    def _discovery_message(self, info: Info) -> Outgoing:
        options = self._options
        description = discovery(info, self._topics, options.state_expiry_s, options.health_expiry_s)
        topic = config_topic(options.discovery_prefix, options.device)
        return Outgoing(topic=topic, payload=description.to_json(), retain=True)

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


class CommandDesk:
    """Where commands wait for the daemon, a few at a time. The answers to bad ones are counted while they are
    on their way, so that a flood of them cannot fill the memory."""

    def __init__(self, topics: Topics) -> None:
        self.ignored = 0
        self._topics = topics
        self._waiting: queue.Queue[Command] = queue.Queue(MOST_COMMANDS)
        self._answers: set[Token] = set()

    def take(self, message: Incoming) -> Refused | None:
        """Put it down for the daemon, or say how to refuse it."""
        read = read_command(message, self._topics) if len(self._answers) < MOST_ANSWERS else None
        if read is None:
            self.ignored += 1
        if not isinstance(read, Command):
            return read
        try:
            self._waiting.put_nowait(read)
        except queue.Full:
            busy = read.refused(f"{MOST_COMMANDS} commands wait already; try again later")
            return Refused(read.reply_to or self._topics.response(read.name), read.correlation, busy)
        return None

    def fetch(self) -> list[Command]:
        """All that wait."""
        commands = []
        with contextlib.suppress(queue.Empty):
            while True:
                commands.append(self._waiting.get_nowait())
        return commands

    def answering(self, token: Token | None) -> None:
        """The answer to a bad command is on its way."""
        if token is not None:
            self._answers.add(token)

    def answered(self, token: Token) -> None:
        """It arrived."""
        self._answers.discard(token)

    def forget_answers(self) -> None:
        """A new connection: those of the old one are gone."""
        self._answers.clear()


class TwinWatch:
    """Finds another device with our name: it writes infos of another boot to our topic.

    An old info is a sign only after we had written ours: before, it is that of our own last start.
    """

    def __init__(self) -> None:
        self.problem: str | None = None
        self._introduced = False
        self._introduced_before = False

    def connected(self) -> None:
        """On a new connection."""
        self.problem = None
        self._introduced_before = self._introduced

    def introduced(self) -> None:
        """Our info was sent."""
        self._introduced = True

    def sees(self, message: Incoming, ours: Info | None) -> bool:
        """Whether this info is another device's."""
        try:
            boot_id = json.loads(message.payload)["boot_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        old = message.retained and not self._introduced_before
        if ours is None or old or boot_id == ours.boot_id:
            return False
        self.problem = (
            f"another device with the name {ours.device!r} is connected: a cloned SD card? "
            "Give each device its own device.name."
        )
        log.warning("MQTT: %s", self.problem)
        return True


def _answer(topic: str, correlation: bytes | None, response: Response) -> Outgoing:
    return Outgoing(topic=topic, payload=response.to_json(), correlation=correlation)


def cloud_event_attributes(event: Event) -> tuple[tuple[str, str], ...]:
    """The event's envelope as CloudEvents 1.0 attributes (MQTT binding, binary mode)."""
    values = (
        "1.0",
        event.id,
        f"urn:oahega:device:{event.device}",
        f"oahega.expression.{event.phase}",
        rfc3339(event.time),
        event.track,
        event.schema_id,
    )
    return tuple(zip(cloud_event_keys(), values, strict=True))


def cloud_event_keys() -> tuple[str, ...]:
    """Names of the attributes, in the order in which they are sent."""
    return ("specversion", "id", "source", "type", "time", "subject", "dataschema")

"""The MQTT publisher: what goes to which topic, how, and what is said first on every connect."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import (
    OFFLINE,
    ONLINE,
    BrokerLink,
    Delivery,
    Health,
    Info,
    Response,
    Showing,
    State,
)
from oahega_edge.contract.summary import IntervalSummary, Report
from oahega_edge.publishers.broker import MqttOptions
from oahega_edge.publishers.commands import CommandQueue, EchoTest
from oahega_edge.publishers.connection import Connection, ReconnectPauses
from oahega_edge.publishers.courier import Courier
from oahega_edge.publishers.duplicates import DuplicateIdGuard
from oahega_edge.publishers.envelopes import Envelopes, answer
from oahega_edge.publishers.homeassistant import BIRTH, status_topic
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.store import Instant, StoreOptions, device_clock
from oahega_edge.publishers.wire import Incoming, Outgoing, ProtocolVersion, Session, Subscription, Token

log = logging.getLogger(__name__)

FAREWELL_S = 2.0
"""How long the end waits for the last events, and for the last word."""
WELCOME_S = 5.0
"""Least time between two answers to Home Assistant's births."""


class MqttPublisher:
    """Sends events through the courier and all else at once; on every connect, the newest of each again."""

    def __init__(
        self,
        options: MqttOptions,
        store: StoreOptions | None = None,
        *,
        clock: Callable[[], Instant] | None = None,
        pauses: ReconnectPauses | None = None,
        birth_pause: Callable[[], float] = lambda: random.uniform(0, 10),
        farewell_s: float = FAREWELL_S,
    ) -> None:
        """Raises SettingsError when certificates cannot be used. Connects on `__enter__`.

        `birth_pause` gives the seconds between Home Assistant's start and our answer; random, because a
        whole fleet answers.
        """
        self._options = options
        self._topics = options.topics
        self._envelopes = Envelopes(options)
        self._retained = _Retained()
        self._courier = Courier(store or StoreOptions(), self._send_event, clock or device_clock())
        self._connection = Connection(
            options,
            Session(
                will=self._envelopes.availability(OFFLINE),
                will_delay_s=options.will_delay_s,
                expiry_s=options.session_expiry_s,
            ),
            receiver=self,
            subscriptions=self._subscriptions(),
            pauses=pauses,
        )
        self._commands = CommandQueue(self._topics)
        self._echo = EchoTest(self._topics, self._know_whether_commands_arrive)
        self._duplicates = DuplicateIdGuard()
        self._birth_pause = birth_pause
        self._farewell_s = farewell_s
        self._welcome: threading.Timer | None = None
        self._welcomed_at = float("-inf")
        self._discovered: Outgoing | None = None
        self._protocol: ProtocolVersion | None = None
        self._note: str | None = None
        self._complaints = _Complaints()
        self._commands_granted = True
        """The broker grants the subscription to commands."""
        self._commands_kept = False
        """It grants it and does not keep to it."""
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
        if self._welcome is not None:
            self._welcome.cancel()
        self._echo.stop()
        self._await_delivery(self._farewell_s)
        self._connection.stop(self._envelopes.availability(OFFLINE), self._farewell_s)
        self._courier.stop()

    def publish(self, event: Event) -> None:
        """To the courier, which brings it to the broker or keeps it."""
        self._courier.offer(event)

    def summary(self, summary: IntervalSummary) -> None:
        """The same way as an event."""
        self._courier.offer(summary)

    def state(self, state: State) -> None:
        """Retained; the broker forgets it after the expiry, so that it cannot go stale."""
        self._send_latest("state", self._envelopes.state(state))

    def showing(self, showing: Showing) -> None:
        """Retained with the expiry of the state."""
        self._send_latest("showing", self._envelopes.showing(showing))

    def health(self, health: Health) -> None:
        """Retained with an expiry, QoS 0."""
        self._send_latest("health", self._envelopes.health(health))

    def info(self, info: Info) -> None:
        """Retained; Home Assistant's description follows where it changes with it."""
        self._retained.info = info
        if self.connected:
            self._publish_info(info)

    def commands(self) -> list[Command]:
        """Commands that arrived since the last call."""
        return self._commands.fetch()

    def respond(self, command: Command, response: Response) -> None:
        """On the topic that the sender asked for, with its correlation data."""
        if command.reply_to is not None:
            self._connection.publish(answer(command.reply_to, command.correlation, response))

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
            dropped_reason=events.dropped_reason,
            connects=self._connects,
            ignored_commands=self._commands.ignored,
            store=events.place,
            problem=(
                events.problem
                or self._connection.problem
                or self._duplicates.problem
                or self._complaints.problem
            ),
        )

    # Called by the connection, on its thread.

    def subscribed(self, refused: Mapping[str, str]) -> None:
        """Commands that cannot arrive are not announced."""
        self._complaints.clear()
        self._commands_granted = self._topics.commands not in refused
        for topic, reason in refused.items():
            self._complaints.add(
                f"the broker refuses to let this device read {topic} ({reason}): {self._purpose(topic)}; "
                "check its access rules"
            )

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """Publish availability first, then info and state; the events follow."""
        self._protocol, self._note = protocol, note
        self._connects += 1
        self._commands.forget_answers()
        self._duplicates.connected()
        self._publish_all()
        self._courier.up()
        if self._options.commands and protocol == "5":
            self._echo.start(self._connection.publish)

    def down(self) -> None:
        """Send again what was not acknowledged."""
        self._echo.stop()
        self._courier.down()

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """Of an event, of an answer or of something else."""
        if self._echo.acknowledged(token, refusal):
            return
        if refusal is not None:
            self._complaints.add(refusal)
        self._commands.answered(token)
        self._courier.acknowledged(token, refusal)

    def received(self, message: Incoming) -> None:
        """A command, Home Assistant's birth, or an info that should be ours."""
        if message.topic == self._topics.info:
            if self._duplicates.sees(message, self._retained.info):
                self._connection.give_way()
        elif message.topic == status_topic(self._options.discovery_prefix):
            self._welcome_home_assistant(message)
        elif self._options.commands and not self._echo.received(message):
            refused = self._commands.take(message)
            if refused is not None:
                message_back = answer(refused.reply_to, refused.correlation, refused.response)
                self._commands.answering(self._connection.publish(message_back))

    def _subscriptions(self) -> tuple[Subscription, ...]:
        """Only these, and never our own root."""
        wanted = [Subscription(self._topics.info)]
        if self._options.commands:
            wanted.append(Subscription(self._topics.commands, as_published=True))
        if self._options.discovery:
            wanted.append(Subscription(status_topic(self._options.discovery_prefix)))
        return tuple(wanted)

    def _know_whether_commands_arrive(self, they_do: bool) -> None:
        """Announce commands, or no longer; an echo may come after all where something was slow."""
        complaint = (
            f"the broker keeps what is sent to {self._topics.commands} from this device: no command can "
            "arrive; check its access rules"
        )
        if they_do:
            self._complaints.drop(complaint)
        else:
            self._complaints.add(complaint)
        if they_do == self._commands_kept:
            self._commands_kept = not they_do
            if self._retained.info is not None:
                self._publish_info(self._retained.info)

    def _purpose(self, topic: str) -> str:
        """What does not work without this subscription."""
        if topic == self._topics.commands:
            return "no command can arrive"
        if topic == self._topics.info:
            return "another device of the same name goes unnoticed"
        return "a restart of Home Assistant goes unnoticed"

    def _publish_all(self) -> None:
        self._connection.publish(self._envelopes.availability(ONLINE))
        self._discovered = None
        if self._retained.info is not None:
            self._publish_info(self._retained.info)
        for message in self._retained.newest():
            self._connection.publish(message)

    def _publish_info(self, info: Info) -> None:
        if self._protocol is not None:
            link = BrokerLink(protocol=self._protocol, note=self._note)
            info = info.model_copy(update={"mqtt": link})
        if self._commands_kept or not self._commands_granted:
            info = info.model_copy(update={"commands": ()})
        self._connection.publish(self._envelopes.info(info))
        self._duplicates.introduced()
        if self._options.discovery:
            config = self._envelopes.discovery(info)
            if config != self._discovered:
                self._connection.publish(config)
                self._discovered = config

    def _welcome_home_assistant(self, message: Incoming) -> None:
        """Once for all births that come while an answer is due, and not more often than `WELCOME_S`."""
        if message.payload != BIRTH.encode() or message.retained or self._closed:
            return
        if self._welcome is not None and self._welcome.is_alive():
            return
        now = time.monotonic()
        self._welcomed_at = max(now + self._birth_pause(), self._welcomed_at + WELCOME_S)
        self._welcome = threading.Timer(self._welcomed_at - now, self._publish_all)
        self._welcome.daemon = True
        self._welcome.start()

    def _send_event(self, event: Report) -> Token | None:
        if isinstance(event, Event):
            return self._connection.publish(self._envelopes.event(event))
        return self._connection.publish(self._envelopes.summary(event))

    def _send_latest(self, kind: str, message: Outgoing) -> None:
        self._retained.keep(kind, message)
        self._connection.publish(message)

    def _await_delivery(self, patience_s: float) -> None:
        """Wait for the last events before the farewell."""
        until = time.monotonic() + patience_s
        while self.connected and not self._courier.idle() and time.monotonic() < until:
            time.sleep(0.01)


class _Complaints:
    """What the broker refuses, each said once in the log, and in `problem` until the next connection."""

    def __init__(self) -> None:
        self._said: set[str] = set()
        self._now: dict[str, None] = {}

    @property
    def problem(self) -> str | None:
        """All of them."""
        return "; ".join(self._now.copy()) or None

    def add(self, sentence: str) -> None:
        """One more, or one that is known."""
        if sentence not in self._said:
            self._said.add(sentence)
            log.warning("MQTT: %s.", sentence)
        self._now[sentence] = None

    def drop(self, sentence: str) -> None:
        """It is no longer true, if it ever was."""
        self._now.pop(sentence, None)

    def clear(self) -> None:
        """A new connection."""
        self._now = {}


class _Retained:
    """The newest info, state, showing and health, for the next connect."""

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

"""A lasting connection to an MQTT broker: one attempt after another, with pauses between them."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from oahega_edge.errors import SettingsError
from oahega_edge.publishers.attempt import Attempt, Ending
from oahega_edge.publishers.broker import BrokerOptions, tls_context
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

LOOPBACK = ("localhost", "127.0.0.1", "::1")
TRYING_AGAIN = "trying again with pauses."
"""End of the sentences that say why there is no connection."""


class Receiver(Protocol):
    """Takes the events of a connection, on the network thread: none of these may wait."""

    def subscribed(self, refused: Mapping[str, str]) -> None:
        """The broker answered the subscriptions, just before `up`; `refused`: topics, and its reasons."""
        ...

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """The broker accepted us; what is sent from here goes first."""
        ...

    def down(self) -> None:
        """The connection is gone; what was not acknowledged must be sent again."""
        ...

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """The broker took the message over, or the sentence that says why not."""
        ...

    def received(self, message: Incoming) -> None:
        """A message of a subscription."""
        ...


@dataclass(frozen=True, slots=True)
class ReconnectPauses:
    """Seconds between attempts: doubled up to a bound, and random, so that devices are not in step."""

    first_s: float = 1.0
    largest_s: float = 60.0
    taken_over_s: float = 30.0
    """First pause after another client took our id."""
    taken_over_largest_s: float = 600.0
    settled_s: float = 10.0
    """A connection that ends sooner counts as one more failure in a row."""
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


class Connection:
    """Keeps one client connected from `start` to `stop`."""

    def __init__(
        self,
        options: BrokerOptions,
        session: Session,
        receiver: Receiver,
        subscriptions: tuple[Subscription, ...] = (),
        pauses: ReconnectPauses | None = None,
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
        self._pauses = pauses or ReconnectPauses()
        self._tls = tls_context(options) if options.uses_tls else None
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mqtt-connect", daemon=True)
        self._lock = threading.Lock()
        self._attempt: Attempt | None = None
        self._number = 0
        self._limits = Limits()
        self._problem: str | None = None
        self._fallback_logged = False
        self._speaks_5 = self._spoke_5 = False
        self._note: str | None = None
        self._ready = False
        self._last_ending: str | None = None

    @property
    def connected(self) -> bool:
        """Whether the broker accepted the connection and it is still up."""
        return self._ready

    @property
    def problem(self) -> str | None:
        """Why it is not connected, in one sentence."""
        return None if self.connected else self._problem

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
        """Leave the client id to another device that has the same one, and come back much later.

        For brokers that do not announce a takeover (mosquitto 2.0.11). Without a connection lost before, the
        ids differ and both devices can stay connected.
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
            self._problem = f"the connection's thread died: {error!r}"
            raise

    def _keep_connected(self) -> None:
        failures = takeovers = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            ending = self._connect_and_stay()
            if ending.kind == "stopped":
                return
            self._last_ending = ending.kind
            lasted = time.monotonic() - began if ending.was_up else 0.0
            failures = 1 if lasted > self._pauses.settled_s else failures + 1
            calm = lasted > self._pauses.taken_over_largest_s
            if ending.kind == "taken-over":
                takeovers = 1 if calm else takeovers + 1
                pause = self._pauses.after_takeover(takeovers)
            else:
                pause = self._pauses.after(failures)
            self._log_problem(ending)
            self._stopping.wait(pause)

    def _connect_and_stay(self) -> Ending:
        """Use MQTT 5 if the broker speaks it: tried first, and again after every 3.1.1 connection."""
        if not self._speaks_5:
            answer = self._attempt_once("5", probe=True)
            if answer.kind in ("stopped", "unreachable", "refused"):
                return answer
            if answer.kind == "silent" and self._spoke_5:  # a bad line, not another version
                return answer
            self._speaks_5 = answer.kind not in ("no-mqtt5", "silent")
            self._note = f"the broker at {self._options.address} refuses MQTT 5 ({answer.reason})"
        if not self._speaks_5:
            return self._attempt_once("3.1.1")
        ending = self._attempt_once("5")
        self._speaks_5 = ending.kind not in ("no-mqtt5", "silent", "refused")
        return ending

    def _attempt_once(self, protocol: ProtocolVersion, probe: bool = False) -> Ending:
        """A probe is a bare CONNECT: amqtt chokes silently on the will and properties of MQTT 5.

        Its answer also says what the broker takes, which the will must keep to.
        """
        with self._lock:
            if self._stopping.is_set():
                return Ending("stopped")
            self._number += 1
            session = None if probe else self._session
            attempt = Attempt(
                self._number,
                protocol,
                self._options,
                session,
                self._tls,
                self._limits if protocol == "5" else Limits(),
                self._subscriptions,
            )
            self._attempt = attempt
        attempt.on_up = lambda: self._came_up(attempt)
        attempt.on_acknowledged = self._receiver.acknowledged
        attempt.on_received = self._receiver.received
        ending = attempt.run()
        attempt.close()
        self._attempt = None
        self._limits = attempt.limits
        self._ready = False
        if ending.was_up:
            self._receiver.down()
        return ending if not self._stopping.is_set() else Ending("stopped", was_up=ending.was_up)

    def _came_up(self, attempt: Attempt) -> None:
        self._spoke_5 |= attempt.protocol == "5"
        note = self._note if attempt.protocol == "3.1.1" else None
        if note is not None and not self._fallback_logged:
            self._fallback_logged = True
            log.warning("MQTT: %s; using 3.1.1, without expiry and properties.", note)
        log.info("MQTT: connected to %s (version %s).", self._options.address, attempt.protocol)
        self._problem = None
        self._receiver.subscribed(attempt.refused_subscriptions)
        # Before the receiver publishes what it keeps: what it is told meanwhile would go with neither.
        self._ready = True
        self._receiver.up(attempt.protocol, note)

    def _log_problem(self, ending: Ending) -> None:
        """Log each new reason once."""
        text = self._sentence(ending)
        if text != self._problem:
            self._problem = text
            log.warning("MQTT: %s", text)

    def _sentence(self, ending: Ending) -> str:
        where = self._options.address
        if ending.kind == "taken-over":
            return (
                f"another client took over the client id {self._options.client_id!r} at {where}: "
                "a cloned SD card? Give each device its own device.name."
            )
        if ending.kind == "refused":
            return f"the broker at {where} refused the connection: {ending.reason}; {TRYING_AGAIN}"
        if ending.kind == "lost":
            return f"the connection to {where} was lost ({ending.reason}); {TRYING_AGAIN}"
        return f"the broker at {where} cannot be reached ({ending.reason}); {TRYING_AGAIN}"

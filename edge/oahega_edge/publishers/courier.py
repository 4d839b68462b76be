"""Delivers events and summaries to the broker in order, each at least once, a few at a time.

The rest waits in the store.

One thread owns the store and the order. The daemon and the network thread only put notes into its inbox, so
neither a slow card nor a slow network holds up the camera.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal, Protocol

from oahega_edge.contract.events import Event
from oahega_edge.contract.summary import IntervalSummary, Report
from oahega_edge.publishers.store import LOWEST, Instant, Store, StoreOptions, Waiting
from oahega_edge.publishers.wire import Token

WINDOW = 8
"""Most events in flight; few, because the rest can still be marked, trimmed or kept over a restart."""
TRIM_INTERVAL_S = 5.0
LATE_S = 2.0
"""An event that waited longer behind others is marked as delayed although the connection stood."""


@dataclass(frozen=True, slots=True)
class _Acknowledged:
    token: Token
    refusal: str | None


_Note = Report | _Acknowledged | Literal["up", "down", "stop"]


@dataclass(frozen=True, slots=True)
class CourierStatistics:
    """Counted since the start."""

    taken: int = 0
    """Events that the courier's thread has seen."""
    accepted: int = 0
    published: int = 0
    refused: int = 0
    queued: int = 0
    dropped: int = 0
    place: Literal["disk", "memory", "none"] = "none"
    problem: str | None = None
    dropped_reason: str | None = None


class Sender(Protocol):
    """Sends one event or summary."""

    def __call__(self, event: Report) -> Token | None:
        """None when not connected."""
        ...


class Courier:
    """Carries each event from `offer` to the broker's acknowledgement."""

    def __init__(self, options: StoreOptions, send: Sender, clock: Callable[[], Instant]) -> None:
        self._options = options
        self._send = send
        self._clock = clock
        self._inbox: queue.SimpleQueue[_Note] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="mqtt-courier", daemon=True)
        self._offered = self._overflow = 0
        self._statistics = CourierStatistics()

    def start(self) -> None:
        """Open the store and begin."""
        self._thread.start()

    def stop(self) -> None:
        """Commit what waits and end."""
        self._inbox.put("stop")
        if self._thread.is_alive():
            self._thread.join(10.0)

    def offer(self, event: Report) -> None:
        """Accept an event or a summary. Never waits."""
        if self._inbox.qsize() > self._options.max_events:  # the card has been stuck for long
            self._overflow += 1
            return
        self._offered += 1
        self._inbox.put(event)

    def up(self) -> None:
        """The connection is up."""
        self._inbox.put("up")

    def down(self) -> None:
        """The connection is gone, and with it every acknowledgement that has not come."""
        self._inbox.put("down")

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """The broker took a message over, perhaps not one of ours."""
        self._inbox.put(_Acknowledged(token, refusal))

    def idle(self) -> bool:
        """Whether no event waits, neither here nor in the store."""
        now = self._statistics
        return now.taken == self._offered and now.queued == 0

    def statistics(self) -> CourierStatistics:
        """As of the last turn of the courier's thread."""
        return self._statistics

    def _run(self) -> None:
        try:
            self._work()
        except Exception as error:
            self._statistics = replace(self._statistics, problem=f"the courier of the events died: {error!r}")
            raise

    def _work(self) -> None:
        delivery = _Delivery(self._options, self._send, self._clock)
        pause: float | None = 0.0
        running = True
        while running:
            for note in self._notes(pause):
                if note == "stop":
                    running = False
                else:
                    delivery.take(note)
            pause = delivery.advance()
            self._statistics = delivery.statistics(self._overflow)
        delivery.close()
        self._statistics = delivery.statistics(self._overflow)

    def _notes(self, pause: float | None) -> list[_Note]:
        """All notes in the inbox; waits for the first."""
        notes: list[_Note] = []
        try:
            notes.append(self._inbox.get(timeout=pause) if pause != 0 else self._inbox.get_nowait())
            while len(notes) < 1000:
                notes.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return notes


class _Delivery:
    """The delivery itself, without the thread."""

    def __init__(self, options: StoreOptions, send: Sender, clock: Callable[[], Instant]) -> None:
        self._store = Store(options, clock)
        self._options = options
        self._send = send
        self._clock = clock
        self._fresh: dict[int, Waiting] = {}
        """Not in the store yet; every key is higher than those in the store."""
        self._in_flight: dict[Token, int] = {}
        self._arrived: set[int] = set()
        """Acknowledged, still to be deleted from the store."""
        self._ahead: deque[Waiting] = deque()
        """Read from the store, to be sent next."""
        self._connected = False
        self._next_key = self._store.last_key() + 1
        self._missed_up_to = self._next_key - 1
        self._sent_up_to = LOWEST
        self._openings = self._store.openings
        self._trimmed_at = float("-inf")
        self._taken = self._accepted = self._published = self._refused = self._dropped = 0

    def take(self, note: _Note) -> None:
        """One note from the inbox."""
        if isinstance(note, Event | IntervalSummary):
            self._take_event(note)
        elif isinstance(note, _Acknowledged):
            self._take_acknowledgement(note)
        elif note == "up":
            self._connected = True
            self._missed_up_to = self._next_key - 1
        elif note == "down":
            self._connected = False
            self._in_flight.clear()
            self._read_again()
            if self._options.policy == "none":
                self._dropped += len(self._fresh)
                self._fresh.clear()

    def advance(self) -> float | None:
        """Send, commit, sync and trim what is due; seconds until something will be due, None for never."""
        self._accepted += self._store.tend()
        if self._openings != self._store.openings:
            self._openings = self._store.openings
            self._read_again()
        self._send_some()
        self._commit_some()
        self._trim()
        self._store.sync()
        if self._fresh and self._options.policy != "none":
            return self._options.commit_interval_s
        return self._options.sync_interval_s if len(self._store) or self._arrived else None

    def close(self) -> None:
        """Everything that is left goes into the store, unless the policy keeps nothing."""
        if self._options.policy == "none":
            self._dropped += len(self._fresh)
        else:
            self._commit(list(self._fresh.values()))
        self._forget_arrived()
        self._store.close()

    def statistics(self, overflow: int) -> CourierStatistics:
        """The counters now."""
        return CourierStatistics(
            taken=self._taken,
            accepted=self._accepted,
            published=self._published,
            refused=self._refused,
            queued=max(0, len(self._store) - len(self._arrived)) + len(self._fresh),
            dropped=self._dropped + self._store.dropped + self._refused + overflow,
            place=self._store.place,
            problem=self._store.problem or self._store.damage,
            dropped_reason=self._dropped_reason(overflow),
        )

    def _dropped_reason(self, overflow: int) -> str | None:
        """The store's word first: it knows what was lost and not only refused."""
        if self._store.reason is not None:
            return self._store.reason
        if self._refused:
            return f"{self._refused} events were refused by the broker: check its access rules."
        if self._dropped:
            return f"{self._dropped} events were given up: store.policy = none keeps none for later."
        return f"{overflow} events were given up: the disk takes too long." if overflow else None

    def _read_again(self) -> None:
        """From the beginning: the store has events that were not sent, or are not known to have arrived."""
        self._ahead.clear()
        self._sent_up_to = LOWEST

    def _take_event(self, event: Report) -> None:
        self._taken += 1
        if self._options.policy == "none" and not self._connected:
            self._dropped += 1
            return
        self._fresh[self._next_key] = Waiting(self._next_key, event, self._clock())
        self._next_key += 1

    def _take_acknowledgement(self, note: _Acknowledged) -> None:
        key = self._in_flight.pop(note.token, None)
        if key is None:
            return
        if self._fresh.pop(key, None) is None:
            self._arrived.add(key)
        elif note.refusal is None:
            self._accepted += 1
        if note.refusal is None:
            self._published += 1
        else:
            self._refused += 1

    def _send_some(self) -> None:
        while self._connected and len(self._in_flight) < WINDOW:
            waiting = self._next_to_send()
            if waiting is None:
                return
            token = self._send(self._marked(waiting))
            if token is None:  # `down` is in the inbox
                return
            self._in_flight[token] = waiting.key
            self._sent_up_to = waiting.key
            if self._ahead and self._ahead[0] is waiting:
                self._ahead.popleft()

    def _next_to_send(self) -> Waiting | None:
        while not self._ahead and len(self._store) > len(self._arrived):
            found = self._store.after(self._sent_up_to, 4 * WINDOW)
            if not found:
                break
            busy = self._on_their_way()
            self._ahead.extend(each for each in found if each.key not in busy)
            if not self._ahead:
                self._sent_up_to = found[-1].key
        if self._ahead:
            return self._ahead[0]
        sent = self._in_flight.values()
        return next(
            (each for key, each in self._fresh.items() if key > self._sent_up_to and key not in sent), None
        )

    def _marked(self, waiting: Waiting) -> Report:
        waited = self._clock().since(waiting.since)
        late = waiting.key <= self._missed_up_to or waited >= LATE_S
        return waiting.event.waited(round(waited * 1000)) if late else waiting.event

    def _commit_some(self) -> None:
        """What has waited for the commit interval goes into the store, all in one transaction."""
        if self._options.policy != "none" and self._fresh:
            now = self._clock()
            oldest = next(iter(self._fresh.values()))
            if now.since(oldest.since) >= self._options.commit_interval_s:
                self._commit(list(self._fresh.values()))
        if self._arrived and (not self._in_flight or len(self._arrived) >= 64):
            self._forget_arrived()

    def _commit(self, events: list[Waiting]) -> None:
        if events:
            self._accepted += self._store.append(events, self._on_their_way())
            self._fresh.clear()

    def _forget_arrived(self) -> None:
        """Remove delivered events; those that were only in memory count as accepted now."""
        self._accepted += self._store.remove(self._arrived)
        self._arrived.clear()

    def _trim(self) -> None:
        now = self._clock().steady
        if len(self._store) > self._options.max_events or now - self._trimmed_at >= TRIM_INTERVAL_S:
            self._trimmed_at = now
            self._store.trim(self._on_their_way())

    def _on_their_way(self) -> set[int]:
        """Keys that must not be dropped: in flight, next to be sent, or already delivered."""
        return {*self._in_flight.values(), *self._arrived, *(each.key for each in self._ahead)}

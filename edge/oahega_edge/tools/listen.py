"""A subscriber that shows what arrives: for `oahega-edge listen`, and for the demo's live table."""

from __future__ import annotations

import json
import logging
import queue
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Literal, Protocol, Self, TextIO

from pydantic import ValidationError

from oahega_edge.contract.complaint import complaint
from oahega_edge.contract.events import Event
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.publishers.connection import Connection, ReconnectPauses
from oahega_edge.publishers.jsonlines import plain_line
from oahega_edge.publishers.wire import Incoming, ProtocolVersion, Session, Subscription, Token

log = logging.getLogger(__name__)

Kind = Literal["event", "state", "info", "health", "availability"]
KINDS: tuple[Kind, ...] = ("event", "state", "info", "health", "availability")
REMEMBERED_IDS = 10_000


@dataclass(frozen=True, slots=True)
class Received:
    """One message of one device."""

    device: str
    kind: Kind
    payload: str
    retained: bool = False
    event: Event | None = None
    """For kind `event`."""


class Listener:
    """Subscribes to one device, or to all of them, as long as the context lasts."""

    def __init__(
        self,
        broker: BrokerOptions,
        root: str = "oahega/v1",
        device: str = "+",
        kinds: tuple[Kind, ...] = ("event", "availability"),
        pauses: ReconnectPauses | None = None,
    ) -> None:
        """Raises SettingsError when certificates cannot be used; an absent broker is waited for."""
        self._root = root
        self._inbox: queue.SimpleQueue[Received] = queue.SimpleQueue()
        self._seen: dict[str, None] = {}
        self.was_connected = False
        """The broker has let us in at least once."""
        self.rejected = 0
        """Messages that do not fit the contract."""
        topics = tuple(Subscription(f"{root}/{device}/{kind}") for kind in kinds)
        self._connection = Connection(broker, Session(), self, topics, pauses)

    @property
    def connected(self) -> bool:
        """The broker accepted us."""
        return self._connection.connected

    @property
    def problem(self) -> str | None:
        """Why it is not connected."""
        return self._connection.problem

    def __enter__(self) -> Self:
        self._connection.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._connection.stop(None)

    def next(self, timeout: float) -> Received | None:
        """The next message, None when none came in time."""
        try:
            return self._inbox.get(timeout=timeout)
        except queue.Empty:
            return None

    # What the connection tells, from its thread.

    def subscribed(self, refused: Mapping[str, str]) -> None:
        """What cannot be read never arrives."""
        for topic, reason in refused.items():
            log.warning("The broker refuses to let us read %s (%s); check its access rules.", topic, reason)

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """The subscriptions were answered before this."""
        self.was_connected = True

    def down(self) -> None:
        """The connection comes back by itself."""

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """Nothing is sent."""

    def received(self, message: Incoming) -> None:
        """Into the queue, unless it is a second copy."""
        received = self._read(message)
        if received is None:
            self.rejected += 1
        elif received.event is None or self._is_new(received.event.id):
            self._inbox.put(received)

    def _read(self, message: Incoming) -> Received | None:
        device, _, kind = message.topic.removeprefix(f"{self._root}/").partition("/")
        if kind not in KINDS:
            return None
        try:
            text = message.payload.decode()
            event = Event.model_validate_json(text) if kind == "event" else None
        except (UnicodeDecodeError, ValidationError) as error:
            log.warning("A message on %s does not fit the contract: %s", message.topic, complaint(error))
            return None
        return Received(device, kind, text, message.retained, event)

    def _is_new(self, event_id: str) -> bool:
        """QoS 1 delivers at least once; the id tells a copy."""
        if event_id in self._seen:
            return False
        self._seen[event_id] = None
        if len(self._seen) > REMEMBERED_IDS:
            del self._seen[next(iter(self._seen))]
        return True


@dataclass(slots=True)
class Summary:
    """What was received until now."""

    events: int = 0
    delayed: int = 0
    tracks: dict[tuple[str, str, str], Counter[str]] = field(default_factory=dict)
    """By device, boot id and track: how often each emotion was said."""
    latency_ms: list[float] = field(default_factory=list)

    def add(self, event: Event) -> None:
        """Count one more."""
        self.events += 1
        self.delayed += event.delayed
        self.latency_ms.append(event.latency_ms)
        self.tracks.setdefault((event.device, event.boot_id, event.track), Counter())[event.emotion] += 1

    def sentences(self) -> Iterator[str]:
        """For people."""
        late = f", {self.delayed} of them delayed" if self.delayed else ""
        yield f"{self.events} events of {len(self.tracks)} faces{late}."
        for (device, _, track), emotions in self.tracks.items():
            said = ", ".join(f"{emotion} {count}" for emotion, count in emotions.most_common())
            yield f"  {device}, face {track}: {said}"
        if self.latency_ms:
            middle = sorted(self.latency_ms)[len(self.latency_ms) // 2]
            yield f"  From the picture to the decision: {middle:.0f} ms (median)."


class View(Protocol):
    """Shows messages as they arrive."""

    def __enter__(self) -> Self:
        """Take the screen."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Give it back."""
        ...

    def show(self, received: Received) -> None:
        """One message."""
        ...


class _LineView:
    """One line per message."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def _line(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


class JsonLinesView(_LineView):
    """For machines: events as they came, other messages wrapped with device and kind."""

    def show(self, received: Received) -> None:
        """One JSON object per line."""
        if received.event is not None:
            self._line(received.payload)
        else:
            content: Any = received.payload
            if received.kind != "availability":
                content = json.loads(received.payload)
            self._line(json.dumps({"device": received.device, received.kind: content}))


class PlainView(_LineView):
    """For people, without any package."""

    def show(self, received: Received) -> None:
        """One short line."""
        event = received.event
        if event is None:
            self._line(f"{received.device:<14} {received.kind} {received.payload[:200]}")
            return
        self._line(plain_line(event))


class TableView:
    """For people, with rich: the faces and what was last said of each, kept up to date."""

    def __init__(self, stream: TextIO, rows: int = 12) -> None:
        """Raises ImportError where rich is not installed."""
        from rich.console import Console
        from rich.live import Live

        self._rows = rows
        self._latest: dict[tuple[str, str, str], tuple[Event, int]] = {}
        self._availability: dict[str, str] = {}
        self._live = Live(console=Console(file=stream), get_renderable=self._table, auto_refresh=False)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, received: Received) -> None:
        """Draw anew."""
        if received.kind == "availability":
            self._availability[received.device] = received.payload
        elif received.event is not None:
            event = received.event
            key = (event.device, event.boot_id, event.track)
            _, count = self._latest.pop(key, (event, 0))
            self._latest[key] = event, count + 1
        self._live.refresh()

    def _table(self) -> Any:
        """Fits 80 columns; the name of a device may be cut off."""
        from rich.box import SIMPLE_HEAD
        from rich.table import Table

        devices = ", ".join(f"{device} {word}" for device, word in self._availability.items())
        table = Table(title=devices or None, box=SIMPLE_HEAD)
        for name in ("time", "device", "face", "phase", "emotion", "confidence", "events"):
            table.add_column(name, justify="right" if name == "events" else "left", no_wrap=True)
        for event, count in list(self._latest.values())[-self._rows :]:
            table.add_row(
                f"{event.time:%H:%M:%S}",
                event.device,
                event.track,
                event.phase,
                event.emotion,
                f"{event.confidence:4.0%} {'█' * round(event.confidence * 5)}",
                str(count),
            )
        return table


def view_for(stream: TextIO, *, lines_for_machines: bool) -> View:
    """JSON in a pipe; on a terminal a table, or plain lines where rich is not installed."""
    if lines_for_machines or not stream.isatty():
        return JsonLinesView(stream)
    try:
        return TableView(stream)
    except ImportError:
        return PlainView(stream)


def listen(
    listener: Listener,
    view: View,
    *,
    enough: Callable[[Summary], bool] = lambda summary: False,
    seconds: float | None = None,
) -> Summary:
    """Show what arrives until it is enough, the time is over or the user presses Ctrl-C."""
    summary = Summary()
    until = None if seconds is None else time.monotonic() + seconds
    with view:
        try:
            while not enough(summary) and (until is None or time.monotonic() < until):
                received = listener.next(timeout=0.2)
                if received is None:
                    continue
                view.show(received)
                if received.event is not None:
                    summary.add(received.event)
        except KeyboardInterrupt:
            pass
    return summary

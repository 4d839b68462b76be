"""A publisher for tests: keeps what it was given, and commands can be put in by hand."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Delivery, Health, Info, Response, Showing, State
from oahega_edge.contract.summary import IntervalSummary
from oahega_edge.publishers.port import Command


class RecordingPublisher:
    """Everything that was published lies in its lists, oldest first."""

    def __init__(self) -> None:
        self.connected = False
        self.events: list[Event] = []
        self.summaries: list[IntervalSummary] = []
        self.states: list[State] = []
        self.showings: list[Showing] = []
        self.healths: list[Health] = []
        self.infos: list[Info] = []
        self.responses: list[tuple[Command, Response]] = []
        self._waiting: list[Command] = []

    def __enter__(self) -> Self:
        self.connected = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        self.connected = False

    def send_command(self, command: Command) -> None:
        """As if it had come from the broker."""
        self._waiting.append(command)

    def publish(self, event: Event) -> None:
        """Kept in `events`."""
        self.events.append(event)

    def summary(self, summary: IntervalSummary) -> None:
        """Kept in `summaries`."""
        self.summaries.append(summary)

    def state(self, state: State) -> None:
        """Kept in `states`."""
        self.states.append(state)

    def showing(self, showing: Showing) -> None:
        """Kept in `showings`."""
        self.showings.append(showing)

    def health(self, health: Health) -> None:
        """Kept in `healths`."""
        self.healths.append(health)

    def info(self, info: Info) -> None:
        """Kept in `infos`."""
        self.infos.append(info)

    def commands(self) -> list[Command]:
        """What `send_command` put in since the last call."""
        waiting, self._waiting = self._waiting, []
        return waiting

    def respond(self, command: Command, response: Response) -> None:
        """Kept in `responses`."""
        self.responses.append((command, response))

    def statistics(self) -> Delivery:
        """Every event is published."""
        count = len(self.events)
        return Delivery(connected=self.connected, accepted=count, published=count)

"""The publisher port: where events and messages go, and where commands come from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import CommandName, Delivery, Health, Info, Response, Showing, State
from oahega_edge.contract.summary import IntervalSummary


@dataclass(frozen=True, slots=True)
class Command:
    """A command that passed every check; the daemon executes and answers it."""

    name: CommandName
    settings: Mapping[str, int | float] = field(default_factory=dict)
    """For `set`: `smoothing.frames`, `trigger.threshold` or both."""
    transaction: str | None = None
    reply_to: str | None = None
    """The topic that the sender asked for, already known to be allowed."""
    correlation: bytes | None = None

    def done(self, data: Mapping[str, object] | None = None) -> Response:
        """The answer after it was executed."""
        return Response(
            command=self.name,
            status="ok",
            data=None if data is None else dict(data),
            transaction=self.transaction,
        )

    def refused(self, reason: str) -> Response:
        """The answer that gives the reason why nothing was changed."""
        return Response(command=self.name, status="error", error=reason, transaction=self.transaction)


class Publisher(Protocol):
    """Publishes events and messages. No method waits for the network."""

    @property
    def connected(self) -> bool:
        """Whether messages can be sent now; a refused connection does not count."""
        ...

    def __enter__(self) -> Self:
        """Start; an absent broker is not an error."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Send the farewell and stop, within a few seconds; may be called twice."""
        ...

    def publish(self, event: Event) -> None:
        """Hand over an event; `statistics` counts what becomes of it."""
        ...

    def summary(self, summary: IntervalSummary) -> None:
        """Hand over a summary; kept and counted like an event."""
        ...

    def state(self, state: State) -> None:
        """Replace the published state."""
        ...

    def showing(self, showing: Showing) -> None:
        """Replace what is published of the screen."""
        ...

    def health(self, health: Health) -> None:
        """Replace the published health."""
        ...

    def info(self, info: Info) -> None:
        """Replace the published description of the device; sent again on every connect."""
        ...

    def commands(self) -> list[Command]:
        """Commands that arrived since the last call, oldest first."""
        ...

    def respond(self, command: Command, response: Response) -> None:
        """Answer a command."""
        ...

    def statistics(self) -> Delivery:
        """Counts of what became of the events so far."""
        ...

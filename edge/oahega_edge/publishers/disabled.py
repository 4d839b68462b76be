"""The publisher that publishes nothing, so that nobody asks whether there is one."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Delivery, Health, Info, Response, State
from oahega_edge.publishers.port import Command


class DisabledPublisher:
    """For `bench` and `check`: everything is taken and forgotten."""

    connected = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def publish(self, event: Event) -> None:
        """Forgotten."""

    def state(self, state: State) -> None:
        """Forgotten."""

    def health(self, health: Health) -> None:
        """Forgotten."""

    def info(self, info: Info) -> None:
        """Forgotten."""

    def commands(self) -> list[Command]:
        """None can arrive."""
        return []

    def respond(self, command: Command, response: Response) -> None:
        """Forgotten."""

    def statistics(self) -> Delivery:
        """Nothing was accepted."""
        return Delivery(connected=False)

"""Events as JSON lines on a stream; the other messages are left out, so that the stream is one table."""

from __future__ import annotations

from types import TracebackType
from typing import Self, TextIO

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Delivery, Health, Info, Response, State
from oahega_edge.errors import PublishError
from oahega_edge.publishers.port import Command


class JsonLinesPublisher:
    """One line per event, flushed, so that a reading program sees it at once."""

    connected = True

    def __init__(self, stream: TextIO) -> None:
        """The stream stays open: it belongs to the caller."""
        self._stream = stream
        self._published = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        pass

    def publish(self, event: Event) -> None:
        """Raises PublishError when the reader has gone."""
        try:
            self._stream.write(event.to_json() + "\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise PublishError(
                f"Writing an event failed ({error}): the program that reads the output has ended."
            ) from error
        self._published += 1

    def state(self, state: State) -> None:
        """Not written."""

    def health(self, health: Health) -> None:
        """Not written."""

    def info(self, info: Info) -> None:
        """Not written."""

    def commands(self) -> list[Command]:
        """None can arrive."""
        return []

    def respond(self, command: Command, response: Response) -> None:
        """Not written: no command arrives here."""

    def statistics(self) -> Delivery:
        """Every written event is published."""
        return Delivery(connected=True, accepted=self._published, published=self._published)

"""Events as lines on a stream: JSON for programs, a short line for people on a terminal.

The other messages are left out, so that the stream is one table.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Delivery, Health, Info, Response, Showing, State
from oahega_edge.contract.summary import IntervalSummary
from oahega_edge.errors import PublishError
from oahega_edge.publishers.port import Command


def lines_for(stream: TextIO, machine: bool = False) -> JsonLinesPublisher:
    """JSON in a pipe, lines for people on a terminal; `machine`: JSON there as well."""
    if machine or not stream.isatty():
        return JsonLinesPublisher(stream)
    return JsonLinesPublisher(stream, plain_line, HEADING)


HEADING = "time      device         face   phase  shows      sure  over"


def plain_line(event: Event) -> str:
    """For people."""
    frames = f"{event.frames:>3} frame{'' if event.frames == 1 else 's'}"
    late = f"  ({event.age_ms / 1000:.1f} s late)" if event.delayed else ""
    return (
        f"{event.time:%H:%M:%S}  {event.device:<14} {event.track:<6} {event.phase:<6} "
        f"{event.emotion:<10} {event.confidence:4.0%}  {frames}{late}"
    )


class JsonLinesPublisher:
    """One line per event, flushed, so that a reading program sees it at once."""

    connected = True

    def __init__(
        self, stream: TextIO, line: Callable[[Event], str] = Event.to_json, heading: str = ""
    ) -> None:
        """The stream stays open: it belongs to the caller. The heading stands above the first event."""
        self._stream = stream
        self._line = line
        self._heading = f"{heading}\n" if heading else ""
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
            self._stream.write(f"{self._heading}{self._line(event)}\n")
            self._stream.flush()
        except (OSError, ValueError) as error:
            raise PublishError(
                f"Writing an event failed ({error}): the program that reads the output has ended."
            ) from error
        self._heading = ""
        self._published += 1

    def summary(self, summary: IntervalSummary) -> None:
        """Not written."""

    def state(self, state: State) -> None:
        """Not written."""

    def showing(self, showing: Showing) -> None:
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

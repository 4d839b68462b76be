"""A publisher that also tells the local feed, and takes settings from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Protocol, Self

from pydantic import ValidationError

from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step
from oahega_edge.contract.complaint import complaint
from oahega_edge.contract.events import Event
from oahega_edge.contract.messages import Delivery, Health, Info, Response, SetCommand, Showing, State
from oahega_edge.contract.summary import IntervalSummary
from oahega_edge.feed.mounting import Mounting, picture
from oahega_edge.feed.sight import describe
from oahega_edge.feed.socket import FeedSocket
from oahega_edge.publishers.port import Command, Publisher

log = logging.getLogger(__name__)

SIGHT_EVERY = 0.2
"""Seconds between two descriptions of what the camera sees."""


class Onlooker(Protocol):
    """Is shown every frame after the chain has seen it."""

    def saw(self, frame: Frame, step: Step) -> None:
        """Must return at once."""
        ...


class NoOnlooker:
    """Used while there is no feed."""

    def saw(self, frame: Frame, step: Step) -> None:
        """Ignored."""


class FedPublisher:
    """Hands everything to the publisher inside and to the feed."""

    def __init__(
        self,
        inner: Publisher,
        feed: FeedSocket,
        *,
        mounting: Mounting,
        least_px: float,
        clock: Callable[[], float],
        masks: Sequence[Box] = (),
    ) -> None:
        """`least_px`: height from which a face is read; `clock`: monotonic seconds."""
        self._mounting = mounting
        self._masks = masks
        self._inner = inner
        self._feed = feed
        self._least_px = least_px
        self._clock = clock
        self._shown = float("-inf")
        self._own: list[Command] = []

    @property
    def connected(self) -> bool:
        """Of the publisher inside."""
        return self._inner.connected

    def __enter__(self) -> Self:
        self._feed.__enter__()
        self._inner.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        try:
            self._inner.__exit__(kind, error, trace)
        finally:
            self._feed.__exit__(kind, error, trace)

    def saw(self, frame: Frame, step: Step) -> None:
        """Describe the frame, now and then, while anybody listens."""
        now = self._clock()
        if self._feed.is_heard and now - self._shown >= SIGHT_EVERY:
            self._shown = now
            image = picture(frame, self._masks) if self._mounting.is_open else None
            if image is not None:
                self._feed.send("picture", json.dumps(image))
            sight = describe(frame, step, self._least_px) | {"picture": image is not None}
            self._feed.send("sight", json.dumps(sight))

    def publish(self, event: Event) -> None:
        """Tell the feed first, which does not wait."""
        self._feed.send("event", event.to_json())
        self._inner.publish(event)

    def summary(self, summary: IntervalSummary) -> None:
        """To the publisher inside; the page shows the present."""
        self._inner.summary(summary)

    def state(self, state: State) -> None:
        """Tell both."""
        self._feed.send("state", state.to_json())
        self._inner.state(state)

    def showing(self, showing: Showing) -> None:
        """Tell both."""
        self._feed.send("showing", showing.to_json())
        self._inner.showing(showing)

    def health(self, health: Health) -> None:
        """Tell both."""
        self._feed.send("health", health.to_json())
        self._inner.health(health)

    def info(self, info: Info) -> None:
        """Tell both."""
        self._feed.send("info", info.to_json())
        self._inner.info(info)

    def commands(self) -> list[Command]:
        """Those of the publisher inside, and settings from the feed."""
        self._own = [command for command in map(_command, self._feed.requests()) if command is not None]
        return [*self._inner.commands(), *self._own]

    def respond(self, command: Command, response: Response) -> None:
        """The feed needs no answer: it is told the new info."""
        if not any(command is own for own in self._own):
            self._inner.respond(command, response)

    def statistics(self) -> Delivery:
        """Of the publisher inside."""
        return self._inner.statistics()


def _command(request: Mapping[str, Any]) -> Command | None:
    """A request from the feed, checked as one from MQTT is; None if it is wrong."""
    try:
        settings = SetCommand.model_validate(request.get("set")).settings()
    except ValidationError as error:
        log.warning("a request on the feed is refused: %s", complaint(error))
        return None
    return Command("set", settings) if settings else None

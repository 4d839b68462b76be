"""Publishes what the device sees, what it has seen and how it does, when that is due."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from oahega_edge.chain.pipeline import Step
from oahega_edge.contract.messages import Adjustable, Health, Showing, State
from oahega_edge.contract.summary import SummaryStamp
from oahega_edge.feed.showing import Screen
from oahega_edge.publishers.port import Publisher
from oahega_edge.service.health import Reporter
from oahega_edge.visits.summary import Summary, SummaryTally

_log = logging.getLogger(__name__)


class Metrics(Protocol):
    """Takes each health message, for a monitoring system."""

    def update(self, health: Health) -> None:
        """The newest figures."""
        ...


class NoMetrics:
    """Used while no port is set."""

    def update(self, health: Health) -> None:
        """Ignored."""


class Summaries(Protocol):
    """Sums up the visits that the steps bring."""

    @property
    def made(self) -> int:
        """Summaries that were published."""
        ...

    def saw(self, step: Step) -> None:
        """What one frame brought."""

    def due(self) -> None:
        """Publish the summary of an interval that has ended."""

    def finish(self) -> None:
        """Publish the last one, of an interval that is cut short."""


class NoSummaries:
    """Used while no interval is set."""

    made = 0

    def saw(self, step: Step) -> None:
        """Ignored."""

    def due(self) -> None:
        """Never."""

    def finish(self) -> None:
        """There is none."""


@dataclass(frozen=True, slots=True)
class PublishedSummaries:
    """Hands each summary to the publisher."""

    publisher: Publisher
    tally: SummaryTally
    stamp: SummaryStamp
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], datetime]
    """The present moment in the time zone whose days count."""
    time_synced: Callable[[], bool]
    screen: Screen

    @property
    def made(self) -> int:
        """Those that have a number."""
        return self.stamp.made

    def saw(self, step: Step) -> None:
        """Add its visits and people."""
        self.tally.add(step.visits, max(step.people, len(step.faces)), self.screen.current)

    def due(self) -> None:
        """Publish the summary if its time has come."""
        self._publish(self.tally.due(self.wall(), self.clock()))

    def finish(self) -> None:
        """Publish what is left if it is enough."""
        self._publish(self.tally.last(self.wall(), self.clock()))

    def _publish(self, summary: Summary | None) -> None:
        if summary is not None:
            self.publisher.summary(self.stamp.stamp(summary, time_synced=self.time_synced()))


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the daemon publishes, seconds."""

    health: float
    state: float
    """After which an unchanged state is published again, before it expires at the broker."""
    state_least: float = 0.5
    """Between two changed states."""


@dataclass(slots=True)
class Announcer:
    """Info at once, state and screen when they changed or would expire, health at its interval."""

    publisher: Publisher
    reporter: Reporter
    screen: Screen
    rhythm: Rhythm
    metrics: Metrics = field(default_factory=NoMetrics)
    _state: State | None = None
    _state_at: float = float("-inf")
    _showing: Showing | None = None
    _showing_at: float = float("-inf")
    _health_at: float = float("-inf")

    def info(self, adjustable: Adjustable, volatile: tuple[str, ...], muted: bool) -> None:
        """Publish the description of the device."""
        self.publisher.info(self.reporter.info(adjustable, volatile, muted))

    def due(self, step: Step | None) -> None:
        """Publish the state, the screen and the health if it is time."""
        now = self.reporter.clock()
        self._state_if_due(self.reporter.state(step), now)
        self._showing_if_due(now)
        if now - self._health_at >= self.rhythm.health:
            self._health_at = now
            self.health()

    def health(self) -> None:
        """Publish the health. What cannot be said of the device must not end it."""
        try:
            health = self.reporter.health(self.publisher.statistics())
        except (ValueError, OSError) as error:
            _log.warning("the health message cannot be made (%s)", error)
            return
        self.publisher.health(health)
        self.metrics.update(health)

    def _state_if_due(self, state: State, now: float) -> None:
        changed = self._state is None or _essence(state) != _essence(self._state)
        wait = self.rhythm.state_least if changed else self.rhythm.state
        if now - self._state_at >= wait:
            self._state, self._state_at = state, now
            self.publisher.state(state)

    def _showing_if_due(self, now: float) -> None:
        """A screen that shows nothing is said once and may expire."""
        showing = self.reporter.showing(*self.screen.now)
        changed = showing != self._showing
        if not changed and showing.content is None:
            return
        wait = self.rhythm.state_least if changed else self.rhythm.state
        if now - self._showing_at >= wait:
            self._showing, self._showing_at = showing, now
            self.publisher.showing(showing)


def _essence(state: State) -> tuple[object, ...]:
    """What makes a new state worth publishing."""
    problems = state.mute_problem, state.picture_problem
    return state.emotion, state.faces, state.people, state.camera, problems

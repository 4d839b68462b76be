"""The loop: read a frame, process it, hand events over, say that all is well."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from oahega_edge.cameras.picture_quality import FrameWatch, Problem
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.trigger import Decision
from oahega_edge.contract.events import EventStamp
from oahega_edge.contract.messages import Adjustable, State
from oahega_edge.errors import CameraStalled, EdgeError, EndOfSource
from oahega_edge.publishers.port import Command, Publisher
from oahega_edge.service.engines import Engines
from oahega_edge.service.health import CameraState, Reporter
from oahega_edge.service.metrics import Metrics, NoMetrics
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.service.supervisor import Supervisor

_log = logging.getLogger(__name__)


class Recovery(Protocol):
    """What a camera that comes back by itself tells and takes; `cameras/recovering.py`."""

    stalls: int
    reopens: int

    def reopen(self, reason: str) -> None:
        """Distrust the camera although it delivers."""
        ...


class NoRecovery:
    """A file: it has no driver that could be asked again."""

    stalls = 0
    reopens = 0

    def reopen(self, reason: str) -> None:
        """Nothing to reopen."""


TURN = 0.5
"""Seconds that one turn of the loop waits at most, so that stop, mute and commands are prompt."""
FRESH_S = 2.0
"""Seconds that a camera gets for another picture: one that was just opened may show its last buffer first."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How often the daemon speaks, seconds."""

    health: float
    state: float
    """An unchanged state is said again, before it expires at the broker."""
    state_least: float = 0.5
    """Between two changed states."""


@dataclass(slots=True)
class Daemon:
    """One camera's service. All collaborators are passed in; `run` is called once, from the main thread."""

    camera: Camera
    engines: Engines
    stamp: EventStamp
    publisher: Publisher
    supervisor: Supervisor
    mute: MuteSwitch
    reporter: Reporter
    rhythm: Rhythm
    stop: threading.Event
    time_synced: Callable[[], bool]
    recovery: Recovery = field(default_factory=NoRecovery)
    metrics: Metrics = field(default_factory=NoMetrics)
    frame_watch: FrameWatch = field(default_factory=FrameWatch)
    _sequence: int = -1
    _problems: frozenset[Problem] = frozenset()
    _frozen_since: float | None = None
    """The first frozen picture since the camera was opened."""
    _volatile: dict[str, int | float] = field(default_factory=dict)
    """Settings changed by a command, by their key; they outlive a change of bundle, not a restart."""
    _step: Step | None = None
    _said: State | None = None
    _said_at: float = float("-inf")
    _health_at: float = float("-inf")
    _ready: bool = False

    def run(self) -> None:
        """Until `stop` is set or a file source ends. Raises CameraError when the camera is gone for good."""
        try:
            with self.publisher:
                self._say_info()
                while not self.stop.is_set():
                    if self.mute.muted:
                        self._rest()
                    elif not self._watch():
                        break
                self._close_tracks()
        finally:
            self.supervisor.stopping()

    @property
    def adjustable(self) -> Adjustable:
        """The paper's two settings as they are in force."""
        suggested = self.engines.current.adjustable.model_dump(by_alias=True)
        return Adjustable.model_validate(suggested | self._volatile)

    def snapshot(self) -> dict[str, object]:
        """State and delivery for the control socket; may be called from another thread."""
        state = self.reporter.state(self._step)
        return {
            "state": state.model_dump(mode="json", by_alias=True),
            "bundle": self.engines.current.bundle.model_dump(mode="json"),
            "bundle_problem": self.engines.problem,
            "delivery": self.publisher.statistics().model_dump(mode="json"),
            "accelerator": self.engines.current.accelerator().model_dump(mode="json"),
            "events": self.reporter.events,
            "settings": self.adjustable.model_dump(mode="json", by_alias=True),
        }

    def _watch(self) -> bool:
        """Frames until stop or mute; False when the source has ended."""
        self._enter("absent")
        with self.camera as camera:
            while not (self.stop.is_set() or self.mute.muted):
                try:
                    frame = camera.read(TURN)
                except CameraStalled as stalled:
                    self._without_picture(stalled)
                except EndOfSource:
                    return False
                else:
                    self._see(frame)
                self._turn()
        return True

    def _rest(self) -> None:
        """Muted: the camera is closed, the device still answers."""
        if self.reporter.camera.state != "muted":
            self._close_tracks()
            self._enter("muted")
            self._say_info()
        self._declared("muted: the camera is closed")
        self._turn()
        self.stop.wait(TURN)
        if not self.mute.muted:
            self._enter("absent")
            self._say_info()

    def _see(self, frame: Frame) -> None:
        counts, clock = self.reporter.camera, self.reporter.clock
        started = clock()
        self._enter("live")
        counts.frames += 1
        counts.dropped += max(0, frame.sequence - self._sequence - 1)
        self._sequence = frame.sequence
        if self._is_broken(frame, started):
            return
        self._step = self._process(frame)
        exposed = frame.captured_at if self.camera.live else started
        for decision in self._step.decisions:
            self._publish(decision, exposed)
        self._declared(f"{len(self._step.faces)} faces, {self._step.people} people")

    def _process(self, frame: Frame) -> Step:
        """Through the bundle at work; one that fails on trial gives way to the one before."""
        try:
            return self.engines.current.pipeline.process(frame)
        except (EdgeError, ValueError) as error:
            if not self.engines.failed(error):
                raise
            self._adopt()
            return self.engines.current.pipeline.process(frame)

    def _adopt(self) -> None:
        """Another bundle is at work."""
        engine = self.reporter.engine = self.engines.current
        self.stamp.use(engine.bundle)
        self._step = None
        engine.pipeline.adjust(frames=self.adjustable.frames, threshold=self.adjustable.threshold)
        self._say_info()

    def _is_broken(self, frame: Frame, now: float) -> bool:
        """A frozen or torn picture of a live camera shows nobody's face as it is now."""
        if not self.camera.live:
            return False
        problems = self.frame_watch.see(frame, now)
        for problem in sorted(problems - self._problems):
            _log.warning("camera: the picture is %s", problem)
        for problem in sorted(self._problems - problems):
            _log.info("camera: the picture is no longer %s", problem)
        self._problems = problems
        if Problem.FROZEN in problems:
            self._close_tracks()
            self._distrust(now)
        else:
            self._frozen_since = None
        if not problems & {Problem.FROZEN, Problem.TORN}:
            return False
        self._declared(f"the camera's picture is {' and '.join(sorted(problems))}")
        return True

    def _distrust(self, now: float) -> None:
        """Have a camera opened again that shows nothing but one picture."""
        if self._frozen_since is None:
            self._frozen_since = now
        elif now - self._frozen_since >= FRESH_S:
            self._frozen_since = None
            self.recovery.reopen("the picture is frozen")

    def _without_picture(self, reason: CameraStalled) -> None:
        if self.reporter.camera.state != "stalled":
            _log.warning("no picture: %s", reason)
            self._close_tracks()
        self._frozen_since = None
        self._enter("stalled")
        self._declared(f"waiting for the camera: {reason}")

    def _enter(self, state: CameraState) -> None:
        """Log the camera's transitions, once each."""
        before = self.reporter.camera.state
        if state == before:
            return
        self.reporter.camera.state = state
        if state != "absent":
            _log.info("camera: %s", state)

    def _publish(self, decision: Decision, exposed: float) -> None:
        accelerator = self.engines.current.accelerator()
        event = self.stamp.stamp(
            decision,
            latency_ms=(self.reporter.clock() - exposed) * 1000,
            accelerator=accelerator.active,
            degraded=accelerator.degraded,
            time_synced=self.time_synced(),
        )
        self.reporter.event_made()
        self.publisher.publish(event)

    def _close_tracks(self) -> None:
        """The last word on every face in view."""
        self._step = None
        for decision in self.engines.current.pipeline.finish():
            self._publish(decision, self.reporter.clock())

    def _declared(self, status: str) -> None:
        """A frame went through, or a state holds in which none can: ready, and alive."""
        if not self._ready:
            self.supervisor.ready()
            self._ready = True
        self.supervisor.status(status)
        self.supervisor.alive()

    def _turn(self) -> None:
        """What is due besides frames."""
        for command in self.publisher.commands():
            self._obey(command)
        before = self.engines.current
        if self.engines.look():
            for decision in before.pipeline.finish():
                self._publish(decision, self.reporter.clock())
            self._adopt()
        counts = self.reporter.camera
        counts.stalls, counts.reopens = self.recovery.stalls, self.recovery.reopens
        now = self.reporter.clock()
        self._say_state(now)
        if now - self._health_at >= self.rhythm.health:
            self._health_at = now
            health = self.reporter.health(self.publisher.statistics(), self.engines.problem)
            self.publisher.health(health)
            self.metrics.update(health)

    def _say_state(self, now: float) -> None:
        state = self.reporter.state(self._step)
        changed = self._said is None or _seen(state) != _seen(self._said)
        wait = self.rhythm.state_least if changed else self.rhythm.state
        if now - self._said_at >= wait:
            self._said, self._said_at = state, now
            self.publisher.state(state)

    def _say_info(self) -> None:
        volatile = tuple(sorted(self._volatile))
        self.publisher.info(self.reporter.info(self.adjustable, volatile, self.mute.muted))

    def _obey(self, command: Command) -> None:
        """Do what a checked command asks, and answer it."""
        _log.info("command %s %s", command.name, dict(command.settings) or "")
        match command.name:
            case "set":
                self._set(command)
            case "mute":
                self.mute.mute()
                self.publisher.respond(command, command.done({"muted": True}))
            case "unmute":
                self.mute.unmute()
                self.publisher.respond(command, command.done({"muted": False}))
            case "snapshot-state":
                state = self.reporter.state(self._step)
                self.publisher.state(state)
                self.publisher.respond(command, command.done(state.model_dump(mode="json", by_alias=True)))
            case "restart":
                self.publisher.respond(command, command.done())
                self.stop.set()

    def _set(self, command: Command) -> None:
        """Change N or the threshold until the next start."""
        self._volatile |= command.settings
        adjustable = self.adjustable
        self.engines.current.pipeline.adjust(frames=adjustable.frames, threshold=adjustable.threshold)
        self._say_info()
        self.publisher.respond(command, command.done(adjustable.model_dump(by_alias=True)))


def _seen(state: State) -> tuple[object, ...]:
    """What a new state is worth saying for."""
    return state.emotion, state.faces, state.people, state.camera

"""The loop: read a frame, process it, hand over its events, keep the watchdog informed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.trigger import Decision
from oahega_edge.contract.events import EventStamp
from oahega_edge.contract.messages import Adjustable
from oahega_edge.drift.keeper import NoWatch, Watch
from oahega_edge.drift.look import Look
from oahega_edge.errors import CameraStalled, EdgeError, EndOfSource, NoFrameYet
from oahega_edge.feed.publisher import NoOnlooker, Onlooker
from oahega_edge.publishers.port import Command, Publisher
from oahega_edge.samples.desk import NoSampling, Sampling
from oahega_edge.service.announcer import Announcer, NoSummaries, Summaries
from oahega_edge.service.engines import Engines
from oahega_edge.service.health import Reporter
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.service.supervisor import Supervisor
from oahega_edge.tuning.session import NoTuning, Tuning

_log = logging.getLogger(__name__)


TURN = 0.5
"""Seconds that one turn of the loop waits at most, so that stop, mute and commands are prompt."""


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
    announcer: Announcer
    stop: threading.Event
    time_synced: Callable[[], bool]
    onlooker: Onlooker = field(default_factory=NoOnlooker)
    summaries: Summaries = field(default_factory=NoSummaries)
    drift: Watch = field(default_factory=NoWatch)
    samples: Sampling = field(default_factory=NoSampling)
    tuning: Tuning = field(default_factory=NoTuning)
    _volatile: dict[str, int | float] = field(default_factory=dict)
    """Settings changed by a command, by their key; they outlive a change of bundle, not a restart."""
    _step: Step | None = None
    _ready: bool = False

    def run(self) -> None:
        """Until `stop` is set or a file source ends. Raises CameraError when the camera is gone for good."""
        try:
            with self.publisher:
                self._publish_info()
                while not self.stop.is_set():
                    if self.mute.muted:
                        self._rest()
                    elif not self._watch():
                        break
                self._close_tracks()
                self.summaries.finish()
                self.announcer.health()  # how many events and summaries there were
                self.drift.keep()
        finally:
            self.supervisor.stopping()

    @property
    def adjustable(self) -> Adjustable:
        """The paper's two settings as they are in force."""
        suggested = self.engines.current.adjustable.model_dump(by_alias=True)
        return Adjustable.model_validate(suggested | self._volatile)

    def snapshot(self) -> dict[str, object]:
        """State and health for the control socket; may be called from another thread."""
        state = self.reporter.state(self._step)
        health = self.reporter.look(self.publisher.statistics())
        return {
            "state": state.model_dump(mode="json", by_alias=True),
            "health": health.model_dump(mode="json", by_alias=True),
            "context": self.reporter.identity.context,
            "bundle": self.engines.current.bundle.model_dump(mode="json"),
            "bundle_problem": self.engines.problem,
            "delivery": health.delivery.model_dump(mode="json"),
            "accelerator": health.accelerator.model_dump(mode="json"),
            "events": self.reporter.events,
            "settings": self.adjustable.model_dump(mode="json", by_alias=True),
        }

    def _watch(self) -> bool:
        """Frames until stop or mute; False when the source has ended."""
        self.reporter.camera.enter("absent")
        with self.camera as camera:
            while not (self.stop.is_set() or self.mute.muted):
                try:
                    frame = camera.read(TURN)
                except NoFrameYet as wait:
                    self._report_alive(f"the next frame is not due: {wait}")
                except CameraStalled as stalled:
                    if not self.mute.muted:
                        self._without_picture(stalled)
                except EndOfSource:
                    return False
                else:
                    self._see(frame)
                self._turn()
        return True

    def _rest(self) -> None:
        """While muted, the camera is closed and the device still answers."""
        if self.reporter.camera.state != "muted":
            self._close_tracks()
            self.reporter.camera.enter("muted")
            self._publish_info()
        self._report_alive("muted: the camera is closed")
        self._turn()
        self.stop.wait(TURN)
        if not self.mute.muted:
            self.reporter.camera.enter("absent")
            self._publish_info()

    def _see(self, frame: Frame) -> None:
        started = self.reporter.clock()
        self.reporter.camera.enter("live")
        self.reporter.camera.saw(frame)
        step = self._process(frame)
        exposed = frame.captured_at if self.camera.live else started
        with self.mute.in_use() as allowed:
            if allowed:
                self._hand_on(frame, step, exposed)

    def _hand_on(self, frame: Frame, step: Step, exposed: float) -> None:
        self._step = step
        for decision in step.decisions:
            self._publish(decision, exposed)
        self.onlooker.saw(frame, step)
        self.samples.saw(frame, step)
        self.tuning.saw(frame, step)
        self.summaries.saw(step)
        if step.looks:
            self._saw(step.looks)
        self._report_alive(f"{len(step.faces)} faces, {step.people} people")

    def _process(self, frame: Frame) -> Step:
        """Process with the bundle in use; one that fails on trial is replaced by the previous one."""
        try:
            return self.engines.current.pipeline.process(frame)
        except (EdgeError, ValueError) as error:
            if not self.engines.failed(error):
                raise
            self._adopt()
            return self.engines.current.pipeline.process(frame)

    def _adopt(self) -> None:
        """Switch to another bundle."""
        engine = self.reporter.engine = self.engines.current
        self.stamp.use(engine.bundle)
        self.drift.use(engine.seen_with, len(engine.labels), engine.reference)
        self.samples.use(engine.emotion, engine.labels, f"{engine.bundle.name} {engine.bundle.version}")
        self.tuning.use(engine.untuned, engine.overlay, engine.read)
        self._step = None
        engine.pipeline.adjust(frames=self.adjustable.frames, threshold=self.adjustable.threshold)
        self._publish_info()

    def _without_picture(self, reason: CameraStalled) -> None:
        if self.reporter.camera.state != "stalled":
            _log.warning("no picture: %s", reason)
            self._close_tracks()
        self.reporter.camera.enter("stalled")
        self._report_alive(f"waiting for the camera: {reason}")

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
        """Publish the last event of every face in view."""
        self._step = None
        self._say_last(self.engines.current.pipeline.finish())

    def _say_last(self, last: Step) -> None:
        for decision in last.decisions:
            self._publish(decision, self.reporter.clock())
        self.summaries.saw(last)
        self._saw(last.looks)

    def _saw(self, looks: Sequence[Look]) -> None:
        self.drift.saw(looks)
        self.engines.saw(looks)

    def _report_alive(self, status: str) -> None:
        """Report ready and alive: after a frame, and in a known state without frames."""
        if not self._ready:
            self.supervisor.ready()
            self._ready = True
        self.supervisor.status(status)
        self.supervisor.alive()

    def _turn(self) -> None:
        """Do what is due besides frames."""
        self.mute.look()
        for command in self.publisher.commands():
            self._obey(command)
        before = self.engines.current.pipeline
        if self.engines.look():
            self._say_last(before.finish())
            self._adopt()
        elif self.engines.problem != self.reporter.bundle_problem:
            self._publish_info()
        with self.mute.in_use():
            self.announcer.due(self._step)
        self.summaries.due()
        self.samples.due()
        self.tuning.due()

    def _publish_info(self) -> None:
        self.reporter.bundle_problem = self.engines.problem
        self.announcer.info(self.adjustable, tuple(sorted(self._volatile)), self.mute.muted)

    def _obey(self, command: Command) -> None:
        """Execute a checked command and answer it."""
        _log.info("command %s %s", command.name, dict(command.settings) or "")
        match command.name:
            case "set":
                self._set(command)
            case "mute":
                self.mute.mute()
                self.publisher.respond(command, command.done(self.mute.answer()))
            case "unmute":
                self.mute.unmute()
                self.publisher.respond(command, command.done(self.mute.answer()))
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
        self._publish_info()
        self.publisher.respond(command, command.done(adjustable.model_dump(by_alias=True)))

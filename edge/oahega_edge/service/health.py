"""The device's own messages: info, state and health, with the figures of the board."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

from pydantic import JsonValue

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step, dominant
from oahega_edge.contract.messages import (
    NONE,
    Adjustable,
    Asked,
    CameraHealth,
    CommandName,
    Delivery,
    Drift,
    DriftFigure,
    Health,
    Info,
    Latency,
    Shadow,
    ShadowSide,
    Showing,
    State,
    System,
)
from oahega_edge.drift.asked import Asked as Found
from oahega_edge.drift.keeper import Report
from oahega_edge.drift.tally import Tally
from oahega_edge.service.engine import Engine
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.shadow.trial import ShadowTrial, Side
from oahega_edge.stopwatch import Stopwatch

_log = logging.getLogger(__name__)

CHANGED = ("confidence", "entropy")
"""Quantities of a face that differ between two classifiers."""
LEAST_RATE_S = 1.0
"""Seconds over which a frame rate is measured at least."""
CameraState = Literal["live", "muted", "stalled", "absent"]


@dataclass(frozen=True, slots=True)
class Identity:
    """What does not change while the daemon runs."""

    device: str
    release: str
    boot_id: str
    started: datetime
    context: str
    settings: Mapping[str, JsonValue]
    commands: tuple[CommandName, ...]


@dataclass(slots=True)
class CameraReport:
    """What happened to the camera since the start."""

    camera: Camera
    expected_fps: float
    state: CameraState = "absent"
    frames: int = 0
    dropped: int = 0
    _sequence: int = -1

    def saw(self, frame: Frame) -> None:
        """Count a frame, and those that were dropped before it."""
        self.frames += 1
        self.dropped += max(0, frame.sequence - self._sequence - 1)
        self._sequence = frame.sequence

    def enter(self, state: CameraState) -> None:
        """Log a transition, once."""
        if state not in (self.state, "absent"):
            _log.info("camera: %s", state)
        self.state = state

    def health(self, fps: float) -> CameraHealth:
        """For the health message."""
        return CameraHealth(
            state=self.state,
            fps=fps,
            expected_fps=self.expected_fps,
            dropped=self.dropped,
            stalls=self.camera.stalls,
            reopens=self.camera.reopens,
            left_out=self.camera.left_out,
            picture_problem=self.camera.picture_problem,
        )


@dataclass(slots=True)
class Reporter:
    """Makes the messages; remembers what the last health message has already counted."""

    identity: Identity
    engine: Engine
    """The one in use."""
    clock: Callable[[], float]
    """Monotonic seconds."""
    wall: Callable[[], datetime]
    watch: Stopwatch
    camera: CameraReport
    board: Callable[[], System]
    mute: MuteSwitch = field(default_factory=lambda: MuteSwitch(None))
    drift: Callable[[], Report | None] = lambda: None
    shadow: Callable[[], ShadowTrial | None] = lambda: None
    distances: Callable[[Tally], Mapping[str, float]] = lambda faces: {}
    """Of faces to the first days."""
    summaries: Callable[[], int] = lambda: 0
    """How many were made."""
    bundle_problem: str | None = None
    """Why the bundle that was put in place is not the one in use."""
    events: int = 0
    _started: float = field(init=False)
    _last: tuple[float, int] = field(init=False)
    _before: tuple[float, int] = field(init=False)
    _event_at: float | None = None

    def __post_init__(self) -> None:
        self._started = self.clock()
        self._last = self._before = (self._started, 0)

    def event_made(self) -> None:
        """Count one more event, made now."""
        self.events += 1
        self._event_at = self.clock()

    def info(self, adjustable: Adjustable, volatile: tuple[str, ...], muted: bool) -> Info:
        """The retained description of the device."""
        identity, engine = self.identity, self.engine
        return Info(
            time=self.wall(),
            device=identity.device,
            release=identity.release,
            boot_id=identity.boot_id,
            started=identity.started,
            labels=engine.labels,
            bundle=engine.bundle,
            bundle_problem=self.bundle_problem,
            terms=engine.terms,
            accelerator=engine.accelerator().active,
            context=identity.context,
            adjustable=adjustable,
            volatile=volatile,
            muted=muted,
            commands=identity.commands,
            settings=dict(identity.settings),
        )

    def state(self, step: Step | None) -> State:
        """What is seen now; without a picture, and from the moment of a mute on, no face."""
        muted = self.mute.muted
        if muted:
            step = None
        faces = () if step is None else step.faces
        face = dominant(faces)
        known = face is not None and face.average is not None and face.emotion in self.engine.labels
        confidence = 0.0
        if face is not None and face.average is not None:
            labels, scores = self.engine.labels, face.average.scores
            confidence = float(scores[labels.index(face.emotion)] if known else scores.max())
        return State(
            time=self.wall(),
            device=self.identity.device,
            emotion=NONE if face is None else face.emotion,
            confidence=round(min(1.0, confidence), 4),
            faces=len(faces),
            people=0 if step is None else step.people,
            muted=muted,
            mute_problem=self.mute.problem,
            camera="muted" if muted else self.camera.state,
            picture_problem=self.camera.camera.picture_problem,
        )

    def showing(self, content: str | None, since: datetime) -> Showing:
        """What the screen shows."""
        return Showing(time=since, device=self.identity.device, content=content)

    def health(self, delivery: Delivery) -> Health:
        """The health message, with rates since the last call."""
        now = self.clock()
        health = self._health(now, self._rate(now), delivery)
        self._before, self._last = self._last, (now, self.camera.frames)
        return health

    def look(self, delivery: Delivery) -> Health:
        """The same between two health messages, for one who asks; may be called from another thread."""
        now = self.clock()
        return self._health(now, self._rate(now), delivery)

    def _rate(self, now: float) -> float:
        """Frames per second since the last message, or since the one before when that was a moment ago."""
        moment, frames = self._last if now - self._last[0] >= LEAST_RATE_S else self._before
        return (self.camera.frames - frames) / max(now - moment, 1e-3)

    def _health(self, now: float, fps: float, delivery: Delivery) -> Health:
        moment = self.wall()
        return Health(
            time=moment,
            device=self.identity.device,
            release=self.identity.release,
            boot_id=self.identity.boot_id,
            bundle_sha256=self.engine.bundle.sha256,
            bundle_problem=self.bundle_problem,
            uptime_s=round(now - self._started, 1),
            fps=round(fps, 2),
            stages_ms={
                name: Latency(
                    p50=round(self.watch.percentile(name, 50), 2),
                    p95=round(self.watch.percentile(name, 95), 2),
                )
                for name in self.watch.stages
            },
            camera=self.camera.health(round(fps, 2)),
            mute_problem=self.mute.problem,
            accelerator=self.engine.accelerator(),
            delivery=delivery,
            drift=_drift(self.drift()),
            shadow=self._shadow(),
            events=self.events,
            summaries=self.summaries(),
            last_event=self._last_event(now, moment),
            system=self.board(),
        )

    def _shadow(self) -> Shadow | None:
        trial = self.shadow()
        if trial is None:
            return None
        agreement = trial.agreement
        return Shadow(
            bundle=trial.reader.bundle,
            state=trial.state,
            since=trial.since,
            until=trial.until,
            faces=trial.faces,
            agreement=None if agreement is None else round(agreement, 4),
            in_use=self._side(trial.old),
            beside=self._side(trial.new),
            problem=trial.problem,
        )

    def _side(self, side: Side) -> ShadowSide:
        confidence, distances = side.confidence, self.distances(side.counted)
        return ShadowSide(
            confidence=None if confidence is None else round(confidence, 4),
            drift={name: round(distances[name], 4) for name in CHANGED if name in distances},
        )

    def _last_event(self, now: float, moment: datetime) -> datetime | None:
        # By the monotonic clock: a board without a clock of its own may have made it before its time was set.
        return None if self._event_at is None else moment - timedelta(seconds=now - self._event_at)


def _drift(report: Report | None) -> Drift | None:
    if report is None:
        return None
    return Drift(
        learning=report.is_learning,
        learned=report.learned,
        problem=report.problem,
        since=report.since,
        quantities={
            name: DriftFigure(distance=round(one.delta, 4), limit=round(one.limit, 4), since=one.since)
            for name, one in report.quantities.items()
        },
        asked=_asked(report.asked),
    )


def _asked(found: Found) -> Asked:
    interval = found.interval
    return Asked(
        faces=found.faces,
        right=found.right,
        interval=None if interval is None else (round(interval[0], 4), round(interval[1], 4)),
        last=found.last,
        due=found.due,
        before=found.before,
        before_right=found.before_right,
        chance=None if found.chance is None else round(found.chance, 6),
    )


def utc_now() -> datetime:
    """The wall clock."""
    return datetime.now(UTC)


def time_is_synced(run: Path = Path("/run/systemd/timesync")) -> bool:
    """False only where systemd-timesyncd runs and has not yet heard from a server.

    A Pi has no clock of its own: until then its time may be that of its last shutdown.
    """
    return not run.is_dir() or (run / "synchronized").exists()


def read_board(sys: Path = Path("/sys"), proc: Path = Path("/proc")) -> System:
    """The board's figures from the kernel's files; None where the sensor is missing."""
    throttled = _number(sys / "devices/platform/soc/soc:firmware/get_throttled", base=16)
    millidegrees = _number(sys / "class/thermal/thermal_zone0/temp")
    pages = _number(proc / "self/statm", field=1)
    return System(
        temperature_c=None if millidegrees is None else round(millidegrees / 1000, 1),
        throttled=None if throttled is None else bool(throttled & 0b1110),
        undervoltage=None if throttled is None else bool(throttled & (1 << 16)),
        load=round(os.getloadavg()[0], 2),
        memory_mb=None if pages is None else round(pages * os.sysconf("SC_PAGE_SIZE") / 2**20, 1),
    )


def _number(file: Path, *, field: int = 0, base: int = 10) -> int | None:
    try:
        return int(file.read_text().split()[field], base)
    except (OSError, ValueError, IndexError):
        return None


def monotonic() -> float:
    """The clock of frames and decisions, seconds."""
    return time.monotonic()

"""`check`: tests settings, bundle, camera and broker. Shows figures, never a frame."""

from __future__ import annotations

import dataclasses
import logging
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

from oahega_edge.bundles.load import DEFAULT_BUNDLE, Bundle
from oahega_edge.bundles.models import Models
from oahega_edge.cameras.picture_quality import FrameWatch, Problem, brightness, sharpness
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.control.client import ask_all
from oahega_edge.errors import CameraStalled, EdgeError, EndOfSource
from oahega_edge.feed.sight import BLURRED, DARK, GLARING
from oahega_edge.manifest import DetectorEntry
from oahega_edge.publishers.broker import BrokerOptions
from oahega_edge.publishers.connection import TRYING_AGAIN, Connection
from oahega_edge.publishers.wire import Incoming, ProtocolVersion, Session, Token
from oahega_edge.reading.separate import judging, why_apart
from oahega_edge.service.assembly import make_camera, mqtt_options
from oahega_edge.service.engine import Engine, runtime_options
from oahega_edge.service.health import monotonic
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch

PAUSE = 0.5
"""Seconds between two lines."""
SMALL_PX = 20
"""On the detector's input: of lower faces about half are found, of those below 12 px a quarter and less (the
embedded bundles' cards, boxed face recall).
"""
BROKER_S = 20.0
"""Seconds that the broker gets to answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What trying one part showed."""

    part: str
    said: str
    well: bool | None = True
    """None: it was not tried."""

    def as_line(self) -> str:
        """For messages."""
        return f"{self.part}: {self.said}"

    def as_row(self, columns: int) -> str:
        """A row of a table that fits a terminal of so many columns."""
        mark = {True: "well", False: "NOT WELL", None: "-"}[self.well]
        head = f"{self.part:<14} {mark:<9} "
        width = max(columns, len(head) + 20)
        return textwrap.fill(self.said, width, initial_indent=head, subsequent_indent=" " * len(head))

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return dataclasses.asdict(self)


class Checkup:
    """Tries one part after another, says what it tried, and ends with what is not well."""

    def __init__(self, setup: Setup, environment: Mapping[str, str], say: Callable[[Finding], None]) -> None:
        self._setup = setup
        self._environment = environment
        self._tell = say
        self._failures: list[Finding] = []

    def models(self) -> None:
        """Settings, bundle and models; an EdgeError ends the checkup, because nothing works without them."""
        settings, manifest = self._setup.settings, self._setup.bundle.manifest
        self._say("settings", f"device {settings.device.name}, {settings.deployment.context}")
        with Models(self._setup.bundle, runtime_options(self._setup)) as models:
            health = models.health()
            bundle = self._setup.bundle
            self._say("bundle", f"{bundle.identity} at {bundle.path}, self-test passed on {health.active}")
            if health.degraded:
                used = f"{health.wanted} is wanted, {health.active} is in use: {health.reason}"
                self._fail("accelerator", used)
        self._say("emotions", ", ".join(manifest.emotion.labels))
        for terms in manifest.terms:
            self._say("training data", terms)

    def camera(self, instance: str | None = None) -> None:
        """One frame, unless the running daemon holds the camera: then what it says of it."""
        daemon = self._running(instance)
        if daemon is not None:
            self._running_camera(daemon)
            return
        settings = self._setup.settings.camera
        try:
            with make_camera(self._setup.settings) as camera:
                frame = camera.read(max(settings.stall_s, 1.0))
        except EdgeError as error:
            self._fail("camera", str(error))
            return
        figures = CameraFigures.of_picture(frame)
        advice = "; ".join(figures.advice())
        self._say("camera", f"a picture of {frame.width}x{frame.height}{f'; {advice}' if advice else ''}")

    def mounting(self, sights: Iterator[CameraFigures]) -> Iterator[CameraFigures]:
        """Pass on what the camera gives; say once, at the end, that faces were too small."""
        unread = largest = people = 0
        for sight in sights:
            unread, people = max(unread, sight.unread), max(people, sight.people)
            largest = max(largest, sight.largest_on_input)
            yield sight
        if unread:
            self._say("camera", too_small(unread))
        if largest < SMALL_PX and (largest or people):
            self._say("camera", hardly_found(largest, self._setup.bundle))

    def broker(self) -> None:
        """A connection with the device's login, under another client id than a running daemon has."""
        settings = self._setup.settings
        if not settings.mqtt.host:
            self._say("broker", "none is set, events go to standard output")
            return
        options = mqtt_options(settings, self._environment)
        options = dataclasses.replace(options, client_id=f"{options.client_id}-check")
        problem = try_broker(options)
        if problem is None:
            self._say("broker", f"{options.address} accepts the connection")
        else:
            self._fail("broker", problem)

    def leave_out(self, part: str) -> None:
        """Say that a part is not tried."""
        self._tell(Finding(part, f"not tried (--no-{part})", well=None))

    def finish(self) -> str:
        """The verdict; EdgeError when something is not well."""
        if self._failures:
            raise EdgeError("\n".join(f"not well: {failure.as_line()}" for failure in self._failures))
        return "all is well"

    def _say(self, part: str, said: str) -> None:
        self._tell(Finding(part, said))

    def _fail(self, part: str, said: str) -> None:
        self._failures.append(Finding(part, said, well=False))
        self._tell(self._failures[-1])

    def _running(self, instance: str | None) -> Mapping[str, Any] | None:
        try:
            answers = ask_all(self._environment, "status", instance)
        except EdgeError:
            return None
        name = self._setup.settings.device.name
        return next((each for each in answers.values() if each["state"]["device"] == name), None)

    def _running_camera(self, daemon: Mapping[str, Any]) -> None:
        camera = daemon["health"]["camera"]
        line = f"{camera['state']} in the running daemon, {camera['fps']:.1f} frames a second"
        problem = camera["picture_problem"]
        if camera["state"] in ("live", "muted") and not problem:
            self._say("camera", line)
        else:
            self._fail("camera", f"{line}{f', the picture is {problem}' if problem else ''}")


def try_broker(options: BrokerOptions) -> str | None:
    """Connect once; why that was not possible, in one sentence."""
    try:
        connection = Connection(options, Session(), _Nobody())
    except EdgeError as error:
        return str(error)
    with _unlogged():
        connection.start()
        until = monotonic() + BROKER_S
        while not connection.connected and connection.problem is None and monotonic() < until:
            time.sleep(0.02)
        connected, problem = connection.connected, connection.problem
        connection.stop(None)
    if connected:
        return None
    problem = problem or f"{options.address} did not answer within {BROKER_S:g} s"
    return problem.removesuffix(f"; {TRYING_AGAIN}")


@contextmanager
def _unlogged() -> Iterator[None]:
    """What the connection would log is said by the checkup, and there is no second attempt."""
    log = logging.getLogger(Connection.__module__)
    log.disabled = True
    try:
        yield
    finally:
        log.disabled = False


class _Nobody:
    """Takes the events of a connection that is only tried."""

    def subscribed(self, refused: Mapping[str, str]) -> None:
        """Nothing is subscribed."""

    def up(self, protocol: ProtocolVersion, note: str | None) -> None:
        """Seen in `Connection.connected`."""

    def down(self) -> None:
        """Nothing is sent."""

    def acknowledged(self, token: Token, refusal: str | None) -> None:
        """Nothing is sent."""

    def received(self, message: Incoming) -> None:
        """Nothing is subscribed."""


@dataclass(frozen=True, slots=True)
class CameraFigures:
    """Figures of one frame that help to mount the camera."""

    width: int
    height: int
    faces: tuple[int, ...]
    """Height of each face, pixels, the largest first."""
    people: int
    brightness: float
    """Mean luma, 0..255."""
    sharpness: float
    """Variance of the Laplacian."""
    unread: int = 0
    """Faces that are too small to be read."""
    problem: str | None = None
    """Black, frozen or torn: what the daemon would say of the picture."""
    largest_on_input: int = 0
    """Height of the largest face on the detector's input, pixels; 0 without a face."""

    @classmethod
    def of_picture(cls, frame: Frame) -> Self:
        """Of the picture alone, without looking for faces."""
        return cls(frame.width, frame.height, (), 0, brightness(frame.pixels), sharpness(frame.pixels))

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "picture": f"{self.width}x{self.height}",
            "faces": len(self.faces),
            "face_heights_px": list(self.faces),
            "largest_face_on_input_px": self.largest_on_input,
            "people": self.people,
            "brightness": round(self.brightness, 1),
            "sharpness": round(self.sharpness, 1),
            "faces_too_small": self.unread,
            "picture_problem": self.problem,
        }

    def advice(self) -> list[str]:
        """What to do for better pictures."""
        return [
            text
            for wrong, text in (
                (self.problem, f"the picture is {self.problem}"),
                (self.brightness < DARK, "too dark: add light"),
                (self.brightness > GLARING, "too bright: shade the lens"),
                (self.sharpness < BLURRED, "blurred: focus or clean the lens"),
                (self.unread, too_small(self.unread)),
            )
            if wrong
        ]

    def as_line(self) -> str:
        """For people, with advice."""
        heights = ", ".join(f"{height} px" for height in self.faces) or "none"
        return (
            f"{self.width}x{self.height}  faces: {heights}  people: {self.people}  "
            f"brightness {self.brightness:.0f}  sharpness {self.sharpness:.0f}  {'; '.join(self.advice())}"
        ).rstrip()


def too_small(faces: int) -> str:
    """What to do about faces that are found and never read."""
    return f"{faces} too small to be read: come closer, or set camera.roi"


def hardly_found(largest: int, bundle: Bundle) -> str:
    """What to do where faces are small to the detector; `largest`: pixels, 0 without a face."""
    size = bundle.manifest.detector.input
    seen = f"the largest face is {largest} px high" if largest else "people are seen and no face"
    finer = ', or bundle.path = "far"' if bundle.path == DEFAULT_BUNDLE else ""
    return (
        f"{seen} on the detector's input of {size.width}x{size.height}, where half of the faces below "
        f"{SMALL_PX} px are missed: come closer, or set camera.roi to the part with the people{finer}"
    )


def check_camera(setup: Setup, seconds: float, stop: threading.Event) -> Iterator[CameraFigures]:
    """What the camera gives, every half second, until `seconds` have gone, the file ends or `stop` is set.

    The last frame of a file is shown in any case: a short clip's first one has no sure face yet. Raises
    CameraStalled when it opens and gives nothing.
    """
    stall = setup.settings.camera.stall_s
    source = setup.settings.camera.source.get_secret_value()
    apart = why_apart(source)
    setup = judging(setup, source, apart)
    detector = setup.bundle.manifest.detector
    with Engine(setup, Stopwatch()) as engine, make_camera(setup.settings) as camera:
        started, shown = monotonic(), float("-inf")
        watch, unshown = FrameWatch(), None
        while not stop.is_set() and monotonic() - started < seconds:
            try:
                frame = camera.read(stall)
            except EndOfSource:
                if unshown is not None:
                    yield _figures(*unshown, detector)
                return
            except CameraStalled as stalled:
                raise CameraStalled(
                    f"{stalled}; check cable, power and that no other program uses the camera"
                ) from stalled
            problems = watch.see(frame, monotonic()) if camera.live else frozenset()
            step = engine.pipeline.process(frame)
            if apart:
                engine.pipeline.finish()
            unshown = frame, step, problems
            if frame.captured_at - shown >= PAUSE:
                shown, unshown = frame.captured_at, None
                yield _figures(frame, step, problems, detector)


def _figures(
    frame: Frame, step: Step, problems: frozenset[Problem], detector: DetectorEntry
) -> CameraFigures:
    heights = sorted((round(face.box.height * frame.height) for face in step.faces), reverse=True)
    _, placement = fit_picture(frame.view, detector.input, detector.resize)
    largest = max((face.box.height for face in step.faces), default=0.0)
    return dataclasses.replace(
        CameraFigures.of_picture(frame),
        faces=tuple(heights),
        people=step.people,
        unread=sum(face.average is None for face in step.faces),
        problem=" and ".join(sorted(problems)) or None,
        largest_on_input=round(largest * placement.height * detector.input.height),
    )

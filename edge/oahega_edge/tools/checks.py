"""`check`: tests settings, bundle and camera. Shows figures, never a frame."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from oahega_edge.bundles.models import Models
from oahega_edge.cameras.picture_quality import brightness, sharpness
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.pipeline import Step
from oahega_edge.errors import CameraStalled, EndOfSource
from oahega_edge.feed.sight import BLURRED, DARK, GLARING
from oahega_edge.service.assembly import make_camera
from oahega_edge.service.engine import Engine, runtime_options
from oahega_edge.service.health import monotonic
from oahega_edge.service.setup import Setup
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tools.still import judging

PAUSE = 0.5
"""Seconds between two lines."""


def check_models(setup: Setup) -> Iterator[str]:
    """One line per thing that fits; an EdgeError for the first that does not."""
    settings, manifest = setup.settings, setup.bundle.manifest
    yield f"settings: device {settings.device.name}, {settings.deployment.context}"
    with Models(setup.bundle, runtime_options(setup)) as models:
        health = models.health()
        yield f"bundle: {setup.bundle.identity} at {setup.bundle.path}, self-test passed on {health.active}"
        if health.degraded:
            yield f"degraded: {health.wanted} is wanted, {health.active} is in use: {health.reason}"
    yield f"emotions: {', '.join(manifest.emotion.labels)}"
    for terms in manifest.terms:
        yield f"training data: {terms}"


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

    def as_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "picture": f"{self.width}x{self.height}",
            "faces": len(self.faces),
            "face_heights_px": list(self.faces),
            "people": self.people,
            "brightness": round(self.brightness, 1),
            "sharpness": round(self.sharpness, 1),
        }

    def as_line(self) -> str:
        """For people, with advice."""
        heights = ", ".join(f"{height} px" for height in self.faces) or "none"
        advice = [
            text
            for wrong, text in (
                (self.brightness < DARK, "too dark: add light"),
                (self.brightness > GLARING, "too bright: shade the lens"),
                (self.sharpness < BLURRED, "blurred: focus or clean the lens"),
            )
            if wrong
        ]
        return (
            f"{self.width}x{self.height}  faces: {heights}  people: {self.people}  "
            f"brightness {self.brightness:.0f}  sharpness {self.sharpness:.0f}  {'; '.join(advice)}"
        ).rstrip()


def check_camera(setup: Setup, seconds: float, stop: threading.Event) -> Iterator[CameraFigures]:
    """What the camera gives, every half second, until `seconds` have gone, the file ends or `stop` is set.

    Raises CameraStalled when it opens and gives nothing.
    """
    stall = setup.settings.camera.stall_s
    setup = judging(setup, setup.settings.camera.source.get_secret_value())
    with Engine(setup, Stopwatch()) as engine, make_camera(setup.settings) as camera:
        started, shown = monotonic(), float("-inf")
        while not stop.is_set() and monotonic() - started < seconds:
            try:
                frame = camera.read(stall)
            except EndOfSource:
                return
            except CameraStalled as stalled:
                raise CameraStalled(
                    f"{stalled}; check cable, power and that no other program uses the camera"
                ) from stalled
            step = engine.pipeline.process(frame)
            if frame.captured_at - shown >= PAUSE:
                shown = frame.captured_at
                yield _figures(frame, step)


def _figures(frame: Frame, step: Step) -> CameraFigures:
    heights = sorted((round(face.box.height * frame.height) for face in step.faces), reverse=True)
    return CameraFigures(
        frame.width,
        frame.height,
        tuple(heights),
        step.people,
        brightness(frame.pixels),
        sharpness(frame.pixels),
    )

"""Draws what the chain sees onto frames, for `replay --annotate`; the daemon never does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.pipeline import Step
from oahega_edge.chain.trigger import UNCERTAIN
from oahega_edge.errors import EdgeError
from oahega_edge.tools.lettering import PAPER, width_of, write

LONE_FRAME_S = 1.0
_PALETTE = (
    (239, 83, 80),
    (255, 202, 40),
    (66, 165, 245),
    (171, 71, 188),
    (102, 187, 106),
    (255, 112, 67),
    (38, 198, 218),
)
"""One colour per label, RGB, in the bundle's order."""


def annotate(frame: Frame, step: Step, labels: Sequence[str]) -> Pixels:
    """A copy of the frame with each face's box, track id, emotion and running average."""
    canvas = frame.pixels.copy()
    unit = max(0.4, min(frame.width, frame.height) / 600)
    for face in step.faces:
        _draw_face(canvas, face, labels, unit)
    people = "1 person" if step.people == 1 else f"{step.people} people"
    faces = "1 face" if len(step.faces) == 1 else f"{len(step.faces)} faces"
    _text(canvas, f"{faces}, {people}", (round(10 * unit), round(26 * unit)), unit)
    return canvas


def colour_of(label: str, labels: Sequence[str]) -> tuple[int, int, int]:
    """RGB of a label; grey for `uncertain`."""
    return (160, 160, 160) if label not in labels else _PALETTE[labels.index(label) % len(_PALETTE)]


def _draw_face(canvas: Pixels, face: TrackedFace, labels: Sequence[str], unit: float) -> None:
    height, width = canvas.shape[:2]
    left, right = round(face.box.left * width), round(face.box.right * width)
    top, bottom = round(face.box.top * height), round(face.box.bottom * height)
    colour = colour_of(face.emotion, labels)
    cv2.rectangle(canvas, (left, top), (right, bottom), colour, max(1, round(2.5 * unit)), cv2.LINE_AA)
    word = "?" if face.emotion == UNCERTAIN else face.emotion
    _text(canvas, f"#{face.track} {word}", (left, max(round(22 * unit), top - round(8 * unit))), unit)
    if face.average is not None:
        _bars(canvas, face.average.scores, labels, (left, right, top), unit)


def _bars(
    canvas: Pixels,
    scores: NDArray[np.float64],
    labels: Sequence[str],
    face: tuple[int, int, int],
    unit: float,
) -> None:
    """The running average, one line a label, in three columns: name, figure, bar.

    Right of the face (left, right, top), or left of it for room.
    """
    line, gap, longest = round(20 * unit), round(6 * unit), round(70 * unit)
    names = max(_width(label, unit * 0.75) for label in labels)
    figures = _width("0.00", unit * 0.75)
    length = names + figures + longest + 4 * gap
    left, right, top = face
    x = right + gap if right + gap + length <= canvas.shape[1] else max(0, left - gap - length)
    y = max(0, min(top, canvas.shape[0] - line * len(labels)))
    back = canvas[y : y + line * len(labels), x : x + length]
    back[:] = (back * 0.35 + np.array(PAPER) * 0.65).astype(np.uint8)
    bar = x + names + figures + 3 * gap
    for i, label in enumerate(labels):
        top = y + i * line
        base = top + round(14 * unit)
        _text(canvas, label, (x + gap, base), unit * 0.75)
        _text(canvas, f"{scores[i]:.2f}", (x + names + 2 * gap, base), unit * 0.75)
        end = bar + max(1, round(longest * float(scores[i])))
        cv2.rectangle(canvas, (bar, top + 2), (end, top + line - 2), colour_of(label, labels), -1)


def _width(text: str, unit: float) -> int:
    return width_of(text, 0.72 * unit)


def _text(canvas: Pixels, text: str, at: tuple[int, int], unit: float) -> None:
    write(canvas, text, at, 0.72 * unit)


class VideoFile:
    """Writes annotated frames to an MP4 that the user named, at the pace of the first two."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer: cv2.VideoWriter | None = None
        self._first: tuple[Pixels, float] | None = None
        self._size = (0, 0)

    def __enter__(self) -> Self:
        """Nothing is created before there are frames, whose size the file takes."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Finish the file."""
        if self._first is not None and self._writer is None:
            self._open(self._first[0], LONE_FRAME_S)
        if self._writer is not None:
            self._writer.release()

    def write(self, pixels: Pixels, at: float) -> None:
        """Append one RGB frame that was taken at second `at` of the clip."""
        if self._writer is None:
            if self._first is None:
                self._first = (pixels, at)
                return
            self._open(self._first[0], max(at - self._first[1], 1e-3))
        self._append(pixels)

    def _open(self, pixels: Pixels, interval: float) -> None:
        self._size = (pixels.shape[1], pixels.shape[0])
        self._writer = cv2.VideoWriter(
            str(self._path.absolute()), cv2.VideoWriter.fourcc(*"mp4v"), min(1 / interval, 120.0), self._size
        )
        if not self._writer.isOpened():
            raise EdgeError(f"video {self._path} cannot be written; name a writable path that ends in .mp4")
        self._append(pixels)

    def _append(self, pixels: Pixels) -> None:
        assert self._writer is not None
        self._writer.write(cv2.cvtColor(_fitted(pixels, self._size), cv2.COLOR_RGB2BGR))


def _fitted(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """The whole frame in a video's one size (width, height), grey where it does not reach."""
    height, width = pixels.shape[:2]
    if (width, height) == size:
        return pixels
    ratio = min(size[0] / width, size[1] / height)
    inner = (max(1, round(width * ratio)), max(1, round(height * ratio)))
    canvas = np.full((size[1], size[0], 3), 114, np.uint8)
    canvas[: inner[1], : inner[0]] = cv2.resize(pixels, inner, interpolation=cv2.INTER_AREA)
    return canvas

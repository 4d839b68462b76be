"""The one place that opens a `cv2.VideoCapture`: what every use of it needs, and its quirks."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from oahega_edge.chain.frame import Pixels


def open_capture(source: str | int, backend: int, parameters: Sequence[int] = ()) -> cv2.VideoCapture | None:
    """An open capture of a file, URL or device number by one named backend, or None.

    The backend is named because CAP_ANY tries others on failure: a file name with digits in it would
    be taken for a sequence of pictures.
    """
    # libav and OpenCV report to stderr by themselves; our errors say it in one sentence.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    with _silent_opencv():
        try:
            capture = cv2.VideoCapture(source, backend, parameters)  # type: ignore[call-overload,unused-ignore]
        except cv2.error:  # some builds raise for parameters that a backend does not know
            return None
    return capture if capture.isOpened() else None


def as_rgb(bgr: Any) -> Pixels:
    """What `VideoCapture.read` gives -> height x width x 3 RGB."""
    return np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8)


@contextmanager
def _silent_opencv() -> Iterator[None]:
    # OpenCV up to 4.10 has the pair in cv2, later ones in cv2.utils.logging.
    levels: Any = cv2 if hasattr(cv2, "setLogLevel") else vars(cv2.utils)["logging"]
    before = levels.getLogLevel()
    levels.setLogLevel(0)
    try:
        yield
    finally:
        levels.setLogLevel(before)

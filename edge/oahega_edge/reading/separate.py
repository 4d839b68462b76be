"""Judging photographs, which have no second frame to confirm a face, each by itself."""

from __future__ import annotations

import dataclasses
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import cv2
import numpy as np

from oahega_edge.cameras.pictures import natural, read_picture
from oahega_edge.chain.frame import Pixels
from oahega_edge.decoding import is_clip
from oahega_edge.endings import is_picture
from oahega_edge.service.setup import Setup

PAIRS = 12
"""So many neighbouring pictures of a folder are compared."""
ALIKE = 0.5
"""Correlation of neighbours from which they are frames of a clip. Medians: .78 to 1 for twelve clips at one
to five frames a second, .05 to .19 for the photographs of four data sets."""
THUMBNAIL = (32, 32)

log = logging.getLogger(__name__)


def judging(setup: Setup, source: str, apart: str) -> Setup:
    """The setup for this source: of separate pictures each face is judged by its one picture, as `read` does.

    `apart` says why they are separate; empty for a clip. It is logged.
    """
    if not apart:
        return setup
    log.warning(
        "%s %s: each face is judged by its one picture, whatever tracking and smoothing say; "
        "`oahega-edge read` reads the faces of pictures",
        source,
        apart,
    )
    settings = setup.settings
    changed = settings.model_copy(
        update={
            "tracking": settings.tracking.model_copy(update={"start_hits": 1}),
            "smoothing": settings.smoothing.model_copy(update={"frames": 1, "mean": "arithmetic"}),
            "trigger": settings.trigger.model_copy(update={"min_frames": 1}),
        }
    )
    return dataclasses.replace(setup, settings=changed)


def why_apart(source: str) -> str:
    """Why the pictures of a source are no clip, as the end of a sentence; empty for a clip and a video."""
    try:
        path = Path(source).expanduser()
        if not path.is_dir():
            return "is one picture" if is_picture(path) and path.is_file() and not is_clip(path) else ""
        pictures = sorted(filter(is_picture, path.iterdir()), key=natural)
    except (OSError, RuntimeError):  # the camera says what is wrong
        return ""
    if len(pictures) == 1:
        return "holds one picture"
    if len({re.sub(r"\d+", "", file.stem) for file in pictures}) > 1:
        return "holds pictures without a common numbering"
    return _why_unlike(pictures)


def _why_unlike(pictures: Sequence[Path]) -> str:
    """By what a sample of neighbouring pictures shows."""
    starts = sorted({round(i) for i in np.linspace(0, max(0, len(pictures) - 2), PAIRS)})
    pairs = [[read_picture(file) for file in pictures[i : i + 2]] for i in starts]
    seen = [(a, b) for a, b in pairs if a is not None and b is not None] if len(pictures) > 1 else []
    if any(a.shape != b.shape for a, b in seen):
        return "holds pictures of different sizes"
    if seen and median(_likeness(a, b) for a, b in seen) < ALIKE:
        return "holds pictures that do not follow on each other"
    return ""


def _likeness(a: Pixels, b: Pixels) -> float:
    """Correlation of two small grey copies, -1 to 1; 1 where both are plain."""
    one, other = (_thumbnail(pixels) for pixels in (a, b))
    size = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float((one * other).sum()) / size if size > 1e-6 else 1.0


def _thumbnail(pixels: Pixels) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    grey = cv2.resize(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), THUMBNAIL, interpolation=cv2.INTER_AREA)
    return np.asarray(grey, np.float64) - float(grey.mean())

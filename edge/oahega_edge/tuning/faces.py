"""Faces whose expression is known: the logarithms of their probabilities and the name; no picture."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_edge.bundles.load import Bundle
from oahega_edge.files import read_file

FACES = "tuning-faces.jsonl"
LARGEST_FACES = 16 << 20
"""Bytes."""
LEAST_SHARE = 1e-4
"""Smallest probability that is told apart from none."""
LEAST_FRAMES = 3
"""Frames with the face alone that one face needs."""


@dataclass(frozen=True, slots=True)
class LabelledFace:
    """One face whose expression is known."""

    bundle: str
    """Digest of the bundle that read it, not tuned."""
    logits: tuple[float, ...]
    """Logarithms of the probabilities, in the order of the bundle's labels."""
    label: str
    """The expression that was asked for."""


def face_of(looks: Sequence[NDArray[np.float64]], bundle: Bundle, label: str) -> LabelledFace:
    """One face from its probabilities (labels,) in several frames; the geometric mean of them."""
    logits = np.log(np.maximum(looks, LEAST_SHARE)).mean(axis=0)
    return LabelledFace(bundle.sha256, tuple(round(float(value), 4) for value in logits), label)


def read_faces(folder: Path, bundle: Bundle) -> list[LabelledFace]:
    """The kept faces that this bundle read, each once; lines that say something else are left out.

    The same picture given twice would stand on both sides of the proof.
    """
    labels = bundle.manifest.emotion.labels
    try:
        lines = read_file(folder / FACES, LARGEST_FACES).decode(errors="replace").splitlines()
    except FileNotFoundError:
        return []
    faces = dict.fromkeys(face for line in lines if (face := _face(line)) is not None)
    return [
        face
        for face in faces
        if face.bundle == bundle.sha256 and face.label in labels and len(face.logits) == len(labels)
    ]


def keep_faces(folder: Path, faces: Iterable[LabelledFace]) -> None:
    """Add faces to those that are kept, each as it comes: a camera that fails later costs none of them.

    A full disk or a power cut may have left half a line, which is ended first.
    """
    with (folder / FACES).open("ab+") as lines:  # ours alone: the state folder
        end = lines.seek(0, os.SEEK_END)
        lines.seek(max(0, end - 1))
        between = b"" if lines.read(1) in (b"", b"\n") else b"\n"
        for face in faces:
            lines.write(between + json.dumps(asdict(face)).encode() + b"\n")
            lines.flush()
            between = b""


def forget_faces(folder: Path) -> None:
    """Delete all kept faces."""
    (folder / FACES).unlink(missing_ok=True)


def _face(line: str) -> LabelledFace | None:
    try:
        said: Any = json.loads(line)
        logits = tuple(float(value) for value in said["logits"])
        face = LabelledFace(str(said["bundle"]), logits, str(said["label"]))
    except (ValueError, TypeError, KeyError):
        return None
    return face if np.isfinite(face.logits).all() else None

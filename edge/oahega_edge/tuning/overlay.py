"""What `tune` leaves in the state folder for a bundle: its shift, and what that has brought."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from oahega_edge.bundles.load import Bundle
from oahega_edge.chain.classification import softmax
from oahega_edge.contract.complaint import complaint
from oahega_edge.errors import EdgeError
from oahega_edge.files import read_file, replace_file
from oahega_edge.manifest import EmotionEntry
from oahega_edge.tuning.faces import LEAST_SHARE, LabelledFace
from oahega_edge.tuning.shift import MOST_OFFSET, SCALES, Shift

FILE = "tuning.json"
LARGEST_FILE = 64 << 10
"""Bytes."""

_Scale = Annotated[float, Field(ge=SCALES[0], le=SCALES[1])]
_Offset = Annotated[float, Field(ge=-MOST_OFFSET, le=MOST_OFFSET)]
_Share = Annotated[float, Field(gt=0, le=1)]


class Overlay(BaseModel):
    """`tuning.json`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    format_version: Annotated[int, Field(ge=1, le=1)] = 1
    bundle: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    """Digest of the bundle that it belongs to; with any other it is not used."""
    labels: Annotated[tuple[str, ...], Field(min_length=2, max_length=64)]
    scale: _Scale
    offsets: Annotated[tuple[_Offset, ...], Field(min_length=2, max_length=64)]
    prior: Annotated[tuple[_Share, ...], Field(min_length=2, max_length=64)]
    """Share of each expression that the shifted answers take for granted."""
    faces: Annotated[int, Field(ge=1)]
    gain: float
    """In balanced accuracy, on faces that were held back."""
    interval: tuple[float, float]
    created: str

    @property
    def digest(self) -> str:
        """Names this overlay in the version of the model."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()[:8]

    @property
    def shift(self) -> Shift:
        """What it does to logits."""
        return Shift(self.scale, self.offsets)

    def tuned(self, bundle: Bundle) -> Bundle:
        """The bundle with the shift in its operating point, and a version that says so."""
        manifest = bundle.manifest
        entry = _shifted(manifest.emotion, self)
        version = f"{manifest.version}{'.' if '+' in manifest.version else '+'}tuned.{self.digest}"
        return replace(bundle, manifest=manifest.model_copy(update={"emotion": entry, "version": version}))


def _shifted(entry: EmotionEntry, overlay: Overlay) -> EmotionEntry:
    offsets = entry.offsets or (0.0,) * len(entry.labels)
    moved = [overlay.scale * old + new for old, new in zip(offsets, overlay.offsets, strict=True)]
    return entry.model_copy(
        update={
            "temperature": entry.temperature / overlay.scale,
            "offsets": tuple(moved),
            "prior": overlay.prior,
        }
    )


def read_overlay(folder: Path, bundle: Bundle) -> Overlay | None:
    """The overlay in a state folder for this bundle; None where there is none, or one for another bundle.

    EdgeError for a file that cannot be used.
    """
    file = folder / FILE
    try:
        overlay = Overlay.model_validate_json(read_file(file, LARGEST_FILE))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError, ValueError) as error:
        raise EdgeError(
            f"{file} cannot be used ({complaint(error)}); tune again, or undo with `oahega-edge tune --undo`"
        ) from error
    count = len(bundle.manifest.emotion.labels)
    if overlay.bundle != bundle.sha256:
        return None
    if overlay.labels != bundle.manifest.emotion.labels or {len(overlay.offsets), len(overlay.prior)} != {
        count
    }:
        raise EdgeError(
            f"{file} does not fit the labels of its bundle; tune again, or undo with "
            "`oahega-edge tune --undo`"
        )
    return overlay


def is_read(face: LabelledFace, bundle: Bundle, overlay: Overlay | None) -> bool:
    """Whether the bundle, tuned or not, answers the expression that was asked for."""
    logits = np.asarray(face.logits)
    told = logits if overlay is None else overlay.shift.apply(logits)
    return bundle.manifest.emotion.labels[int(np.argmax(told))] == face.label


def overlay_of(
    shift: Shift,
    faces: Sequence[LabelledFace],
    bundle: Bundle,
    gain: float,
    interval: tuple[float, float],
    created: str,
) -> Overlay:
    """What is kept of a fitted shift."""
    labels = bundle.manifest.emotion.labels
    told = softmax(shift.apply(np.array([face.logits for face in faces])))
    of_label = [told[[face.label == label for face in faces]] for label in labels]
    prior = np.mean([rows.mean(axis=0) for rows in of_label if len(rows)], axis=0)
    return Overlay(
        bundle=bundle.sha256,
        labels=labels,
        scale=shift.scale,
        offsets=shift.offsets,
        prior=tuple(round(float(share), 6) for share in np.maximum(prior, LEAST_SHARE)),
        faces=len(faces),
        gain=round(gain, 4),
        interval=(round(interval[0], 4), round(interval[1], 4)),
        created=created,
    )


def write_overlay(folder: Path, overlay: Overlay) -> None:
    """Whole or not at all."""
    replace_file(folder / FILE, overlay.model_dump_json(indent=1) + "\n")


def remove_overlay(folder: Path) -> bool:
    """Whether there was one."""
    try:
        (folder / FILE).unlink()
    except FileNotFoundError:
        return False
    return True

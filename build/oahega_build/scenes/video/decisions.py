"""How often published decisions are right, beside the confidence that they are published with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oahega_build.emotion.calibrate import calibration_error
from oahega_build.runs.entries import DECISIONS, ENTRY, write_on_card
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_build.scenes.sequences import Truth
from oahega_build.scenes.video.methods import Device, played
from oahega_build.scenes.video.metrics import SAME_FACE
from oahega_build.scenes.video.records import Recording
from oahega_edge.chain.geometry import Box, edges_of, iou_matrix
from oahega_edge.chain.trigger import UNCERTAIN, Decision
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry

BINS = 10
Told = Mapping[str, "Reliability | None"]
"""By kind of decision: all of them, and the first ones of each face."""


@dataclass(frozen=True, slots=True)
class Published:
    """One decision that names an expression."""

    confidence: float
    right: bool
    """The person at this place shows it in the decision's frame."""
    is_first: bool
    """Of its face."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """Published decisions together."""

    decisions: int
    accuracy: float
    confidence: float
    """Mean."""
    calibration_error: float
    """Gap between confidence and accuracy over BINS bins."""


def published(record: Recording, device: Device) -> list[Published]:
    """What the device would have published on a sequence: first decisions, changes and heartbeats.

    The `end` of a face says nothing new. Decisions on what is no face are left out: whether a face is there
    is the detector's confidence, not this one.
    """
    made = []
    for moment, seen in played(record, device.decider(), device.settings.detection.min_face_px):
        visible = [truth for truth in moment.truths if truth.visible]
        for decision in seen.decisions:
            shown = _shown_at(decision.box, visible)
            if _names_an_expression(decision) and shown is not None:
                right = record.labels[shown] == decision.emotion
                made.append(Published(decision.confidence, right, decision.phase == "new"))
    return made


def reliability(decisions: Sequence[Published]) -> Reliability | None:
    """None where nothing was published."""
    if not decisions:
        return None
    confidence = np.array([decision.confidence for decision in decisions])
    right = np.array([decision.right for decision in decisions])
    return Reliability(
        len(decisions),
        float(right.mean()),
        float(confidence.mean()),
        calibration_error(confidence, right, BINS),
    )


def of_all(records: Sequence[Recording], device: Device) -> Told:
    """What the device would have published on these sequences."""
    decisions = [decision for record in records for decision in published(record, device)]
    firsts = [decision for decision in decisions if decision.is_first]
    return {"all": reliability(decisions), "first": reliability(firsts)}


def on_card(folder: Path, told: Told) -> None:
    """Add them to the card of the emotion model in `folder`."""
    entry = EmotionEntry.model_validate_json(read_file(folder / ENTRY, LARGEST_DOCUMENT))
    write_on_card(folder, entry, {DECISIONS: said(told["all"])})


def said(of: Reliability | None) -> str:
    """For people, in half a sentence."""
    if of is None:
        return "none"
    return (
        f"{of.decisions} decisions, {of.accuracy:.3f} right, mean confidence {of.confidence:.3f}, "
        f"calibration error {of.calibration_error:.3f}"
    )


def _names_an_expression(decision: Decision) -> bool:
    return decision.phase != "end" and decision.emotion != UNCERTAIN


def _shown_at(box: Box, visible: Sequence[Truth]) -> int | None:
    """What the person at this place shows; None where nobody is."""
    if not visible:
        return None
    overlap = iou_matrix(edges_of(truth.box for truth in visible), edges_of([box]))[:, 0]
    nearest = int(overlap.argmax())
    return visible[nearest].label if overlap[nearest] >= SAME_FACE else None

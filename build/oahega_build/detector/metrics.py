"""Metrics of a detector: detections against true objects, both without those in ignore regions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import edges_of, iou_matrix, shared_areas

SIZES = {"under 5 %": (0.0, 0.05), "5-10 %": (0.05, 0.10), "10-25 %": (0.10, 0.25), "over 25 %": (0.25, 9.0)}
"""Bounds of classes of heights, as shares of the picture's height."""


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The detections of one label in a set of pictures, best first, matched to the true objects."""

    scores: NDArray[np.float64]
    """Scores (n,), descending, without detections on ignore regions."""
    right: NDArray[np.bool_]
    """Whether each detection (n,) found an object that no better detection had found."""
    found_height: NDArray[np.float64]
    """Height (n,) of the object found, or NaN."""
    truth_heights: NDArray[np.float64]
    """Heights (m,) of all objects that count."""
    pictures: int

    def at(self, score: float) -> Matches:
        """The matches without detections below a score."""
        kept = self.scores >= score
        return Matches(
            self.scores[kept], self.right[kept], self.found_height[kept], self.truth_heights, self.pictures
        )

    @property
    def precision(self) -> float:
        """The share of right detections; NaN if there are none."""
        return float(self.right.mean()) if len(self.right) else float("nan")

    @property
    def recall(self) -> float:
        """The share of objects that are found; NaN if there are none."""
        return float(self.right.sum() / len(self.truth_heights)) if len(self.truth_heights) else float("nan")

    @property
    def false_alarms(self) -> float:
        """The number of wrong detections per picture."""
        return float((~self.right).sum() / max(1, self.pictures))

    def recall_of_size(self, low: float, high: float) -> tuple[float, int]:
        """Recall and number of objects of these heights."""
        there = int(((self.truth_heights >= low) & (self.truth_heights < high)).sum())
        found = self.found_height[self.right]
        hits = int(((found >= low) & (found < high)).sum())
        return (hits / there if there else float("nan")), there

    def average_precision(self) -> float:
        """The area under the precision-recall curve with monotonic precision (all points)."""
        if not len(self.truth_heights):
            return float("nan")
        precision, recall = self.curve()
        envelope = np.maximum.accumulate(precision[::-1])[::-1]
        return float(np.sum(np.diff(recall, prepend=0.0) * envelope))

    def curve(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Precision and recall after each detection."""
        hits = np.cumsum(self.right)
        return hits / np.arange(1, len(hits) + 1), hits / max(1, len(self.truth_heights))

    def recall_at_false_alarms(self, per_picture: float) -> float:
        """The recall at a given number of false alarms per picture."""
        allowed = np.cumsum(~self.right) <= per_picture * self.pictures
        hits = np.cumsum(self.right)
        return (
            float(hits[allowed].max(initial=0) / len(self.truth_heights))
            if len(self.truth_heights)
            else float("nan")
        )

    def score_for_precision(self, precision: float) -> float:
        """The lowest score that gives at least this precision; 1 if there is none."""
        enough = np.flatnonzero(self.curve()[0] >= precision)
        return float(self.scores[enough[-1]]) if len(enough) else 1.0


@dataclass(slots=True)
class MatchCollector:
    """Collects the detections of one label over pictures."""

    label: str
    iou: float = 0.5
    use_ignore: bool = True
    """Whether ignore regions are respected. If not, a detection in one is a false alarm."""
    _scores: list[float] = field(default_factory=list)
    _right: list[bool] = field(default_factory=list)
    _heights: list[float] = field(default_factory=list)
    _truth: list[float] = field(default_factory=list)
    _pictures: int = 0

    def add(self, found: Sequence[Detection], there: Sequence[LabelledBox]) -> None:
        """Add the detections and the true objects of one picture."""
        self._pictures += 1
        things = edges_of(b.box for b in there if b.label == self.label and not b.ignore)
        regions = edges_of(b.box for b in there if b.label == self.label and b.ignore)
        mine = sorted((d for d in found if d.label == self.label), key=lambda d: -d.score)
        boxes = np.clip(edges_of(d.box for d in mine), 0, 1)
        self._truth += list(things[:, 3] - things[:, 1])
        overlap = (
            iou_matrix(boxes, things) if len(things) and len(boxes) else np.zeros((len(boxes), len(things)))
        )
        free = np.ones(len(things), bool)
        for i, detection in enumerate(mine):
            candidates = np.where(free, overlap[i], 0)
            best = int(candidates.argmax()) if len(things) else -1
            if best >= 0 and candidates[best] >= self.iou:
                free[best] = False
                self._put(detection.score, True, float(things[best, 3] - things[best, 1]))
            elif not (self.use_ignore and _in_region(boxes[i], regions)):
                self._put(detection.score, False, float("nan"))

    def _put(self, score: float, right: bool, height: float) -> None:
        self._scores.append(score)
        self._right.append(right)
        self._heights.append(height)

    def matches(self) -> Matches:
        """The matches of all pictures so far."""
        order = np.argsort(-np.array(self._scores), kind="stable")
        return Matches(
            np.array(self._scores, float)[order],
            np.array(self._right, bool)[order],
            np.array(self._heights, float)[order],
            np.array(self._truth, float),
            self._pictures,
        )


def _in_region(box: NDArray[np.float64], regions: NDArray[np.float64]) -> bool:
    """Whether at least half of a box is inside one ignore region."""
    return bool(
        np.any(shared_areas(box[None], regions) >= 0.5 * np.prod(np.maximum(box[2:] - box[:2], 1e-9)))
    )


def matches_of(
    label: str, found: Sequence[Sequence[Detection]], pictures: Sequence[Record], use_ignore: bool = True
) -> Matches:
    """Match the detections of one label in all pictures to the true boxes."""
    matching = MatchCollector(label, use_ignore=use_ignore)
    for detections, record in zip(found, pictures, strict=True):
        matching.add(detections, record.boxes)
    return matching.matches()

"""Suggested scores by what they cost: missed faces against false ones, after the tracker's rule.

A device reports a face that it detected twice. So every picture is seen in a few views, moved and lit a
little differently, as the frames of a camera that stands still are; what counts is what two of them show.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.metrics import MatchCollector
from oahega_build.pictures.readers import LabelledBox
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box

VIEWS = 3
NEEDED = 2
"""Detections that the tracker asks for before it reports somebody."""
SAME = 0.3
"""IoU from which detections of two views are one track, or a track is a thing that is there."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a wrong answer costs, in missed things."""

    false: float = 2.0
    """A false track where people are. A false event costs three missed ones; .37 of the false tracks are read
    and .70 of the faces (`crowds`, threshold .55), which makes 1.6, and the rest is care."""
    false_alone: float = 30.0
    """A false track where nobody is: an event out of an empty room."""


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """A picture: what is there and what each view showed, of one label."""

    there: Sequence[Box]
    ignored: Sequence[Box]
    """Too small or doubtful: neither found nor missed."""
    views: Sequence[Sequence[Detection]]


@dataclass(frozen=True, slots=True)
class Choice:
    """One score and what it leads to."""

    score: float
    recall: float
    precision: float
    """Of tracks."""
    false_alone: float
    """Share of the pictures without people that have a track."""
    cost: float
    """Per thing that is there."""
    error: float
    """Standard error of the difference between this cost and the lowest one, over pictures."""


def views_of(pixels: Pixels, rng: np.random.Generator) -> Iterator[Pixels]:
    """The picture as a few frames of it would be."""
    height, width = pixels.shape[:2]
    yield pixels
    for _ in range(VIEWS - 1):
        scale, (x, y) = rng.uniform(0.985, 1.015), rng.uniform(-2, 2, 2)
        move = np.array([[scale, 0, x], [0, scale, y]], np.float32)
        moved = cv2.warpAffine(pixels, move, (width, height), borderMode=cv2.BORDER_REPLICATE)
        noisy = moved * rng.uniform(0.95, 1.05) + rng.normal(0, 3, pixels.shape)
        yield np.clip(noisy, 0, 255).astype(np.uint8)


def look(
    pictures: Iterable[tuple[Pixels, Sequence[Box], Sequence[Box]]],
    find: Callable[[Pixels], Sequence[Detection]],
    label: str,
    seed: int = 0,
) -> list[Looked]:
    """Every picture's views through a detector; pictures come with what is there and what is ignored."""
    rng = np.random.default_rng(seed)
    return [
        Looked(there, ignored, [[d for d in find(v) if d.label == label] for v in views_of(pixels, rng)])
        for pixels, there, ignored in pictures
    ]


def tracks(views: Sequence[Sequence[Detection]], score: float) -> list[Box]:
    """What enough views show with this score."""
    open_: list[tuple[Box, int]] = []
    for view in views:
        free = list(range(len(open_)))
        for detection in sorted(view, key=lambda d: -d.score):
            if detection.score < score:
                break
            best = max(free, key=lambda i: open_[i][0].iou(detection.box), default=None)
            if best is not None and open_[best][0].iou(detection.box) >= SAME:
                open_[best] = (detection.box, open_[best][1] + 1)
                free.remove(best)
            else:
                open_.append((detection.box, 1))
    return [box for box, count in open_ if count >= NEEDED]


def choose(
    people: Sequence[Looked], nobody: Sequence[Looked], scores: Sequence[float], cost: Cost
) -> list[Choice]:
    """Every score with its cost, the cheapest first; a tie goes to the higher score."""
    judged = [_judged_all(people, nobody, score, cost) for score in scores]
    there = max(1, sum(len(picture.there) for picture in people))
    cheapest = min(judged, key=lambda of: float(of.costs.sum()))
    choices = [
        Choice(
            score,
            of.right / there,
            of.right / max(1, of.right + of.false),
            of.alone / max(1, len(nobody)),
            float(of.costs.sum()) / there,
            _error_of_sum(of.costs - cheapest.costs, len(people)) / there,
        )
        for score, of in zip(scores, judged, strict=True)
    ]
    return sorted(choices, key=lambda choice: (choice.cost, -choice.score))


def as_cheap(choices: Sequence[Choice], before: float | None = None) -> Choice:
    """Of the scores that cost the least within a standard error: the one nearest to `before`, or the middle.

    The cheapest itself is a matter of luck where the cost is flat, and the lowest of them would trust that
    pictures without people, which the detector may have learned from, show all its false tracks.
    """
    least = min(choice.cost for choice in choices)
    cheap = sorted(
        (choice for choice in choices if choice.cost - least <= choice.error), key=lambda choice: choice.score
    )
    if before is None:
        return cheap[(len(cheap) - 1) // 2]
    return min(cheap, key=lambda choice: abs(choice.score - before))


@dataclass(frozen=True, slots=True, eq=False)
class _Judged:
    right: int
    false: int
    alone: int
    """Pictures without people that have a track."""
    costs: NDArray[np.float64]
    """Of each picture: those with people, then those without."""


def _judged_all(people: Sequence[Looked], nobody: Sequence[Looked], score: float, cost: Cost) -> _Judged:
    hits = [_judged(picture, score) for picture in people]
    alone = [len(tracks(picture.views, score)) for picture in nobody]
    costs = [
        len(picture.there) - right + cost.false * false
        for picture, (right, false) in zip(people, hits, strict=True)
    ]
    return _Judged(
        sum(right for right, _ in hits),
        sum(false for _, false in hits),
        sum(count > 0 for count in alone),
        np.array([*costs, *(cost.false_alone * count for count in alone)], np.float64),
    )


def _error_of_sum(values: NDArray[np.float64], first: int) -> float:
    """Standard error of the sum of two samples: the first so many values, and the others."""
    samples = values[:first], values[first:]
    return float(np.sqrt(sum(len(sample) * sample.var() for sample in samples if len(sample))))


def _judged(picture: Looked, score: float) -> tuple[int, int]:
    """Tracks that are right, and those that are nothing."""
    missing = list(picture.there)
    right = false = 0
    for box in tracks(picture.views, score):
        best = max(missing, key=box.iou, default=None)
        if best is not None and box.iou(best) >= SAME:
            missing.remove(best)
            right += 1
        elif not any(box.iou(region) >= SAME for region in picture.ignored):
            false += 1
    return right, false


def share_right(pictures: Sequence[Looked], label: str, score: float) -> float:
    """Share of single pictures' detections that are a thing that is there, IoU .5; 1 without any."""
    collector = MatchCollector(label)
    for picture in pictures:
        things = [LabelledBox(label, box) for box in picture.there]
        collector.add(
            picture.views[0], things + [LabelledBox(label, box, ignore=True) for box in picture.ignored]
        )
    found = collector.matches().at(score)
    return found.precision if len(found.right) else 1.0

"""Metrics of a classifier: pure functions of probabilities and labels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.calibrate import expected_calibration_error, risk_coverage

BOOTSTRAP_ROUNDS = 1000
COVERAGES = (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Interval:
    """A figure with its 95 % bootstrap interval over the pictures."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True, slots=True)
class ClassFigures:
    """A row of the paper's Table 1, with recall and F1 beside its precision."""

    pictures: int
    precision: Interval
    recall: Interval
    f1: Interval


@dataclass(frozen=True, slots=True)
class Coverage:
    """A point of the risk-coverage curve."""

    coverage: float
    """Share of the pictures whose confidence is at least `threshold`."""
    threshold: float
    precision: float
    """Share of right answers among these pictures."""


@dataclass(frozen=True, slots=True)
class Summary:
    """The figures of one model in one line."""

    accuracy: float
    balanced_accuracy: float
    """Mean recall over the classes that occur."""
    ece: float
    precision_at_80_coverage: float


def summary(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> Summary:
    """Summarise calibrated probabilities (n, classes), rounded to 4 digits."""
    predicted = probabilities.argmax(axis=1)
    _, coverage, precision = risk_coverage(probabilities, labels)
    return Summary(
        accuracy=rounded((predicted == labels).mean()),
        balanced_accuracy=rounded(balanced_accuracy(predicted, labels)),
        ece=rounded(expected_calibration_error(probabilities, labels)),
        precision_at_80_coverage=rounded(precision[np.argmax(coverage >= 0.8)]),
    )


def balanced_accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def confusion(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Counts by (true, predicted) label."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def precision_recall_f1(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """Precision, recall and F1 (classes, 3); 0 where a class was never predicted or never occurs."""
    hits = np.diag(counts).astype(np.float64)
    precision = hits / np.maximum(1, counts.sum(axis=0))
    recall = hits / np.maximum(1, counts.sum(axis=1))
    f1 = 2 * precision * recall / np.maximum(1e-12, precision + recall)
    return np.stack([precision, recall, f1], axis=1)


def bootstrap(
    figure: Callable[[NDArray[np.intp]], NDArray[np.float64]], pictures: int, rounds: int = BOOTSTRAP_ROUNDS
) -> NDArray[np.float64]:
    """The 2.5 and 97.5 percentiles (2, ...) of `figure` over resampled indices of pictures."""
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(0, pictures, pictures)) for _ in range(rounds)]
    return np.asarray(np.percentile(values, (2.5, 97.5), axis=0))


def mean_interval(right: NDArray[np.bool_]) -> Interval:
    """The share of True values with its interval."""

    def mean(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(right[chosen].mean())

    low, high = bootstrap(mean, len(right))
    return Interval(rounded(right.mean()), rounded(low), rounded(high))


def table_one(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], names: Sequence[str]
) -> dict[str, ClassFigures]:
    """The rows of Table 1 by class."""
    classes = len(names)

    def scores(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return precision_recall_f1(confusion(predicted[chosen], labels[chosen], classes))

    values = scores(np.arange(len(labels)))
    ends = bootstrap(scores, len(labels))
    return {
        name: ClassFigures(int((labels == i).sum()), *(_interval(values, ends, i, j) for j in range(3)))
        for i, name in enumerate(names)
    }


def _interval(values: NDArray[np.float64], ends: NDArray[np.float64], row: int, column: int) -> Interval:
    return Interval(*(rounded(v) for v in (values[row, column], ends[0, row, column], ends[1, row, column])))


def coverage_points(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> tuple[Coverage, ...]:
    """The risk-coverage curve at COVERAGES."""
    thresholds, coverage, precision = risk_coverage(probabilities, labels)
    points = [int(np.argmax(coverage >= share)) for share in COVERAGES]
    return tuple(
        Coverage(rounded(coverage[i]), rounded(thresholds[i]), rounded(precision[i])) for i in points
    )


def rounded(value: float | np.floating) -> float:
    """To the four digits that figures have."""
    return round(float(value), 4)

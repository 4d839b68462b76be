"""Temperature, class prior and threshold, fitted on the answers of the exported file."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classification import softmax

WANTED_PRECISION = 0.95
LEAST_COVERAGE = 0.5


def negative_log_likelihood(
    logits: NDArray[np.floating], labels: NDArray[np.integer], temperature: float
) -> float:
    """The mean negative log-likelihood over the pictures, in nats."""
    chosen = softmax(logits, temperature)[np.arange(len(labels)), labels]
    return float(-np.log(np.maximum(chosen, 1e-12)).mean())


def fit_temperature(logits: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The temperature with the smallest negative log-likelihood (Guo et al. 2017), between 0.05 and 20.

    Golden-section search; the loss has one minimum in the logarithm of the temperature.
    """
    low, high = math.log(0.05), math.log(20.0)
    ratio = (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        left, right = high - ratio * (high - low), low + ratio * (high - low)
        if negative_log_likelihood(logits, labels, math.exp(left)) < negative_log_likelihood(
            logits, labels, math.exp(right)
        ):
            high = right
        else:
            low = left
    return round(math.exp((low + high) / 2), 4)


@dataclass(frozen=True, slots=True)
class Evidence:
    """Answers on faces from one place with what is true there, for `fit_operating_point`."""

    logits: NDArray[np.floating]
    """(n, labels)."""
    targets: NDArray[np.floating]
    """(n, labels) shares: one-hot labels, or votes."""
    weight: float = 1.0
    """Of the place, however many faces it has."""
    balanced: float = 0.0
    """0: every face counts alike; 1: every label counts alike, so that rare expressions are not outvoted."""

    def weights(self) -> NDArray[np.float64]:
        """Per face; they sum to `weight`."""
        common = self.targets.sum(axis=0)
        rare = (self.targets / np.maximum(common, 1e-9)).sum(axis=1)
        shares = (1 - self.balanced) / len(self.logits) + self.balanced * rare / rare.sum()
        return np.asarray(self.weight * shares, np.float64)


def fit_operating_point(
    evidence: Sequence[Evidence], steps: int = 3000, fixed_temperature: float | None = None
) -> tuple[float, tuple[float, ...]]:
    """(temperature, offsets): softmax(logits / temperature + offsets) has the least cross-entropy over all.

    The loss is convex in (1 / temperature, offsets), so plain descent finds its minimum. Offsets sum to 0.
    """
    logits = np.concatenate([e.logits for e in evidence]).astype(np.float64)
    targets = np.concatenate([e.targets for e in evidence]).astype(np.float64)
    weights = np.concatenate([e.weights() for e in evidence])
    weights = weights / weights.sum()
    logits = logits - logits.mean(axis=1, keepdims=True)
    spread = float(logits.std()) or 1.0
    sharpness = 1.0 if fixed_temperature is None else spread / fixed_temperature
    offsets = np.zeros(logits.shape[1])
    for _ in range(steps):
        error = (softmax(logits / spread * sharpness + offsets) - targets) * weights[:, None]
        offsets -= error.sum(axis=0)
        if fixed_temperature is None:
            sharpness = max(1e-3, sharpness - float((error * logits / spread).sum()))
    offsets -= offsets.mean()
    return round(spread / sharpness, 4), tuple(round(float(o), 4) for o in offsets)


def fit_powers(
    answers: Sequence[NDArray[np.floating]], truth: NDArray[np.integer], ridge: float = 1e-3
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(powers, offsets): softmax(sum of powers * answers + offsets) has the least cross-entropy.

    `answers`: (n, labels) logarithms of one model each. Every label of `truth` (n,) counts alike. Powers are
    not negative, and they and the offsets are kept small by `ridge`.
    """
    from scipy.optimize import minimize  # slow to import

    labels = answers[0].shape[1]
    given = np.stack(answers).astype(np.float64)
    wanted = np.eye(labels)[truth]
    weights = Evidence(given[0], wanted, balanced=1.0).weights()

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        powers, offsets = at[: len(given)], at[len(given) :]
        shares = softmax(np.tensordot(powers, given, 1) + offsets)
        misfit = -float(weights @ np.log(np.maximum((shares * wanted).sum(axis=1), 1e-12)))
        error = (shares - wanted) * weights[:, None]
        slope = np.r_[(given * error).sum(axis=(1, 2)), error.sum(axis=0)]
        return misfit + ridge * float(at @ at), slope + 2 * ridge * at

    start = np.r_[np.full(len(given), 1 / len(given)), np.zeros(labels)]
    bounds = [(0.0, None)] * len(given) + [(None, None)] * labels
    exactly = {"ftol": 1e-12, "gtol": 1e-8}
    found = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=exactly).x
    return found[: len(given)], found[len(given) :]


def fit_prior(
    logits: NDArray[np.floating],
    labels: NDArray[np.integer],
    temperature: float,
    offsets: Sequence[float] | None = None,
) -> tuple[float, ...]:
    """The class prior that the calibrated probabilities contain; sums to 1.

    A network learns p(class | face) for the class shares of its training, which a recipe may have changed.
    Biases on the logits are fitted so that the mean probability of each class is its share among `labels`,
    which maximises their likelihood. The prior is that share with the bias removed.
    """
    shares = np.bincount(labels, minlength=logits.shape[1]) / len(labels)
    bias = np.zeros(logits.shape[1])
    scaled = logits / temperature + (0.0 if offsets is None else np.asarray(offsets))
    for _ in range(200):
        mean = softmax(scaled + bias).mean(axis=0)
        bias += np.log(np.maximum(shares, 1e-6) / np.maximum(mean, 1e-9))
    granted = shares * np.exp(-bias)
    return tuple(round(float(max(share, 1e-4)), 4) for share in granted / granted.sum())


def expected_calibration_error(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 15
) -> float:
    """`calibration_error` of the best label of each picture: probabilities (n, labels), labels (n,)."""
    return calibration_error(probabilities.max(axis=1), probabilities.argmax(axis=1) == labels, bins)


def calibration_error(confidence: NDArray[np.floating], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Mean gap between confidence and accuracy over bins of equal width, weighted by their size."""
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(confidence[number == b].mean() - right[number == b].mean()) * (number == b).mean()
        for b in np.unique(number)
    ]
    return float(np.sum(gaps))


def reliability(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer], bins: int = 10
) -> list[dict[str, float]]:
    """Mean confidence, accuracy and number of pictures of each non-empty bin of equal width."""
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    number = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": round(float(confidence[number == b].mean()), 4),
            "accuracy": round(float(right[number == b].mean()), 4),
            "pictures": int((number == b).sum()),
        }
        for b in np.unique(number)
    ]


def risk_coverage(
    probabilities: NDArray[np.floating], labels: NDArray[np.integer]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Descending thresholds, coverage, and precision of the covered pictures, with a point per picture."""
    confidence = probabilities.max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    right = (probabilities.argmax(axis=1) == labels)[order]
    count = np.arange(1, len(labels) + 1)
    return confidence[order].astype(np.float64), count / len(labels), np.cumsum(right) / count


def suggested_threshold(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> float:
    """The smallest threshold that gives WANTED_PRECISION and covers at least LEAST_COVERAGE of the pictures.

    If no threshold gives that precision, the one that covers LEAST_COVERAGE.
    """
    thresholds, coverage, precision = risk_coverage(probabilities, labels)
    good = np.flatnonzero((precision >= WANTED_PRECISION) & (coverage >= LEAST_COVERAGE))
    chosen = good[-1] if len(good) else int(np.argmax(coverage >= LEAST_COVERAGE))
    return round(min(0.99, float(thresholds[chosen])), 2)

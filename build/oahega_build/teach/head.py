"""A new last layer by logistic regression, and what cross-validation says of it.

Everything that is reported was answered by a layer that had not seen the face, nor another one of its group.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold

from oahega_build.emotion.metrics import Interval, balanced_accuracy, rounded
from oahega_build.teach.last_layer import Head
from oahega_edge.chain.classification import softmax

FOLDS, INNER_FOLDS = 5, 3
"""To prove a layer, and to choose its kind."""
PENALTIES = (0.003, 0.01, 0.03, 0.1, 0.3)
"""scikit-learn's C; the smallest shrinks the weights most."""
NESTED = 400
"""Up to so many faces the kind is chosen anew inside each fold; with more that changes nothing."""
NEVER = -30.0
"""Logit of a label that no face showed."""
DRAWS = 4000
"""For an interval."""

Features = NDArray[np.float64]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Proof:
    """What layers that had not seen them answer to the faces."""

    logits: NDArray[np.float64]
    """(faces, labels)."""
    balanced: Interval
    """Balanced accuracy with its 95 % interval over groups."""
    error: float
    """Standard error of the balanced accuracy."""


@dataclass(frozen=True, slots=True, eq=False)
class Kind:
    """What a layer is free to learn."""

    penalty: float
    """One of PENALTIES."""
    directions: Features | None = None
    """(directions, features), orthonormal: the layer tells faces apart along these alone; None: along all."""


def told_by(layer: Head) -> Features:
    """The directions (labels - 1, features) along which a layer tells its classes apart."""
    return np.asarray(
        np.linalg.svd(layer.weights - layer.weights.mean(axis=0), full_matrices=False)[2][
            : len(layer.bias) - 1
        ]
    )


def fit(
    features: Features, truth: Numbers, groups: Numbers, labels: int, told: Features | None = None
) -> Head:
    """The layer for all faces, its kind chosen by cross-validation; `labels`: how many there are.

    `told`: from `told_by` the base's own layer. A handful of faces says more about these few directions than
    about all features, so they are taken unless all features are clearly better.
    """
    return _fitted(features, truth, _best_kind(features, truth, groups, labels, told), labels)


def prove(features: Features, truth: Numbers, groups: Numbers, told: Features | None = None) -> Proof:
    """Cross-validated answers; with few faces the kind is chosen without the fold that is answered."""
    labels = int(truth.max()) + 1
    kind = None if len(truth) <= NESTED else _best_kind(features, truth, groups, labels, told)

    def answered(seen: Numbers, rest: Numbers) -> NDArray[np.float64]:
        chosen = kind or _best_kind(features[seen], truth[seen], groups[seen], labels, told)
        return _fitted(features[seen], truth[seen], chosen, labels)(features[rest])

    return cross_validated(answered, truth, groups)


def cross_validated(
    answered: Callable[[Numbers, Numbers], NDArray[np.float64]],
    truth: Numbers,
    groups: Numbers,
    labels: int | None = None,
) -> Proof:
    """`answered` gets the numbers of the faces to learn from and of those to answer, and gives logits.

    `labels`: how many there are, where the last ones may show no face.
    """
    logits = np.zeros((len(truth), labels or int(truth.max()) + 1))
    for seen, rest in folds(truth, groups, FOLDS):
        logits[rest] = answered(seen, rest)
    return proof_of(logits, truth, groups)


def proof_of(logits: NDArray[np.float64], truth: Numbers, groups: Numbers) -> Proof:
    """What answers to faces say that were not learned from."""
    predicted = logits.argmax(axis=1)
    return Proof(logits, interval(predicted, truth, groups), standard_error(predicted, truth, groups))


def _fitted(features: Features, truth: Numbers, kind: Kind, labels: int) -> Head:
    """A layer for all labels; one that no face shows is never answered."""
    if kind.directions is not None:
        along = _fitted(features @ kind.directions.T, truth, Kind(kind.penalty), labels)
        return Head(along.weights @ kind.directions, along.bias)
    shown = np.unique(truth)
    weights, bias = np.zeros((labels, features.shape[1])), np.full(labels, NEVER)
    if len(shown) == 1:
        bias[shown] = 0
        return Head(weights, bias)
    middle, spread = features.mean(axis=0), float(features.std()) or 1.0
    model = LogisticRegression(C=kind.penalty, class_weight="balanced", max_iter=500, tol=1e-3)
    model.fit((features - middle) / spread, truth)
    weights[shown], bias[shown] = model.coef_ / spread, model.intercept_
    if len(shown) == 2:  # scikit-learn has one line between them: the second one's side
        weights[shown[0]], bias[shown[0]] = 0, 0
    bias[shown] -= weights[shown] @ middle
    return Head(weights, bias)


def _best_kind(
    features: Features, truth: Numbers, groups: Numbers, labels: int, told: Features | None
) -> Kind:
    """The few directions, unless all features are more than one standard error better."""
    inner = list(folds(truth, groups, INNER_FOLDS))

    def loss(kind: Kind) -> float:
        return sum(_loss(features, truth, kind, labels, seen, rest) for seen, rest in inner)

    free = min((Kind(penalty) for penalty in PENALTIES), key=loss)
    if told is None:
        return free
    narrow = min((Kind(penalty, told) for penalty in PENALTIES), key=loss)
    few, many = (_predicted(features, truth, kind, labels, inner) for kind in (narrow, free))
    least = balanced_accuracy(many, truth) - standard_error(many, truth, groups)
    return narrow if balanced_accuracy(few, truth) >= least else free


def _predicted(
    features: Features, truth: Numbers, kind: Kind, labels: int, inner: Sequence[tuple[Numbers, Numbers]]
) -> Numbers:
    predicted = np.zeros_like(truth)
    for seen, rest in inner:
        layer = _fitted(features[seen], truth[seen], kind, labels)
        predicted[rest] = layer(features[rest]).argmax(axis=1)
    return predicted


def _loss(features: Features, truth: Numbers, kind: Kind, labels: int, seen: Numbers, rest: Numbers) -> float:
    logits = _fitted(features[seen], truth[seen], kind, labels)(features[rest])
    losses = -np.log(np.maximum(softmax(logits)[np.arange(len(rest)), truth[rest]], 1e-12))
    return float(losses @ (1 / np.bincount(truth[rest])[truth[rest]]))  # every label counts alike


def folds(truth: Numbers, groups: Numbers, most: int) -> Iterator[tuple[Numbers, Numbers]]:
    """(faces that are seen, faces that are answered), every group on one side; none of single faces."""
    if np.bincount(truth).max() == 1:
        return
    groups = divided(truth, groups)
    fewest = min(len(np.unique(groups[truth == label])) for label in np.unique(truth))
    splitter = StratifiedGroupKFold(max(2, min(most, fewest)), shuffle=True, random_state=0)
    with warnings.catch_warnings():  # a class that lies in few folds; `_fitted` is prepared for that
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        folds = list(splitter.split(truth, truth, groups))
    yield from folds


def divided(truth: Numbers, groups: Numbers) -> Numbers:
    """The groups, but that of a class which is one single group is cut into FOLDS pieces, in order."""
    pieces = groups.copy()
    for label in np.unique(truth):
        mine = np.flatnonzero(truth == label)
        if len(np.unique(groups[mine])) == 1:
            count = min(FOLDS, len(mine))
            pieces[mine] = pieces.max() + 1 + np.arange(len(mine)) * count // len(mine)
    return pieces


def interval(predicted: Numbers, truth: Numbers, groups: Numbers) -> Interval:
    """Balanced accuracy with its 95 % interval: Jeffreys' of each recall, a group counting as one face.

    A bootstrap would call a handful of faces that are all answered right certain.
    """
    low, high = np.percentile(_draws(predicted, truth, groups), (2.5, 97.5))
    value = balanced_accuracy(predicted, truth)
    return Interval(rounded(value), rounded(min(low, value)), rounded(max(high, value)))


def standard_error(predicted: Numbers, truth: Numbers, groups: Numbers) -> float:
    """Of the balanced accuracy, a group counting as one face."""
    return float(_draws(predicted, truth, groups).std())


def _draws(predicted: Numbers, truth: Numbers, groups: Numbers) -> NDArray[np.float64]:
    """Balanced accuracies as likely as the answers make them."""
    rng = np.random.default_rng(0)
    recalls = []
    for label in np.unique(truth):
        mine = truth == label
        count = len(np.unique(divided(truth, groups)[mine]))
        right = count * float((predicted[mine] == label).mean())
        recalls.append(rng.beta(right + 0.5, count - right + 0.5, DRAWS))
    return np.asarray(np.mean(recalls, axis=0))


def fit_temperature(logits: NDArray[np.float64], truth: Numbers) -> float:
    """The temperature with the least cross-entropy against Platt's smoothed targets (1999).

    Against bare labels a few faces that are all answered right would make every answer certain.
    """
    counts = np.bincount(truth, minlength=logits.shape[1])[truth][:, None]
    targets = (1 + counts * np.eye(logits.shape[1])[truth]) / (counts + logits.shape[1])

    def loss(log_temperature: float) -> float:
        answers = softmax(logits, float(np.exp(log_temperature)))
        return float(-(targets * np.log(np.maximum(answers, 1e-12))).sum(axis=1).mean())

    found = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20)), method="bounded")
    return round(float(np.exp(found.x)), 4)

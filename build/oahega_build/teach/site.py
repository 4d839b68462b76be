"""A base's last layer, learned on with labelled faces of one site, and held where the base knows better.

A hundred faces say little about two hundred features. They do say in which direction a site's faces lie from
those that the base knows (its light, its lens, its angle), and how labels there differ. So the layer moves
freely along that one direction (Fisher's, 1936), and everything else costs. What the base remembers of its
classes is to be answered as before: features that are drawn from it stand for the old pictures (learning
without forgetting, Li and Hoiem 2016).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from oahega_build.teach.head import (
    INNER_FOLDS,
    Features,
    Numbers,
    Proof,
    cross_validated,
    folds,
    proof_of,
)
from oahega_build.teach.last_layer import Head
from oahega_build.teach.memory import Memory
from oahega_edge.chain.classification import softmax
from oahega_edge.manifest import EmotionEntry

DRAWN = 300
"""Features of each class of the base, as many as the faces that it is remembered from."""
SITE_SHARE = 0.2
"""Of the loss; the rest is what the base answers to the drawn features. Chosen on faces that were held out of
training (docs/decisions/0053-learn-on-from-a-site.md)."""
PENALTIES = (0.1, 0.3, 1.0)
"""On changed weights, half the sum of their squares; the greatest leaves little but the site's direction."""
ALONG = 0.01
"""The same along the site's direction, in units of the distance to the site."""
RIDGE = 0.1
"""Added to the variance of every feature, in units of their mean variance, when the direction is sought."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What a base answers, and to what it must go on answering so."""

    head: Head
    """Its last layer, with its operating point: softmax of its logits are the bundle's probabilities."""
    drawn: Features
    """(n, features)"""
    answers: Floats
    """(n, labels), the base's probabilities."""

    @property
    def labels(self) -> int:
        """How many it tells."""
        return len(self.head.bias)


@dataclass(frozen=True, slots=True, eq=False)
class Proofs:
    """The same faces before and after, neither answered by a layer that had seen them."""

    before: Proof
    after: Proof


def known_by(layer: Head, entry: EmotionEntry, memory: Memory) -> Known:
    """`layer`: the file's own; the memory's classes are those of the entry."""
    offsets = np.zeros(len(layer.bias)) if entry.offsets is None else np.asarray(entry.offsets)
    head = Head(layer.weights / entry.temperature, layer.bias / entry.temperature + offsets)
    drawn = np.concatenate([memory.draw(label, DRAWN) for label in entry.labels])
    return Known(head, drawn, softmax(head(drawn)))


def refit(known: Known, features: Features, truth: Numbers, groups: Numbers) -> Head:
    """The layer for all faces of the site, its penalty chosen by cross-validation."""
    with threadpool_limits(1):  # waiting for each other costs these small matrices more than it saves
        return moved(known, features, truth, best_penalty(known, features, truth, groups))


def prove(known: Known, features: Features, truth: Numbers, groups: Numbers) -> Proofs:
    """What the base says of the site's faces, and what cross-validation says of the layer that learned on."""

    def answered(seen: Numbers, rest: Numbers) -> Floats:
        penalty = best_penalty(known, features[seen], truth[seen], groups[seen])
        return moved(known, features[seen], truth[seen], penalty)(features[rest])

    with threadpool_limits(1):
        after = cross_validated(answered, truth, groups, known.labels)
    return Proofs(proof_of(known.head(features), truth, groups), after)


def moved(known: Known, features: Features, truth: Numbers, penalty: float) -> Head:
    """The base's layer, moved by the site's faces."""
    middle, spread = known.drawn.mean(axis=0), float(known.drawn.std()) or 1.0
    site, old = (features - middle) / spread, (known.drawn - middle) / spread
    way = _way_to(site, truth, old, known.labels)
    every = np.concatenate([site, old])
    inputs = np.concatenate([every, every @ way[:, None], np.ones((len(every), 1))], axis=1)
    costs = np.r_[np.full(len(middle), penalty), ALONG, penalty]
    targets = np.concatenate([np.eye(known.labels)[truth], known.answers])
    weights = np.r_[SITE_SHARE * _evenly(truth), np.full(len(old), (1 - SITE_SHARE) / len(old))]
    base = known.head(np.concatenate([features, known.drawn]))
    shape = (known.labels, inputs.shape[1])

    def loss(flat: Floats) -> tuple[float, Floats]:
        change = flat.reshape(shape)
        shares = softmax(base + inputs @ change.T)
        misfit = -(weights * (targets * np.log(np.maximum(shares, 1e-12))).sum(axis=1)).sum()
        slope = (weights[:, None] * (shares - targets)).T @ inputs + costs * change
        return float(misfit + (costs * change**2).sum() / 2), slope.ravel()

    found = minimize(loss, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 100})
    change = found.x.reshape(shape)
    turned = (change[:, :-2] + change[:, -2:-1] * way) / spread
    return Head(known.head.weights + turned, known.head.bias + change[:, -1] - turned @ middle)


def _way_to(site: Features, truth: Numbers, old: Features, labels: int) -> Floats:
    """The direction from the base's faces to the site's: 0 on average there, 1 more on average here.

    Of each label apart, so that other shares of the labels are no direction.
    """
    of = np.arange(len(old)) * labels // len(old)
    means = np.array([old[of == label].mean(axis=0) for label in range(labels)])
    apart = np.mean([site[truth == k].mean(axis=0) - means[k] for k in np.unique(truth)], axis=0)
    rest = old - means[of]
    scatter = rest.T @ rest / len(rest)
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    way = np.linalg.solve(scatter, apart)
    return np.asarray(way / max(float(way @ apart), 1e-9))


def best_penalty(known: Known, features: Features, truth: Numbers, groups: Numbers) -> float:
    """The one with the least loss on folds of the site's faces, every label counting alike."""
    inner = list(folds(truth, groups, INNER_FOLDS))

    def loss(penalty: float) -> float:
        answers = np.zeros((len(truth), known.labels))
        for seen, rest in inner:
            answers[rest] = softmax(moved(known, features[seen], truth[seen], penalty)(features[rest]))
        said = answers[np.arange(len(truth)), truth]
        return float(-_evenly(truth) @ np.log(np.maximum(said, 1e-12)))

    return min(PENALTIES, key=loss)


def _evenly(truth: Numbers) -> Floats:
    """Weights of the faces that sum to 1, every label that occurs counting alike."""
    weights = 1 / np.bincount(truth)[truth]
    return np.asarray(weights / weights.sum())

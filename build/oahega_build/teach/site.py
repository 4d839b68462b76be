"""A base's last layer, learned on with labelled faces of one site, and held where the base knows better.

A hundred faces say little about two hundred features. They do say in which direction a site's faces lie from
those that the base knows (its light, its lens, its angle), and how labels there differ. So the layer moves
freely along that one direction (Fisher's, 1936), and everything else costs. What the base remembers of its
classes is to be answered as before: features that are drawn from it stand for the old pictures (learning
without forgetting, Li and Hoiem 2016), and say how much of the loss the site may have.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.teach.head import Features, Numbers, Proof, cross_validated, proof_of
from oahega_build.teach.last_layer import Head
from oahega_build.teach.memory import Memory
from oahega_edge.chain.classification import softmax
from oahega_edge.manifest import EmotionEntry

DRAWN = 300
"""Features of each class of the base, as many as the faces that it is remembered from."""
SITE_SHARES = (0.5, 0.35, 0.2)
"""Of the loss; the rest is what the base answers to the drawn features. The greatest is taken at which these
lose at most MOST_LOST. All was chosen on faces that were held out of training
(docs/decisions/0069-as-much-of-a-site-as-the-memory-bears.md)."""
MOST_LOST = 0.0025
"""Balanced accuracy of the drawn features."""
PENALTY = 5.0
"""On changed weights, half the sum of their squares, times the square of the site's share: with the greatest
share they change along little but the site's direction."""
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
    """(n, features), as many of each label, in the order of the labels."""
    answers: Floats
    """(n, labels), the base's probabilities."""

    @property
    def labels(self) -> int:
        """How many it tells."""
        return len(self.head.bias)

    def told(self, layer: Head) -> float:
        """Balanced accuracy of a layer on the drawn features."""
        truth = _classes(len(self.drawn), self.labels)
        return balanced_accuracy(layer(self.drawn).argmax(axis=1), truth)


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


def refit(known: Known, features: Features, truth: Numbers) -> Head:
    """The layer for all faces of the site."""
    with threadpool_limits(1):  # waiting for each other costs these small matrices more than it saves
        return _held(known, features, truth)


def prove(known: Known, features: Features, truth: Numbers, groups: Numbers) -> Proofs:
    """What the base says of the site's faces, and what cross-validation says of the layer that learned on."""

    def answered(seen: Numbers, rest: Numbers) -> Floats:
        return _held(known, features[seen], truth[seen])(features[rest])

    with threadpool_limits(1):
        after = cross_validated(answered, truth, groups, known.labels)
    return Proofs(proof_of(known.head(features), truth, groups), after)


def _held(known: Known, features: Features, truth: Numbers) -> Head:
    """With the greatest share of the loss for the site that the drawn features bear, or the least one."""
    least = known.told(known.head) - MOST_LOST
    for share in SITE_SHARES:
        head = moved(known, features, truth, share)
        if known.told(head) >= least:
            break
    return head


def moved(known: Known, features: Features, truth: Numbers, share: float) -> Head:
    """The base's layer, moved by the site's faces; `share`: theirs of the loss."""
    middle, spread = known.drawn.mean(axis=0), float(known.drawn.std()) or 1.0
    site, old = (features - middle) / spread, (known.drawn - middle) / spread
    way = way_to(site, truth, old, known.labels)
    every = np.concatenate([site, old])
    inputs = np.concatenate([every, every @ way[:, None], np.ones((len(every), 1))], axis=1)
    penalty = PENALTY * share**2
    costs = np.r_[np.full(len(middle), penalty), ALONG, penalty]
    targets = np.concatenate([np.eye(known.labels)[truth], known.answers])
    weights = np.r_[share * _evenly(truth), np.full(len(old), (1 - share) / len(old))]
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


def way_to(site: Features, truth: Numbers, old: Features, labels: int) -> Floats:
    """The direction from the base's faces to the site's: 0 on average there, 1 more on average here.

    Of each label apart, so that other shares of the labels are no direction; and one along which neither the
    base's faces nor the site's vary much.
    """
    of = _classes(len(old), labels)
    means = _means(old, of, labels)
    apart = (_means(site, truth, labels) - means)[np.unique(truth)].mean(axis=0)
    scatter = (_scatter(old, of, labels) + _scatter(site, truth, labels)) / 2
    scatter += RIDGE * np.trace(scatter) / len(scatter) * np.eye(len(scatter))
    way = np.linalg.solve(scatter, apart)
    return np.asarray(way / max(float(way @ apart), 1e-9))


def _classes(drawn: int, labels: int) -> Numbers:
    """Class of each drawn feature."""
    return np.arange(drawn) * labels // drawn


def _means(features: Features, truth: Numbers, labels: int) -> Features:
    """Of each label; zeros for one that no face shows."""
    sums = np.eye(labels)[truth].T @ features
    return np.asarray(sums / np.maximum(np.bincount(truth, minlength=labels), 1)[:, None])


def _scatter(features: Features, truth: Numbers, labels: int) -> Floats:
    """Covariance within labels."""
    rest = features - _means(features, truth, labels)[truth]
    return np.asarray(rest.T @ rest / max(len(rest) - len(np.unique(truth)), 1))


def _evenly(truth: Numbers) -> Floats:
    """Weights of the faces that sum to 1, every label that occurs counting alike."""
    weights = 1 / np.bincount(truth)[truth]
    return np.asarray(weights / weights.sum())

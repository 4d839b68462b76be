"""Our figures of a classifier are scikit-learn's."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support, recall_score

from oahega_build.emotion.metrics import confusion, precision_recall_f1, summary

CLASSES = 6


@pytest.fixture(params=range(5))
def answers(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, labels) of 200 pictures; one class never occurs, another one is never answered."""
    rng = np.random.default_rng(request.param)
    labels = rng.integers(0, CLASSES - 1, 200)
    probabilities = rng.dirichlet(np.ones(CLASSES), 200)
    probabilities[np.arange(200), labels] += 0.2
    probabilities[:, 0] = 0
    return probabilities / probabilities.sum(axis=1, keepdims=True), labels


def test_the_confusion_matrix_is_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    predicted = probabilities.argmax(axis=1)

    counts = confusion(predicted, labels, CLASSES)

    assert counts.tolist() == confusion_matrix(labels, predicted, labels=range(CLASSES)).tolist()


def test_precision_recall_and_f1_are_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    predicted = probabilities.argmax(axis=1)

    figures = precision_recall_f1(confusion(predicted, labels, CLASSES))

    *theirs, _ = precision_recall_fscore_support(labels, predicted, labels=range(CLASSES), zero_division=0)
    assert np.allclose(figures, np.stack(theirs, axis=1))


def test_accuracy_and_balanced_accuracy_are_scikit_learns(answers: tuple[np.ndarray, np.ndarray]) -> None:
    probabilities, labels = answers
    predicted = probabilities.argmax(axis=1)

    figures = summary(probabilities, labels)

    assert figures.accuracy == pytest.approx(accuracy_score(labels, predicted), abs=5e-5)
    occurring = recall_score(labels, predicted, labels=np.unique(labels), average="macro")
    assert figures.balanced_accuracy == pytest.approx(occurring, abs=5e-5)

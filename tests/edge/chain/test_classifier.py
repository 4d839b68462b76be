"""A face is measured on what the classifier sees of it, and nothing of it is kept."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.classifier import EmotionClassifier
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.drift.look import light_of
from oahega_edge.manifest import EmotionEntry

FACE = Box(0.2, 0.2, 0.5, 0.6)


class Remembering:
    """A model that answers with the first values of its input, and knows what became of it."""

    accelerator = "cpu"

    def __init__(self, labels: int) -> None:
        self._labels = labels
        self.seen: list[weakref.ref[NDArray[Any]]] = []

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        self.seen.append(weakref.ref(tensor))
        return {"logits": tensor.reshape(-1)[: self._labels].copy()}

    def close(self) -> None:
        """It holds nothing."""


@pytest.fixture(scope="module")
def entry() -> EmotionEntry:
    return load_bundle(DEFAULT_BUNDLE).manifest.emotion


@pytest.fixture
def pixels() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (120, 160, 3), np.uint8)


def test_a_face_is_measured_on_what_the_classifier_sees(entry: EmotionEntry, pixels: np.ndarray) -> None:
    classifier = EmotionClassifier(entry, Remembering(len(entry.labels)))

    scores, light = classifier.measured(pixels, FACE)

    assert scores.tolist() == classifier(pixels, FACE).tolist()
    assert light[0] == pytest.approx(0.4 * 120)
    assert light[1:3] == light_of(crop_face(pixels, FACE, entry.input, entry.crop))


def test_a_face_that_is_lower_than_the_classifiers_picture_is_enlarged(entry: EmotionEntry) -> None:
    classifier = EmotionClassifier(entry, Remembering(len(entry.labels)))
    edge = entry.input.height / FACE.height

    enlarged = [
        classifier.measured(np.zeros((round(edge) + more, 160, 3), np.uint8), FACE)[1][3] for more in (-2, 2)
    ]

    assert enlarged == [True, False]


def test_nothing_of_a_face_is_kept(entry: EmotionEntry, pixels: np.ndarray) -> None:
    model = Remembering(len(entry.labels))
    classifier = EmotionClassifier(entry, model)

    classifier.measured(pixels, FACE)
    classifier(pixels, FACE)
    gc.collect()

    assert [seen() for seen in model.seen] == [None, None]

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
from oahega_edge.chain.classifier import EmotionClassifier, both_crops
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face, cut_face, cuts_of
from oahega_edge.chain.smoothing import Belief
from oahega_edge.drift.look import light_of
from oahega_edge.manifest import EmotionEntry, SecondCrop

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


def test_the_second_crop_is_cropped_otherwise_and_mirrored(entry: EmotionEntry, pixels: np.ndarray) -> None:
    second = SecondCrop(scale=1.4, shift=0.1, mirrored=True)
    twofold = entry.model_copy(update={"second_crop": second})
    first, other = cuts_of(twofold)

    seen = cut_face(pixels, FACE, entry.input, other)

    wider = entry.crop.model_copy(update={"scale": 1.4, "shift": 0.1})
    assert np.array_equal(seen, crop_face(pixels, FACE, entry.input, wider)[:, ::-1])
    assert np.array_equal(
        cut_face(pixels, FACE, entry.input, first), crop_face(pixels, FACE, entry.input, entry.crop)
    )


def test_a_model_without_a_second_crop_sees_all_frames_alike(entry: EmotionEntry, pixels: np.ndarray) -> None:
    plain = entry.model_copy(update={"second_crop": None})
    classifier = EmotionClassifier(plain, Remembering(len(entry.labels)))

    assert classifier(pixels, FACE, True).tolist() == classifier(pixels, FACE).tolist()
    assert both_crops(classifier, pixels, FACE) == pytest.approx(classifier(pixels, FACE))


def test_a_single_picture_gets_what_a_belief_makes_of_two_frames(
    entry: EmotionEntry, pixels: np.ndarray
) -> None:
    twofold = entry.model_copy(update={"second_crop": SecondCrop(scale=1.4, mirrored=True)})
    classifier = EmotionClassifier(twofold, Remembering(len(entry.labels)))
    turns = [classifier(pixels, FACE, second) for second in (False, True)]
    belief = Belief(frames=2, max_age=1.0, lasting=1e9)

    for i, scores in enumerate(turns):
        average = belief.add(np.maximum(scores, 1e-2), i / 30)

    softened = [np.maximum(scores, 1e-2) for scores in turns]
    picture = both_crops(lambda pixels, box, second: softened[second], pixels, FACE)
    assert not np.allclose(*turns)
    assert picture == pytest.approx(average.scores, abs=1e-6)


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

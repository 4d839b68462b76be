"""How much of the network learns: every way on the same folds, the simplest that is as good as the best."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_faces import LOOKS, draw_face
from oahega_build.emotion.metrics import Interval
from oahega_build.errors import ExportError
from oahega_build.models.exported import require_int8
from oahega_build.models.operators import read_operators
from oahega_build.models.quantize import to_int8
from oahega_build.models.unquantized import LAST, network_of
from oahega_build.teach.faces import Faces
from oahega_build.teach.finetune import FineTuning
from oahega_build.teach.freedom import BLOCK, HEAD, TRUNK, Comparison, Trial, compare
from oahega_build.teach.head import Proof, cross_validated, fit, prove, told_by
from oahega_build.teach.last_layer import Classifier, Head
from oahega_build.teach.lesson import Lesson, plain_lesson
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.preprocess import Quantizer

pytestmark = pytest.mark.training
FILE = DEFAULT_BUNDLE / "emotion.tflite"
ENTRY = load_bundle(DEFAULT_BUNDLE).manifest.emotion
SHOWN = ("happy", "neutral", "surprise")
EACH = 6


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(FILE.read_bytes())


@pytest.fixture(scope="module")
def lesson(classifier: Classifier) -> Lesson:
    rng = np.random.default_rng(3)
    crops = [draw_face(LOOKS[look], ENTRY.input.width, rng)[..., 1] for look in SHOWN for _ in range(EACH)]
    truth = np.repeat(np.arange(len(SHOWN)), EACH)
    names = [f"{i}.png" for i in range(len(crops))]
    faces = Faces(SHOWN, crops, truth, names, np.arange(len(crops)), ())
    return plain_lesson(faces, features_of(classifier, crops))


def features_of(classifier: Classifier, crops: Sequence[NDArray[np.uint8]]) -> NDArray[np.float64]:
    return classifier.features([Quantizer(ENTRY.input)(crop) for crop in crops])


def trial(way: str, value: float, error: float = 0.02) -> Trial:
    return Trial(way, Proof(np.zeros((1, 1)), Interval(value, 0, 1), error), 1.0, bytes)


@pytest.mark.parametrize(
    ("values", "way"),
    [
        ((0.90, 0.91, 0.92), HEAD),
        ((0.89, 0.91, 0.92), BLOCK),
        ((0.80, 0.89, 0.92), TRUNK),
        ((0.92, 0.91, 0.80), HEAD),
        ((0.80, 0.92, 0.80), BLOCK),
        ((0.90, 0.90, 0.90), HEAD),
    ],
)
def test_the_simplest_within_one_standard_error_of_the_best_is_taken(
    values: tuple[float, ...], way: str
) -> None:
    tried = Comparison([trial(*both) for both in zip((HEAD, BLOCK, TRUNK), values, strict=True)])

    assert tried.chosen.way == way
    assert f"taken: {way}, " in "\n".join(tried.lines())


def test_every_way_answers_the_same_folds_and_no_face_that_it_learnt_from() -> None:
    truth, groups = np.repeat([0, 1], 10), np.arange(20) // 2
    asked: list[list[tuple[int, ...]]] = [[], []]

    def way(number: int, seen: NDArray[np.int64], rest: NDArray[np.int64]) -> NDArray[np.float64]:
        asked[number].append(tuple(rest))
        assert not set(groups[seen]) & set(groups[rest])
        return np.eye(2)[truth[rest]]

    for number in (0, 1):
        proof = cross_validated(lambda seen, rest, n=number: way(n, seen, rest), truth, groups)

    assert asked[0] == asked[1]
    assert sorted(i for fold in asked[0] for i in fold) == list(range(20))
    assert proof.balanced.value == 1
    assert proof.error > 0


def test_few_faces_that_stand_close_together_are_proven_without_a_traceback_or_a_warning(
    recwarn: pytest.WarningsRecorder,
) -> None:
    """Pairs of near-copies leave one face of each class to learn from, or a class in one fold only."""
    for truth, groups in (
        ([0, 0, 0, 1, 1, 1], [0, 0, 1, 2, 2, 3]),
        ([0, 0, 0, 1, 1, 1], [1, 0, 0, 0, 1, 0]),
        ([0, 0, 0, 1, 1, 1, 2, 2, 2], [0, 0, 1, 2, 2, 3, 4, 4, 5]),
        ([0] * 6 + [1] * 6 + [2] * 6, [3, 1, 2, 2, 3, 3, 3, 0, 2, 1, 2, 2, 0, 0, 0, 0, 2, 0]),
    ):
        features = np.random.default_rng(0).normal(np.array(truth)[:, None], 0.1, (len(truth), 8))

        proof = prove(features, np.array(truth), np.array(groups))

        assert proof.logits.shape == (len(truth), max(truth) + 1)
    assert not recwarn.list


def test_a_fold_without_a_face_of_the_last_class_is_answered_in_all_classes() -> None:
    features, truth = np.eye(4)[[0, 0, 1, 1]], np.array([0, 0, 1, 1])

    head = fit(features, truth, np.arange(4), labels=3)

    assert head(features).shape == (4, 3)
    assert not (head(features).argmax(axis=1) == 2).any()


def clouds(shift: NDArray[np.float64], each: int = 8) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Faces of three classes that lie `shift` (classes, features) apart."""
    truth = np.repeat(np.arange(3), each)
    return shift[truth] + np.random.default_rng(0).normal(0, 1, (len(truth), shift.shape[1])), truth


def test_a_handful_of_faces_is_told_apart_along_the_directions_in_which_the_base_tells_its_classes() -> None:
    base = Head(np.eye(3, 40), np.zeros(3))
    features, truth = clouds(3 * np.eye(3, 40))

    head = fit(features, truth, np.arange(len(truth)), 3, told_by(base))

    assert np.abs(head.weights[:, :3]).max() > 0.1
    assert np.abs(head.weights[:, 3:]).max() < 1e-9


def test_what_the_base_does_not_tell_is_learnt_from_all_features() -> None:
    base = Head(np.eye(3, 40), np.zeros(3))
    features, truth = clouds(6 * np.eye(3, 40, 10))

    head = fit(features, truth, np.arange(len(truth)), 3, told_by(base))

    assert (head(features).argmax(axis=1) == truth).all()


def untried(lesson: Lesson, classifier: Classifier, head_only: bool = False) -> str:
    comparison = compare(lesson, classifier, FILE, ENTRY, head_only)
    assert [t.way for t in comparison.trials] == [HEAD]
    return comparison.untried


def test_the_last_layer_stands_alone_where_the_others_cannot_be_tried_or_cannot_win(
    lesson: Lesson, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = dataclasses.replace(
        lesson, features=9 * np.eye(len(SHOWN), lesson.features.shape[1])[lesson.truth]
    )
    mixed = dataclasses.replace(lesson, truth=np.arange(len(lesson.truth)) % len(SHOWN))

    assert "--head-only" in untried(lesson, classifier, head_only=True)
    assert "nothing can be more than one standard error better" in untried(told, classifier)
    assert "happy are kept" in untried(dataclasses.replace(mixed, kept=("happy",)), classifier)
    monkeypatch.setitem(__import__("sys").modules, "tensorflow", None)
    assert "pip install 'oahega-edge[build]'" in untried(mixed, classifier)


def test_the_network_answers_as_the_file_that_it_was_made_from(
    lesson: Lesson, classifier: Classifier
) -> None:
    kernel, bias = [o for o in read_operators(FILE) if o.name == "CONV_2D"][-1].inputs[1:]
    network = network_of(FILE, len(ENTRY.labels), "logits")
    network.get_layer(LAST).set_weights([kernel.value().transpose(1, 2, 3, 0), bias.value()])

    answers = FineTuning(FILE, ENTRY, whole=False).logits(network, lesson.faces.crops)

    wanted = classifier.logits([Quantizer(ENTRY.input)(crop) for crop in lesson.faces.crops])
    assert np.allclose(answers, wanted, atol=0.5)
    assert np.mean(answers.argmax(axis=1) == wanted.argmax(axis=1)) > 0.8


def test_a_file_with_other_operators_is_refused(tmp_path: Path) -> None:
    dense = tmp_path / "dense.tflite"
    dense.write_bytes(ends_in_a_dense_layer())

    with pytest.raises(ExportError, match="cannot be trained further; take an embedded bundle"):
        network_of(DEFAULT_BUNDLE / "detector.tflite", 3, "logits")
    with pytest.raises(ExportError, match="is FULLY_CONNECTED, which cannot be trained further"):
        network_of(dense, 3, "logits")


def ends_in_a_dense_layer() -> bytes:
    pixels = keras.Input(ENTRY.input.shape[1:], name="pixels")
    features = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pixels))
    network = keras.Model(pixels, keras.layers.Dense(3, name="logits")(features))
    rng = np.random.default_rng(0)
    return to_int8(network, rng.integers(0, 256, (4, *ENTRY.input.shape[1:3]), np.uint8), ENTRY.input)


def test_a_base_that_cannot_be_trained_further_gets_a_new_last_layer(
    lesson: Lesson, classifier: Classifier
) -> None:
    mixed = dataclasses.replace(lesson, truth=np.arange(len(lesson.truth)) % len(SHOWN))

    comparison = compare(mixed, classifier, DEFAULT_BUNDLE / "detector.tflite", ENTRY, head_only=False)

    assert comparison.chosen.way == HEAD
    assert "which cannot be trained further" in comparison.untried


@pytest.mark.lengthy
@pytest.mark.parametrize("whole", [False, True])
def test_what_is_trained_is_what_was_asked_for_and_the_file_is_int8(
    whole: bool, lesson: Lesson, classifier: Classifier
) -> None:
    tuning = FineTuning(FILE, ENTRY, whole, shortened=True)
    head = fit(lesson.features, lesson.truth, lesson.groups, len(SHOWN))

    model = tuning.fit(lesson.faces.crops, lesson.truth, head)
    content = tuning.exported(model, lesson.faces.crops, lesson.truth)

    before = [layer.get_weights()[0] for layer in network_of(FILE, 3, "logits").layers if layer.weights]
    after = [layer.get_weights()[0] for layer in model.layers if layer.weights]
    kept = [np.array_equal(old, new) for old, new in zip(before, after, strict=True)]
    assert kept == [not whole] * (len(kept) - 3) + [False] * 3
    require_int8(content)
    crops = lesson.faces.crops
    float32 = tuning.logits(model, crops)
    int8 = Classifier(content).logits([Quantizer(ENTRY.input)(crop) for crop in crops])
    assert np.corrcoef(int8.ravel(), float32.ravel())[0, 1] > 0.97
    assert np.abs(int8 - float32).mean() < 0.05 * np.ptp(float32)
    assert np.abs(int8 - float32).max() < 0.2 * np.ptp(float32)

"""Calibration and the figures of an evaluation, on numbers whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_build.emotion.calibrate import (
    Evidence,
    expected_calibration_error,
    fit_operating_point,
    fit_powers,
    fit_prior,
    fit_temperature,
    negative_log_likelihood,
    risk_coverage,
    suggested_threshold,
)
from oahega_build.emotion.loss import distillation, paper_class_weights
from oahega_build.emotion.metrics import bootstrap, confusion, precision_recall_f1, summary, table_one
from oahega_edge.chain.classification import softmax

pytestmark = pytest.mark.training


def drawn(pictures: int, temperature: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits whose true temperature is known: labels are drawn from softmax(logits / temperature)."""
    rng = np.random.default_rng(4)
    logits = rng.normal(0, 3, (pictures, 5))
    shares = softmax(logits, temperature)
    labels = (shares.cumsum(axis=1) > rng.random((pictures, 1))).argmax(axis=1)
    return logits, labels


def test_the_fitted_prior_is_what_the_network_was_taught_and_not_what_the_pictures_hold() -> None:
    """Faces of two kinds, told apart with doubt by a network that was taught with a quarter of the first."""
    rng = np.random.default_rng(4)
    taught, true = np.array([0.25, 0.75]), np.array([0.6, 0.4])
    labels = rng.choice(2, 20_000, p=true)
    seen = rng.normal(2.0 * labels - 1.0, 1.0)  # so log p(seen | 1) - log p(seen | 0) = 2 * seen
    logits = np.stack([np.zeros_like(seen), 2 * seen], axis=1) + np.log(taught)

    assert fit_prior(logits, labels, 1.0) == pytest.approx(taught, abs=0.02)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.5])
def test_the_fitted_temperature_is_the_one_the_answers_were_drawn_at(temperature: float) -> None:
    logits, labels = drawn(20_000, temperature)

    fitted = fit_temperature(logits, labels)

    assert fitted == pytest.approx(temperature, rel=0.05)
    assert expected_calibration_error(softmax(logits, fitted), labels) < 0.015


def test_the_fitted_temperature_has_the_least_loss_nearby() -> None:
    logits, labels = drawn(500, 1.7)

    fitted = fit_temperature(logits, labels)

    least = negative_log_likelihood(logits, labels, fitted)
    assert least <= negative_log_likelihood(logits, labels, fitted * 1.02)
    assert least <= negative_log_likelihood(logits, labels, fitted / 1.02)


def test_calibration_error_of_a_model_that_is_always_sure_is_its_error_rate() -> None:
    probabilities = np.eye(2)[np.zeros(10, int)]
    labels = np.array([0] * 7 + [1] * 3)

    assert expected_calibration_error(probabilities, labels) == pytest.approx(0.3)


def test_risk_coverage_orders_by_confidence() -> None:
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.2, 0.8]])
    labels = np.array([0, 1, 1])

    thresholds, coverage, precision = risk_coverage(probabilities, labels)

    assert thresholds.tolist() == [0.9, 0.8, 0.6]
    assert coverage.tolist() == pytest.approx([1 / 3, 2 / 3, 1])
    assert precision.tolist() == pytest.approx([1, 1, 2 / 3])


def test_the_suggested_threshold_keeps_the_wanted_precision() -> None:
    logits, labels = drawn(5000, 0.3)
    probabilities = softmax(logits, 0.3)

    threshold = suggested_threshold(probabilities, labels)

    covered = probabilities.max(axis=1) >= threshold
    right = probabilities.argmax(axis=1) == labels
    assert right[covered].mean() >= 0.945
    assert covered.mean() >= 0.5


def test_a_model_that_is_never_precise_still_gets_a_threshold_that_covers_half() -> None:
    rng = np.random.default_rng(1)
    probabilities = softmax(rng.normal(0, 0.1, (1000, 3)))

    threshold = suggested_threshold(probabilities, rng.integers(0, 3, 1000))

    assert 0.3 < threshold < 0.5


def test_table_one_gives_the_figures_of_a_known_confusion() -> None:
    labels = np.array([0] * 8 + [1] * 4)
    predicted = np.array([0] * 6 + [1] * 2 + [1] * 3 + [0])

    scores = precision_recall_f1(confusion(predicted, labels, 2))
    table = table_one(predicted, labels, ("calm", "loud"))

    assert scores[0].tolist() == pytest.approx([6 / 7, 6 / 8, 0.8])
    assert scores[1].tolist() == pytest.approx([3 / 5, 3 / 4, 2 / 3])
    recall = table["calm"].recall
    assert recall.low < recall.value == 0.75 < recall.high
    assert table["loud"].pictures == 4


def test_a_class_that_is_never_predicted_scores_zero_and_not_nan() -> None:
    scores = precision_recall_f1(confusion(np.array([0, 0]), np.array([0, 1]), 2))

    assert scores[1].tolist() == [0, 0, 0]


def test_the_bootstrap_interval_holds_the_mean_and_narrows_with_pictures() -> None:
    few, many = (np.random.default_rng(2).random(n) < 0.8 for n in (100, 10_000))

    low_few, high_few = bootstrap(lambda i: np.asarray(few[i].mean()), len(few))
    low_many, high_many = bootstrap(lambda i: np.asarray(many[i].mean()), len(many))

    assert low_many < many.mean() < high_many
    assert high_many - low_many < (high_few - low_few) / 5


def test_balanced_accuracy_weighs_classes_alike() -> None:
    labels = np.array([0] * 90 + [1] * 10)
    probabilities = np.tile([0.7, 0.3], (100, 1))

    figures = summary(probabilities, labels)

    assert figures.accuracy == pytest.approx(0.9)
    assert figures.balanced_accuracy == pytest.approx(0.5)


def test_the_papers_class_weights_are_formula_one() -> None:
    """Rarer than the mean: 1 / (s * mu) with s = N_i / N_mean; the others 1."""
    weights = paper_class_weights([100, 100, 40], mu=0.5)

    assert weights.tolist() == pytest.approx([1, 1, 4])


def test_distillation_gradients_do_not_fade_with_the_temperature() -> None:
    """Hinton 2015: with T squared, T = 1 and a large T pull in the same order of magnitude."""
    import tensorflow as tf

    pulls = []
    for temperature in (4.0, 8.0):
        logits = tf.Variable([[0.1, 0.0, -0.1]])
        with tf.GradientTape() as tape:
            loss = distillation(logits, tf.constant([[1.0, 0.0, -1.0]]), temperature)
        pulls.append(float(tf.norm(tape.gradient(loss, logits))))

    assert pulls[0] == pytest.approx(pulls[1], rel=0.1)


def test_an_operating_point_takes_back_what_a_label_is_answered_too_often() -> None:
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 3, 3000)
    logits = np.eye(3)[labels] * 2 + rng.normal(0, 1, (3000, 3)) + np.array([1.5, 0, 0])

    temperature, offsets = fit_operating_point([Evidence(logits, np.eye(3)[labels])])

    answered = softmax(logits / temperature + np.array(offsets)).argmax(axis=1)
    assert sum(offsets) == pytest.approx(0, abs=1e-3)
    assert offsets[0] < min(offsets[1:])
    assert np.bincount(answered) / 3000 == pytest.approx(np.full(3, 1 / 3), abs=0.03)


def test_where_every_label_counts_alike_a_rare_one_is_answered_more_readily() -> None:
    rng = np.random.default_rng(6)
    labels = (rng.random(3000) < 0.1).astype(int)
    logits = np.eye(2)[labels] + rng.normal(0, 1, (3000, 2))
    targets = np.eye(2)[labels]

    _, as_they_come = fit_operating_point([Evidence(logits, targets)])
    _, alike = fit_operating_point([Evidence(logits, targets, balanced=1.0)])

    assert alike[1] - alike[0] > as_they_come[1] - as_they_come[0] + 1


def test_powers_find_how_two_models_answers_have_to_be_multiplied() -> None:
    rng = np.random.default_rng(7)
    one, two = rng.normal(0, 2, (2, 20_000, 4))
    shares = softmax(0.8 * one + 0.3 * two)
    truth = (shares.cumsum(axis=1) > rng.random((len(shares), 1))).argmax(axis=1)

    powers, offsets = fit_powers([one, two, rng.normal(0, 2, one.shape)], truth, ridge=0)

    assert np.allclose(powers, (0.8, 0.3, 0.0), atol=0.04)
    assert np.allclose(offsets - offsets.mean(), 0, atol=0.05)


def test_an_answer_that_misleads_is_left_out_and_not_turned_round() -> None:
    logits, truth = drawn(4000, 1.0)

    noise = np.random.default_rng(8).normal(0, 1, logits.shape)

    powers, _ = fit_powers([logits, noise - 0.5 * logits], truth)

    assert powers[1] < 0.05 * powers[0]

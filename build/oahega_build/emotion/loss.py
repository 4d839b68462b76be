"""Losses of the emotion classifier. All take logits, so that the export needs no softmax."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from numpy.typing import NDArray


def cross_entropy(targets: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Cross entropy per picture, for targets (n, labels) that are shares: votes, mixtures or one-hot."""
    return tf.nn.softmax_cross_entropy_with_logits(targets, tf.cast(logits, tf.float32))


def distillation(logits: tf.Tensor, teacher_logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Cross entropy per picture to the teacher's softened answer, times T squared.

    Hinton et al. 2015, section 2.1: without the square, the gradients of the soft part shrink with T.
    """
    soft = tf.nn.softmax(tf.cast(teacher_logits, tf.float32) / temperature)
    student = tf.cast(logits, tf.float32) / temperature
    return tf.nn.softmax_cross_entropy_with_logits(soft, student) * temperature**2


def paper_class_weights(counts: Sequence[int], mu: float) -> NDArray[np.float32]:
    """Class weights of the OAHEGA paper, formula 1: 1 / (s * mu) if s = N_i / N_mean is below 1, else 1.

    Raises ValueError for a mu outside 0..1.
    """
    if not 0 < mu <= 1:
        raise ValueError(f"mu must be above 0 and at most 1, not {mu}")
    shares = np.asarray(counts, np.float64) / np.mean(counts)
    return np.where(shares < 1, 1 / (shares * mu), 1.0).astype(np.float32)


def log_prior(counts: Sequence[int]) -> NDArray[np.float32]:
    """The logarithm of the share of each class, for logit adjustment (Menon et al. 2021)."""
    shares = np.asarray(counts, np.float64) / np.sum(counts)
    return np.asarray(np.log(shares), np.float32)

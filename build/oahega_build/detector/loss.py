"""Loss of the detector: focal loss on every anchor that counts, smooth L1 on the boxes of the positives."""

from __future__ import annotations

import tensorflow as tf

from oahega_build.detector.targets import IGNORED, POSITIVE


def ssd_loss(
    scores: tf.Tensor,
    boxes: tf.Tensor,
    kind: tf.Tensor,
    offsets: tf.Tensor,
    alpha: float,
    gamma: float,
    box_weight: float,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Two scalars, scores' and boxes' part, each per positive anchor of the batch.

    scores (n, N, 1) logits; boxes, offsets (n, N, 4); kind (n, N) as `targets.Targets` has it.
    Focal loss: Lin et al. 2017, formula 5. Ignored anchors weigh nothing in either part.
    """
    positive = tf.cast(kind == POSITIVE, tf.float32)
    counted = tf.cast(kind != IGNORED, tf.float32)
    total = tf.maximum(tf.reduce_sum(positive), 1.0)
    focal = sigmoid_focal(tf.squeeze(scores, -1), positive, alpha, gamma)
    distance = tf.reduce_sum(smooth_l1(boxes - offsets), axis=-1)
    return (
        tf.reduce_sum(focal * counted) / total,
        box_weight * tf.reduce_sum(distance * positive) / total,
    )


def sigmoid_focal(logits: tf.Tensor, truth: tf.Tensor, alpha: float, gamma: float) -> tf.Tensor:
    """-alpha_t (1 - p_t)^gamma log p_t, elementwise; `truth` 0 or 1."""
    entropy = tf.nn.sigmoid_cross_entropy_with_logits(labels=truth, logits=logits)
    probability = tf.sigmoid(logits)
    right = truth * probability + (1 - truth) * (1 - probability)
    weight = truth * alpha + (1 - truth) * (1 - alpha)
    return weight * (1 - right) ** gamma * entropy


def smooth_l1(difference: tf.Tensor, beta: float = 0.5) -> tf.Tensor:
    """Square below `beta`, linear above, equal slopes where they meet."""
    size = tf.abs(difference)
    return tf.where(size < beta, 0.5 * size**2 / beta, size - 0.5 * beta)

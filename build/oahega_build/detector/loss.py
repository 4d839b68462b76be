"""Loss of the detector: focal loss on anchors that count, generalized IoU on the boxes of the positives.

It uses Keras operations only, so that it runs on every backend.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from oahega_build.detector.targets import IGNORED, POSITIVE

Tensor = Any
"""A tensor of any backend."""


def ssd_loss(
    scores: Tensor,
    boxes: Tensor,
    kind: Tensor,
    offsets: Tensor,
    alpha: float,
    gamma: float,
    box_weight: float,
    variances: tuple[float, float],
) -> tuple[Tensor, Tensor]:
    """Return the loss of the scores and of the boxes, each per positive anchor of the batch.

    scores (n, N, 1) logits; boxes, offsets (n, N, 4); kind (n, N) as in `targets.Targets`; `variances` of
    centers and sizes as in the decoder. Focal loss: Lin et al. 2017, formula 5. Ignored anchors have no
    weight in either part.
    """
    positive = ops.cast(ops.equal(kind, POSITIVE), "float32")
    counted = ops.cast(ops.not_equal(kind, IGNORED), "float32")
    total = ops.maximum(ops.sum(positive), 1.0)
    logits = ops.cast(ops.squeeze(scores, -1), "float32")
    focal = sigmoid_focal(logits, positive, alpha, gamma)
    distance = 1.0 - generalized_iou(ops.cast(boxes, "float32"), offsets, variances)
    return (
        ops.sum(focal * counted) / total,
        box_weight * ops.sum(distance * positive) / total,
    )


def sigmoid_focal(logits: Tensor, truth: Tensor, alpha: float, gamma: float) -> Tensor:
    """The elementwise focal loss -alpha_t (1 - p_t)^gamma log p_t; `truth` is 0 or 1."""
    entropy = ops.softplus(logits) - logits * truth
    probability = ops.sigmoid(logits)
    wrong = truth * (1 - probability) + (1 - truth) * probability
    weight = truth * alpha + (1 - truth) * (1 - alpha)
    return weight * wrong**gamma * entropy


def generalized_iou(ours: Tensor, theirs: Tensor, variances: tuple[float, float]) -> Tensor:
    """Generalized IoU, -1..1 (Rezatofighi et al. 2019), of boxes as offsets dy, dx, dh, dw on one anchor.

    Scaling an axis does not change it, so the anchor can be the unit square.
    """
    low_a, high_a = _corners(ours, variances)
    low_b, high_b = _corners(theirs, variances)
    shared = ops.prod(ops.relu(ops.minimum(high_a, high_b) - ops.maximum(low_a, low_b)), axis=-1)
    around = ops.prod(ops.maximum(high_a, high_b) - ops.minimum(low_a, low_b), axis=-1)
    union = ops.prod(high_a - low_a, axis=-1) + ops.prod(high_b - low_b, axis=-1) - shared
    return shared / union - (around - union) / around


def _corners(offsets: Tensor, variances: tuple[float, float]) -> tuple[Tensor, Tensor]:
    middle = offsets[..., :2] * variances[0]
    # The random offsets of a new network must not overflow.
    half = ops.exp(ops.clip(offsets[..., 2:] * variances[1], -4.0, 4.0)) / 2
    return middle - half, middle + half

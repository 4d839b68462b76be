"""Labelled faces of a place."""

from __future__ import annotations

import numpy as np

from oahega_edge.bundles.load import Bundle
from oahega_edge.tuning.faces import LabelledFace


def place(bundle: Bundle, count: int = 60, seed: int = 0, bias: float = 2.0) -> list[LabelledFace]:
    """Faces of a place where the bundle says its first label too rarely, by `bias`."""
    labels = bundle.manifest.emotion.labels
    drawn = np.random.default_rng(seed).normal(size=(count, len(labels)))
    faces = []
    for i in range(count):
        logits = drawn[i]
        logits[i % len(labels)] += 2.0
        logits[0] -= bias
        faces.append(LabelledFace(bundle.sha256, tuple(logits.tolist()), labels[i % len(labels)]))
    return faces

"""The classifier of a bundle that is not in use yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classifier import Classifier
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.contract.events import ModelIdentity
from oahega_edge.errors import EdgeError
from oahega_edge.stopwatch import Stopwatch

STAGE = "shadow"


class ShadowReader:
    """Reads faces without ever disturbing the chain: a failure ends it and is kept in `problem`."""

    def __init__(
        self, bundle: ModelIdentity, classifier: Classifier, close: Callable[[], None], watch: Stopwatch
    ) -> None:
        """`close` lets go of the classifier's model."""
        self.bundle = bundle
        self.labels = classifier.labels
        self.problem: str | None = None
        self.close = close
        self._classifier = classifier
        self._watch = watch

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64] | None:
        """Probabilities (labels,) of the face at `box`; None once it has failed."""
        if self.problem is not None:
            return None
        try:
            with self._watch.stage(STAGE):
                scores = self._classifier(pixels, box)
        except (EdgeError, ValueError) as error:
            self.problem = f"it failed: {error}"
            return None
        if not np.isfinite(scores).all():
            self.problem = "its answers are no numbers"
            return None
        return scores

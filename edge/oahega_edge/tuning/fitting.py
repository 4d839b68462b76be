"""From labelled faces to an overlay: the fit, and the proof on faces that were held back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from oahega_edge.bundles.load import Bundle
from oahega_edge.errors import EdgeError
from oahega_edge.tuning.faces import LabelledFace
from oahega_edge.tuning.overlay import Overlay, overlay_of
from oahega_edge.tuning.shift import LEAST_FACES, Proof, fit_shift, prove


class TooFew(EdgeError):
    """There are too few faces, or too few expressions, to fit anything to."""


@dataclass(frozen=True, slots=True)
class Fitted:
    """What labelled faces bring."""

    proof: Proof
    overlay: Overlay
    """To be used if the proof holds."""


def fitted(faces: Sequence[LabelledFace], bundle: Bundle, created: str) -> Fitted:
    """Fit and prove. `created`: now, as text. Raises TooFew."""
    labels = bundle.manifest.emotion.labels
    shown = {face.label for face in faces}
    if len(faces) < LEAST_FACES or len(shown) < 2:
        raise TooFew(
            f"{len(faces)} faces of {len(shown)} expressions are too few to tune with; it takes "
            f"{LEAST_FACES} of two or more, so ask more people"
        )
    logits = np.array([face.logits for face in faces])
    truth = np.array([labels.index(face.label) for face in faces])
    proof = prove(logits, truth)
    overlay = overlay_of(fit_shift(logits, truth), faces, bundle, proof.gain, proof.interval, created)
    return Fitted(proof, overlay)

"""What may be published: some labels of the model, and groups instead of single faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.classifier import MeasuringClassifier
from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Step, dominant
from oahega_edge.chain.smoothing import Average
from oahega_edge.chain.trigger import UNCERTAIN, Decision, Sighting, Trigger, TriggerRules
from oahega_edge.drift.look import Measured
from oahega_edge.errors import SettingsError, plain


def published_labels(labels: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
    """The model's labels that `allowed` names, in the model's order; all of them when it names none.

    Raises SettingsError for a name that the model does not have.
    """
    unknown = [label for label in allowed if label not in labels]
    if unknown:
        raise SettingsError(
            f"trigger.labels = {plain(list(allowed))}: the bundle does not know {plain(', '.join(unknown))}; "
            f"its emotions are {', '.join(labels)}"
        )
    return tuple(label for label in labels if not allowed or label in allowed)


def published_prior(
    prior: Sequence[float] | None, labels: Sequence[str], published: Sequence[str]
) -> tuple[float, ...] | None:
    """The class prior, renormalised over the published labels; `prior` is of `labels`."""
    if prior is None:
        return None
    kept = [prior[labels.index(label)] for label in published]
    hidden = (sum(prior) - sum(kept)) / len(kept)
    return tuple(share + hidden for share in kept)


class SelectedLabels:
    """A classifier that hides all but the selected labels.

    The probability of the hidden ones is spread evenly over the selected ones: the scores still sum to 1, a
    face with a hidden emotion reads as undecided, and the scores reveal neither that emotion nor its share.
    """

    def __init__(self, classifier: MeasuringClassifier, labels: Sequence[str]) -> None:
        """`labels`: at least two of the classifier's."""
        self._classifier = classifier
        self._labels = tuple(labels)
        self._kept = np.array([classifier.labels.index(label) for label in labels])

    @property
    def labels(self) -> tuple[str, ...]:
        """The selected ones, in the order of the probabilities."""
        return self._labels

    def __call__(self, pixels: Pixels, box: Box, second: bool = False) -> NDArray[np.float64]:
        """Probabilities (selected labels,) of the face at `box`."""
        return self._selected(self._classifier(pixels, box, second))

    def measured(self, pixels: Pixels, box: Box) -> Measured:
        """The same, and the face's light."""
        scores, light = self._classifier.measured(pixels, box)
        return self._selected(scores), light

    def _selected(self, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        kept = scores[self._kept]
        return np.asarray(kept + (1 - kept.sum()) / len(kept), np.float64)


class Group:
    """Discloses all faces together, and their emotion only while they are enough to be a group."""

    def __init__(self, labels: Sequence[str], least: int, rules: TriggerRules) -> None:
        """`least`: number of faces that must be read at once before an emotion is named."""
        self._labels = tuple(labels)
        self._least = least
        self._rules = rules
        self._trigger = Trigger("group", labels, rules)

    def adjust(self, rules: TriggerRules) -> None:
        """Change the rules while running."""
        self._rules = self._trigger.rules = rules

    def final(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """None, because they are of single faces."""
        return ()

    def disclosed(self, step: Step, frame: Frame) -> Step:
        """The step without events of single faces, every face with the group's average and emotion."""
        averages = [face.average for face in step.faces if face.average is not None]
        if len(averages) < self._least:
            self._trigger = Trigger("group", self._labels, self._rules)
            return _same_for_all(step, None, UNCERTAIN)
        average = Average(
            scores=np.mean([average.scores for average in averages], axis=0),
            frames=min(average.frames for average in averages),
            window=max(average.window for average in averages),
        )
        largest = dominant(step.faces)
        assert largest is not None
        self._trigger.see(Sighting(average, largest.box, frame.taken_at, frame.captured_at))
        return _same_for_all(step, average, self._trigger.current)


def _same_for_all(step: Step, average: Average | None, emotion: str) -> Step:
    faces: tuple[TrackedFace, ...] = tuple(
        replace(face, average=average, emotion=emotion) for face in step.faces
    )
    return replace(step, faces=faces, decisions=())

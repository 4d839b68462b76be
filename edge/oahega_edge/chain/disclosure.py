"""What may be told at all: some labels of the model, and groups instead of single faces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.pipeline import Classifier, Step, TrackedFace, dominant
from oahega_edge.chain.smoothing import Average
from oahega_edge.chain.trigger import UNCERTAIN, Decision, Sighting, Trigger, TriggerRules
from oahega_edge.errors import SettingsError, plain


def told_labels(labels: Sequence[str], allowed: Sequence[str]) -> tuple[str, ...]:
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


def told_prior(
    prior: Sequence[float] | None, labels: Sequence[str], told: Sequence[str]
) -> tuple[float, ...] | None:
    """What a model that never heard of the other labels takes for granted, its `prior` being of `labels`."""
    if prior is None:
        return None
    kept = [prior[labels.index(label)] for label in told]
    hidden = (sum(prior) - sum(kept)) / len(kept)
    return tuple(share + hidden for share in kept)


class SelectedLabels:
    """A classifier that has never heard of the other labels.

    Their probability is spread evenly over the selected ones: the scores still sum to 1, a face of a hidden
    emotion reads as undecided, and neither the hidden emotion nor its share can be told from the scores.
    """

    def __init__(self, classifier: Classifier, labels: Sequence[str]) -> None:
        """`labels`: at least two of the classifier's."""
        self._classifier = classifier
        self._labels = tuple(labels)
        self._kept = np.array([classifier.labels.index(label) for label in labels])

    @property
    def labels(self) -> tuple[str, ...]:
        """The selected ones, in the order of the probabilities."""
        return self._labels

    def __call__(self, pixels: Pixels, box: Box) -> NDArray[np.float64]:
        """Probabilities (selected labels,) of the face at `box`."""
        kept = self._classifier(pixels, box)[self._kept]
        return np.asarray(kept + (1 - kept.sum()) / len(kept), np.float64)


class Group:
    """Tells of all faces together, and of their emotion only while they are enough to be a group."""

    def __init__(self, labels: Sequence[str], least: int, rules: TriggerRules) -> None:
        """`least`: faces that must be read at once until an emotion is named."""
        self._labels = tuple(labels)
        self._least = least
        self._rules = rules
        self._trigger = Trigger("group", labels, rules)

    def adjust(self, rules: TriggerRules) -> None:
        """Change the rules while running."""
        self._rules = self._trigger.rules = rules

    def last_words(self, decisions: tuple[Decision, ...]) -> tuple[Decision, ...]:
        """None: they are of single faces."""
        return ()

    def told(self, step: Step, frame: Frame) -> Step:
        """The step without events of single faces, every face with the group's average and emotion."""
        averages = [face.average for face in step.faces if face.average is not None]
        if len(averages) < self._least:
            self._trigger = Trigger("group", self._labels, self._rules)
            return _told(step, None, UNCERTAIN)
        average = Average(
            scores=np.mean([average.scores for average in averages], axis=0),
            frames=min(average.frames for average in averages),
            window=max(average.window for average in averages),
        )
        largest = dominant(step.faces)
        assert largest is not None
        self._trigger.see(Sighting(average, largest.box, frame.taken_at, frame.captured_at))
        return _told(step, average, self._trigger.current)


def _told(step: Step, average: Average | None, emotion: str) -> Step:
    faces: tuple[TrackedFace, ...] = tuple(
        replace(face, average=average, emotion=emotion) for face in step.faces
    )
    return replace(step, faces=faces, decisions=())

"""How much of the network learns from the given faces: its last layer, its last block too, or all of it.

More freedom needs more faces. Every way answers the same folds, and the simplest within one standard error of
the best is taken (Breiman et al. 1984, section 3.4.3), so cross-validation decides from how many faces on the
trunk changes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from oahega_build.errors import ExportError
from oahega_build.runs.output import held_back
from oahega_build.teach.head import Numbers, Proof, cross_validated, fit, prove, standard_error, told_by
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.lesson import Lesson
from oahega_edge.manifest import EmotionEntry

HEAD, BLOCK, TRUNK = "last layer", "last block", "whole trunk"
"""The ways, the simplest first."""
NOT_TRIED = f"the {BLOCK} and the {TRUNK} were not tried: "


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """A way, what cross-validation says of it, and how to make the file."""

    way: str
    proof: Proof
    seconds: float
    """That the cross-validation took."""
    make: Callable[[], bytes]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """What was tried."""

    trials: Sequence[Trial]
    """The simplest first."""
    untried: str = ""
    """Why the others were not."""

    @property
    def chosen(self) -> Trial:
        """The simplest within one standard error of the best."""
        least = self._best.proof.balanced.value - self._best.proof.error
        return next(trial for trial in self.trials if trial.proof.balanced.value >= least)

    @property
    def _best(self) -> Trial:
        return max(self.trials, key=lambda trial: trial.proof.balanced.value)

    def lines(self) -> Iterator[str]:
        """The table, for people."""
        yield f"{'learns':<12} {'balanced accuracy':<23} seconds"
        for trial in self.trials:
            yield f"{trial.way:<12} {trial.proof.balanced!s:<23} {trial.seconds:>7.1f}"
        if len(self.trials) > 1:
            yield (
                f"taken: {self.chosen.way}, the simplest within one standard error "
                f"({self._best.proof.error:.3f}) of the best"
            )
        if self.untried:
            yield self.untried

    def figures(self) -> dict[str, Any]:
        """The table, for a run's metrics."""
        rows = [
            {"way": t.way, "balanced_accuracy": t.proof.balanced, "seconds": round(t.seconds, 1)}
            for t in self.trials
        ]
        return {"rows": rows, "chosen": self.chosen.way, "untried": self.untried}


def compare(
    lesson: Lesson, classifier: Classifier, file: Path, entry: EmotionEntry, head_only: bool
) -> Comparison:
    """Try the ways one after another while a freer one can still win. `file` is the base's classifier."""
    with threadpool_limits(1):  # waiting for each other costs these small matrices more than it saves
        started = time.monotonic()
        proof = prove(lesson.features, lesson.truth, lesson.groups, told_by(classifier.head()))
        head = Trial(HEAD, proof, time.monotonic() - started, lambda: _with_last_layer(lesson, classifier))
    if untried := _why_no_more(lesson, proof, head_only):
        return Comparison([head], untried)
    try:
        return Comparison(
            [head, *(_fine_tuned(way, lesson, classifier, file, entry) for way in (BLOCK, TRUNK))]
        )
    except ExportError as error:
        return Comparison([head], f"{NOT_TRIED}{error}")


def _with_last_layer(lesson: Lesson, classifier: Classifier) -> bytes:
    with threadpool_limits(1):
        told = told_by(classifier.head())
        head = fit(lesson.features, lesson.truth, lesson.groups, len(lesson.labels), told)
    return classifier.with_head(head, lesson.features)


def _why_no_more(lesson: Lesson, proof: Proof, head_only: bool) -> str:
    """A sentence where only the last layer can be, or needs to be, tried."""
    if head_only:
        return f"{NOT_TRIED}--head-only"
    if lesson.kept:
        return f"{NOT_TRIED}{', '.join(lesson.kept)} are kept, and there are no faces of them to train on"
    if find_spec("tensorflow") is None:
        return f"{NOT_TRIED}TensorFlow is not installed; where it runs, pip install 'oahega-edge[build]'"
    if proof.balanced.value >= 1 - standard_error(lesson.truth, lesson.truth, lesson.groups):
        return f"{NOT_TRIED}nothing can be more than one standard error better"
    return ""


def _fine_tuned(way: str, lesson: Lesson, classifier: Classifier, file: Path, entry: EmotionEntry) -> Trial:
    with held_back():  # TensorFlow speaks of its kernels
        from oahega_build.teach.finetune import FineTuning

        crops, truth, groups = lesson.faces.crops, lesson.truth, lesson.groups
        told = told_by(classifier.head())
        tuning = FineTuning(file, entry, whole=way == TRUNK)

        def trained(seen: Numbers) -> object:
            with threadpool_limits(1):
                head = fit(lesson.features[seen], truth[seen], groups[seen], len(lesson.labels), told)
            return tuning.fit([crops[i] for i in seen], truth[seen], head)

        def answered(seen: Numbers, rest: Numbers) -> NDArray[np.float64]:
            return tuning.logits(trained(seen), [crops[i] for i in rest])

        def made() -> bytes:
            with held_back():
                return tuning.exported(trained(np.arange(len(truth))), crops, truth)

        started = time.monotonic()
        proof = cross_validated(answered, truth, groups)
        return Trial(way, proof, time.monotonic() - started, made)

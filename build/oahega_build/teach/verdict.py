"""Whether the classes can be told apart, and what a person can do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from oahega_build.emotion.metrics import Interval, confusion
from oahega_build.teach.faces import Faces
from oahega_build.teach.head import Proof, divided, interval
from oahega_build.teach.lesson import Lesson
from oahega_edge.chain.classification import softmax

OFTEN = 0.2
"""Share of a class's faces from which a confusion is named."""
ENOUGH = 20
"""Faces of a class, after which more seldom help the last layer."""
DARK = 60
"""Mean grey value below which a face is dark."""
UNLIKELY, INSTEAD = 0.1, 0.8
"""Probabilities of the own and of another label from which a label is suspicious."""
MOST_LISTED = 10


@dataclass(frozen=True, slots=True)
class Verdict:
    """What cross-validation says, for people."""

    lesson: Lesson
    proof: Proof
    temperature: float

    @property
    def faces(self) -> Faces:
        """Those that were given."""
        return self.lesson.faces

    @property
    def chance(self) -> float:
        """What guessing gives."""
        return 1 / len(self.lesson.labels)

    @property
    def useless(self) -> bool:
        """Whether guessing may be as good."""
        return min(self.proof.balanced.low, self.of_given.low) <= self.chance

    @property
    def of_given(self) -> Interval:
        """Balanced accuracy over the classes of which faces were given."""
        given = len(self.faces.names)
        predicted = self.proof.logits[:given].argmax(axis=1)
        return interval(predicted, self.lesson.truth[:given], self.lesson.groups[:given])

    def headline(self) -> str:
        """The one figure."""
        return (
            f"balanced accuracy {self.proof.balanced}, cross-validated on {len(self.faces.truth)} faces; "
            f"guessing gives {self.chance:.3f}"
        )

    def remarks(self) -> Iterator[str]:
        """Counts, what was left out, what rests on too little, and labels to look at again."""
        counts = (f"{label} {int(self.faces.of(label).sum())}" for label in self.faces.labels)
        yield f"faces: {', '.join(counts)}"
        if self.lesson.kept:
            kept = ", ".join(self.lesson.kept)
            yield f"{', '.join(self.faces.labels)}: found in {self.of_given}"
            yield f"kept: {kept}; their figures stand on what the base remembers, not on faces"
        yield from self.faces.problems
        for label in self.faces.labels:
            if len(np.unique(self.faces.groups[self.faces.of(label)])) == 1:
                yield (
                    f"{label} rests on one clip or person alone: the figures above are too good; "
                    "add faces of somebody else"
                )
        yield from self.confusions()
        yield from self.suspicions()

    def confusions(self) -> Iterator[str]:
        """The pairs that are often mixed up, worst first."""
        labels, truth = self.lesson.labels, self.lesson.truth
        counts = confusion(self.proof.logits.argmax(axis=1), truth, len(labels))
        np.fill_diagonal(counts, 0)
        totals = np.bincount(truth)
        shares = counts / totals[:, None]
        for place in np.argsort(-shares, axis=None):
            row, column = divmod(int(place), len(labels))
            if shares[row, column] < OFTEN:
                return
            times = f"{counts[row, column]} of {totals[row]}"
            yield f"{labels[row]} is taken for {labels[column]} in {times} faces"

    def suspicions(self) -> Iterator[str]:
        """Faces that all the others contradict."""
        given = len(self.faces.names)
        answers = softmax(self.proof.logits[:given], self.temperature)
        own = answers[np.arange(given), self.lesson.truth[:given]]
        found = np.flatnonzero((own < UNLIKELY) & (answers.max(axis=1) > INSTEAD))
        if not len(found):
            return
        listed = found[np.argsort(own[found])][:MOST_LISTED]
        looks = (f"{self.faces.names[i]} (looks {self.lesson.labels[answers[i].argmax()]})" for i in listed)
        yield f"labels to look at again, {len(found)}: {', '.join(looks)}"

    def advice(self) -> str:
        """What would help, the likeliest first."""
        truth, labels = self.faces.truth, self.faces.labels
        groups = divided(truth, self.faces.groups)
        sizes = {label: len(np.unique(groups[self.faces.of(label)])) for label in labels}
        few = [f"{label} ({count})" for label, count in sizes.items() if count < ENOUGH]
        tips = [f"add different pictures of {', '.join(few)}, {ENOUGH} each"] if few else []
        dark = sum(float(crop.mean()) < DARK for crop in self.faces.crops)
        if dark > len(truth) / 5:
            tips.append(f"take pictures in more even light ({dark} of {len(truth)} faces are dark)")
        pair = next(self.confusions(), "")
        if pair:
            tips.append(f"make one class of two that look alike ({pair})")
        return ", ".join(tips) or "show the expressions more clearly"

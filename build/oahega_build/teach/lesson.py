"""What the new last layer learns from: the faces that were given, and classes that are kept without any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.labels import label_of
from oahega_build.teach.faces import Faces
from oahega_build.teach.memory import Memory

DRAWN = 300
"""Features of each kept class: as many as the faces that it is remembered from."""


@dataclass(frozen=True, slots=True, eq=False)
class Lesson:
    """The given faces first, in their order, then what was drawn from memory."""

    labels: tuple[str, ...]
    features: NDArray[np.float64]
    truth: NDArray[np.int64]
    """Index into `labels`."""
    groups: NDArray[np.int64]
    faces: Faces
    kept: tuple[str, ...] = ()
    """Labels of which no face was given."""


def plain_lesson(faces: Faces, features: NDArray[np.float64]) -> Lesson:
    """The given faces alone."""
    return Lesson(faces.labels, features, faces.truth, faces.groups, faces)


def with_kept(lesson: Lesson, memory: Memory, kept: Mapping[str, str]) -> Lesson:
    """With classes of the base as well; `kept`: label in the base -> label in the new bundle."""
    labels = tuple(sorted([*lesson.labels, *kept.values()]))
    drawn = [memory.draw(old, DRAWN) for old in kept]
    truth = np.array([labels.index(label) for label in lesson.labels])[lesson.truth]
    own = [labels.index(new) for new in kept.values()]
    first = int(lesson.groups.max()) + 1
    return Lesson(
        labels,
        np.concatenate([lesson.features, *drawn]),
        np.concatenate([truth, np.repeat(own, DRAWN)]),
        np.concatenate([lesson.groups, first + np.arange(DRAWN * len(drawn))]),
        lesson.faces,
        tuple(kept.values()),
    )


def kept_labels(words: str, memory: Memory, given: tuple[str, ...]) -> dict[str, str]:
    """`happy,sad=tired` -> {happy: happy, sad: tired}. Raises DataError for labels that do not fit."""
    kept: dict[str, str] = {}
    for word in filter(None, words.replace(",", " ").split()):
        old, _, new = word.partition("=")
        if old not in memory.labels:
            raise DataError(f"the base knows no {old!r} to keep; it knows {', '.join(memory.labels)}")
        kept[old] = label_of(new or old)
    every = [*given, *kept.values()]
    twice = sorted({label for label in every if every.count(label) > 1})
    if twice:
        raise DataError(
            f"{', '.join(twice)} would be there twice; keep a class or give its pictures, not both"
        )
    return kept

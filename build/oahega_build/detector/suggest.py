"""The scores that a detector suggests, chosen anew by their cost on pictures that people boxed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from oahega_build.detector.costs import Choice, Cost, as_cheap, choose, look, share_right
from oahega_build.detector.kinds import KINDS
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_picture
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.readers import read_text_folder
from oahega_build.runs.artifacts import write_json
from oahega_build.runs.entries import ENTRY
from oahega_build.runs.output import say
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.chain.detection import FACE, PERSON
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import DetectorEntry
from oahega_edge.runtimes import open_model
from oahega_edge.text import read_text

SCORES = tuple(np.arange(0.2, 0.81, 0.01).round(2).tolist())
LEAST_HEIGHT = {FACE: 12.0, PERSON: 24.0}
"""Pixels of the network's input; lower things are not asked for."""

Pictures = Iterator[tuple[Pixels, Sequence[Box], Sequence[Box]]]


def suggest(
    folder: Path,
    label: str,
    boxed: Path,
    nobody: Path,
    cost: Cost,
    least_precision: float,
    least_right: float = 0.0,
    before: float | None = None,
) -> tuple[float, list[Choice]]:
    """Write the suggested score of `label` into `<folder>/entry.json`; returns it and all, cheapest first.

    Of those whose cost is the lowest within one standard error over pictures, it is the one nearest to
    `before`, what devices have had so far, or the middle one. With `least_right` it is, whatever it costs,
    the lowest one from which on this share of the detections in `boxed` are right.

    Scores with a smaller precision of tracks than `least_precision` are not taken. `boxed` holds pictures
    with boxes, `nobody` pictures without people. Raises DataError if no score is left.
    """
    path = folder / ENTRY
    entry = DetectorEntry.model_validate_json(read_text(path, LARGEST_DOCUMENT))
    model = open_model(folder / entry.cpu.file, entry.outputs, entry.input)
    least = dict.fromkeys(entry.labels, min(SCORES))
    detector = Detector(entry, model, least, person_score=entry.suggested.score.get(PERSON, 0.0))
    try:
        people = look(_pictures(boxed, label, entry), detector.find, label)
        alone = look(_pictures(nobody, label, entry), detector.find, label)
    finally:
        model.close()
    choices = choose(people, alone, SCORES, cost)
    allowed = [choice for choice in choices if choice.precision >= least_precision]
    if not allowed:
        best = max(choice.precision for choice in choices)
        raise DataError(
            f"no score of {label} reaches a precision of {least_precision}; the highest is {best:.3f}"
        )
    chosen = as_cheap(allowed, before).score
    if least_right:
        right = [
            choice.score for choice in allowed if share_right(people, label, choice.score) >= least_right
        ]
        if not right:
            raise DataError(f"at no score of {label} a share of {least_right} of the detections is right")
        chosen = min(right)
    score = {**entry.suggested.score, label: chosen}
    suggested = entry.suggested.model_copy(update={"score": score})
    write_json(path, entry.model_copy(update={"suggested": suggested}).model_dump(mode="json"))
    return chosen, allowed


def _pictures(folder: Path, label: str, entry: DetectorEntry) -> Pictures:
    """Each picture with its things of the label: those to find, and those too small for this input."""
    names = {FACE: FACE, PERSON: PERSON} | dict.fromkeys(KINDS, FACE)
    problems = Problems()
    for picture in read_text_folder(folder, folder.name, frozenset(), problems, names):
        pixels = read_picture(picture.path, "rgb")
        if pixels is None:
            continue
        scale = fit_picture(pixels, entry.input, entry.resize)[1].height * entry.input.height
        things = [box.box for box in picture.boxes if box.label == label]
        least = LEAST_HEIGHT[label]
        yield (
            pixels,
            [box for box in things if box.height * scale >= least],
            [box for box in things if box.height * scale < least],
        )
    for sentence in problems.sentences():
        say(sentence)

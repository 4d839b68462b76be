"""The suggested scores of an exported detector, and its figures on the held-out pictures."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.examples.composing import composer_of
from oahega_build.detector.examples.inputs import covered_records, scene_of
from oahega_build.detector.metrics import matches_of
from oahega_build.detector.recipe import OUTPUTS, PIXEL_OFFSET, PIXEL_SCALE, DetectorRecipe
from oahega_build.errors import DataError
from oahega_build.models.exported import Exported
from oahega_build.pictures.record import Record
from oahega_edge.chain.detection import FACE, PERSON, Decoder, Detection, boost_faces_on_shoulders
from oahega_edge.chain.preprocess import Quantizer, fit_picture
from oahega_edge.manifest import DetectorEntry

VIEWS_SEED = 1
"""Seed of the varied views without people, the same for every detector."""

Answers = Iterator[tuple[dict[str, NDArray[Any]], Any]]
"""Outputs by role, and the placement of the picture on the input, for each picture."""


COVERS_SEED = 1
"""Seed of the covers on held-out faces, the same for every detector."""


def held_covered(recipe: DetectorRecipe, held: Sequence[Record]) -> list[Record]:
    """Held-out pictures with covers drawn over their faces, for the score of covered faces."""
    return covered_records(held, recipe.labels, recipe.longest, COVERS_SEED)


def choose_scores(
    recipe: DetectorRecipe,
    entry: DetectorEntry,
    answers: Answers,
    records: Sequence[Record],
    empty: Sequence[Sequence[Detection]] = (),
    labels: Sequence[str] = (FACE, PERSON),
) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Compute the figures of `labels` on the records, and the lowest scores that the recipe allows.

    `empty`: the result of `found_in_empty_views`; empty if it does not matter.
    """
    if not records:
        raise DataError("there are no held-out records to choose the scores on; label more pictures")
    decode = Decoder(entry, dict.fromkeys(entry.labels, 0.02), recipe.nms_iou)
    found = [decode(answer, placement) for answer, placement in answers]
    figures: dict[str, dict[str, float]] = {}
    scores: dict[str, float] = {}
    for label in sorted(labels, key=lambda label: label == FACE):
        if label == FACE and PERSON in scores:  # where a head is, is known now
            found = [boost_faces_on_shoulders(of, scores[PERSON]) for of in found]
            empty = [boost_faces_on_shoulders(of, scores[PERSON]) for of in empty]
        matches = matches_of(label, found, records)
        score = min(0.9, max(0.1, matches.score_for_precision(recipe.precision)))
        if empty and label in recipe.false_alarms:
            highest = [max((d.score for d in of if d.label == label), default=0.0) for of in empty]
            score = max(score, min(0.9, float(np.quantile(highest, 1 - recipe.false_alarms[label]))))
        chosen = matches.at(score)
        scores[label] = round(score, 3)
        figures[label] = {
            "AP50": round(matches.average_precision(), 4),
            "score": round(score, 3),
            "precision": round(chosen.precision, 4) if len(chosen.scores) else 0.0,
            "recall": round(chosen.recall, 4),
            "recall_at_0.1_false_alarms": round(matches.recall_at_false_alarms(0.1), 4),
        }
    return figures, scores


def found_in_empty_views(
    recipe: DetectorRecipe, entry: DetectorEntry, data: bytes, held: Sequence[Record]
) -> list[list[Detection]]:
    """The detections in varied views of held-out pictures without people, which are all false alarms.

    There are few such pictures; a single view of each would say little about the rate of false alarms.
    """
    scenes = (scene_of(record, recipe.labels, recipe.longest) for record in held)
    nobody = [scene for scene in scenes if scene.set_name in recipe.without_people]
    if not nobody:
        return []
    composer = composer_of(dataclasses.replace(recipe, shares={}, seed=VIEWS_SEED), nobody, None)
    quantizer = Quantizer(entry.input)
    blank = np.zeros((entry.input.height, entry.input.width, 3), np.uint8)
    placement = fit_picture(blank, entry.input, entry.resize)[1]
    decode = Decoder(entry, dict.fromkeys(entry.labels, 0.1), recipe.nms_iou)
    views = (quantizer(composer.example(number).pixels) for number in range(recipe.empty_views))
    return [decode(answer, placement) for answer in Exported(data, entry.outputs).run_all(views)]


def int8_outputs(data: bytes, entry: DetectorEntry, records: Sequence[Record]) -> Answers:
    """The outputs of the exported file, computed as on the device."""
    quantizer = Quantizer(entry.input)
    fitted = [fit_picture(record.pixels(), entry.input, entry.resize) for record in records]
    answers = Exported(data, entry.outputs).run_all(quantizer(pixels) for pixels, _ in fitted)
    for answer, (_, placement) in zip(answers, fitted, strict=True):
        yield answer, placement


def float_outputs(model: keras.Model, entry: DetectorEntry, records: Sequence[Record]) -> Answers:
    """The outputs of the float network for the same pictures."""
    fitted = [fit_picture(record.pixels(), entry.input, entry.resize) for record in records]
    for start in range(0, len(fitted), 32):
        part = fitted[start : start + 32]
        real = np.stack([pixels for pixels, _ in part]).astype(np.float32) * PIXEL_SCALE + PIXEL_OFFSET
        answer = {name: np.asarray(value) for name, value in model(real, training=False).items()}
        for i, (_, placement) in enumerate(part):
            yield {role: answer[name][i : i + 1] for role, name in OUTPUTS.items()}, placement

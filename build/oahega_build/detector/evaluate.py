"""An exported detector on the pictures that chose nothing, through the device's own code, beside its rivals.

The faces' truth is what YuNet_n sees at 640 px with a score of at least .7, the persons' what people boxed
(street) or the teachers agree on (elsewhere). Rivals run on the same pictures in the same process.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from oahega_build.detector.kinds import measure, read_boxed
from oahega_build.detector.kinds import on_card as kinds_on_card
from oahega_build.detector.metrics import SIZES, Matches, matches_of
from oahega_build.errors import DataError
from oahega_build.labelling.teachers import Teacher, TeacherSpec, make_teacher
from oahega_build.models.interpreter import invocation_times
from oahega_build.pictures.record import Record
from oahega_build.pictures.records import read_records, shards_of
from oahega_build.runs.artifacts import open_run
from oahega_build.runs.entries import ENTRY, write_on_card
from oahega_build.runs.progress import track
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.chain.detection import PERSON, Detection
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.frame import Pixels
from oahega_edge.manifest import COVERED_FACE, DetectorEntry
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.port import Model
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.text import read_text

LEAST = 0.02
"""Scores from here on enter the average precision."""
KEPT = 100_000
"""Pictures whose times are kept."""
STAGES = {"detector_input": "detector input", "detector": "detector model", "decode": "detector decode"}
"""The device's stages by their name among the figures."""
UNMASKED = ("portraits", "lfw")
"""The sets of large faces without masks."""
WITHOUT_PEOPLE = "animals"
"""The set whose pictures show nobody."""


@dataclass(frozen=True, slots=True)
class Rivals:
    """Whom the detector is measured against."""

    persons: TeacherSpec
    faces: TeacherSpec
    reference: TeacherSpec
    """Says where large faces are whose skin is measured."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What was evaluated; beside the figures as recipe.json."""

    detector: str
    records: str
    split: str
    rivals: Rivals
    sha256: str


class ExportedDetector:
    """An entry and its file, run as the daemon runs them, and timed stage by stage."""

    def __init__(self, entry: DetectorEntry, model: Model, least: float = LEAST) -> None:
        self.name = "exported"
        self.watch = Stopwatch(time.perf_counter, kept=KEPT)
        person_score = entry.suggested.score.get(PERSON, 0.0)
        all_scores = dict.fromkeys(entry.labels, least)
        self._everything = Detector(entry, model, all_scores, person_score=person_score)
        self._as_suggested = Detector(entry, model, entry.suggested.score, watch=self.watch)

    def find(self, pixels: Pixels) -> list[Detection]:
        """Everything from `least` on; the decoding that is timed uses the suggested scores."""
        answer = self._as_suggested.run(pixels)
        self._as_suggested.decode(*answer)
        return self._everything.decode(*answer)


class TimedTeacher:
    """A teacher as a rival."""

    def __init__(self, teacher: Teacher) -> None:
        self.name = teacher.name
        self._teacher = teacher
        self.seconds: list[float] = []

    def find(self, pixels: Pixels) -> list[Detection]:
        """What the teacher finds, its own resizing included in the time."""
        started = time.perf_counter()
        found = self._teacher.find(pixels)
        self.seconds.append(time.perf_counter() - started)
        return [Detection(f.label, f.box, f.score) for f in found]


def evaluate(
    folder: Path,
    records: str,
    split: str,
    rivals: Rivals,
    data: Path,
    artifacts: Path,
    run: str,
    boxed: Path | None = None,
) -> Path:
    """Measure `<folder>/detector.tflite` into `<artifacts>/evaluate-detector/<run>`: metrics, curves.

    `boxed`: a folder of pictures with hand-made boxes of faces and masked faces, for figures by kind.
    The figures join the model's card in `entry.json`, from which the bundle's MODEL_CARD.md is made.
    """
    entry = DetectorEntry.model_validate_json(read_text(folder / ENTRY, LARGEST_DOCUMENT))
    pictures = list(read_records(shards_of(artifacts / "label" / records, split)))
    if not pictures:
        raise DataError(f"the labelling run {records} has no pictures of {split}")
    described = Evaluation(str(folder), records, split, rivals, entry.cpu.sha256)
    with open_run(artifacts, "evaluate-detector", run, described) as made:
        cv2.setNumThreads(1)
        model = open_model(folder / entry.cpu.file, entry.outputs, entry.input)
        mine = ExportedDetector(entry, model)
        persons = TimedTeacher(make_teacher(rivals.persons, data))
        faces = TimedTeacher(make_teacher(rivals.faces, data))
        found = [
            {finder.name: finder.find(pixels) for finder in (mine, persons, faces)}
            for pixels in (record.pixels() for record in track(pictures, "evaluating", len(pictures)))
        ]
        kinds = (
            _by_kind(entry, model, boxed, pictures, make_teacher(rivals.reference, data)) if boxed else None
        )
        model.close()
        results = [of[mine.name] for of in found]
        metrics: dict[str, Any] = {
            "detector": label_figures(entry, results, pictures),
            "rivals": {
                persons.name: {
                    "person": rival_figures("person", [of[persons.name] for of in found], pictures)
                },
                faces.name: {"face": rival_figures("face", [of[faces.name] for of in found], pictures)},
            },
            "speed_ms": speed(mine, persons, faces),
            "invocation": invocation_ratio(folder / entry.cpu.file, data / rivals.persons.files[0]),
            "bytes": (folder / entry.cpu.file).stat().st_size,
        }
        card = on_card(split, len(pictures), metrics["detector"])
        if kinds is not None:
            metrics["boxed"] = kinds
            card |= kinds_on_card(kinds)
        made.write_metrics(metrics)
        write_on_card(folder, entry, card)
        write_curves(made.folder / "curves.png", entry, found, pictures, mine.name, persons.name, faces.name)
    return made.finished


def _by_kind(
    entry: DetectorEntry, model: Model, boxed: Path, pictures: Sequence[Record], reference: Teacher
) -> dict[str, Any]:
    """Figures by kind, height and lightness at the suggested scores."""
    person = entry.suggested.score.get(PERSON, 0.0)
    suggested = Detector(entry, model, entry.suggested.score, person_score=person)
    plain = (record.pixels() for record in pictures if set_of(record) in UNMASKED)
    return measure(read_boxed(boxed), plain, suggested.find, reference, entry)


def on_card(split: str, pictures: int, figures: Mapping[str, Any]) -> dict[str, float | int | str]:
    """The figures of `label_figures` for a model card, each named after the split."""
    card: dict[str, float | int | str] = {f"{split}_pictures": pictures}
    for label, of in figures.items():
        heights = (f"{name} {size['recall']:.3f}" for name, size in of["recall_by_height"].items())
        sets = (f"{name} {each['AP50']:.3f}" for name, each in of["by_set"].items() if each["things"])
        card |= {
            f"{split}_{label}_AP50": round(of["AP50"], 4),
            f"{split}_{label}_AP50_by_set": ", ".join(sets),
            f"{split}_{label}_score": of["score"],
            f"{split}_{label}_precision": round(of["precision"], 4),
            f"{split}_{label}_recall_by_height": ", ".join(heights),
        }
        if of["pictures_without_people"]:
            alarms = round(of["false_alarms_without_people"], 4)
            card[f"{split}_{label}_false_alarms_per_picture_without_people"] = alarms
    return card


def label_figures(
    entry: DetectorEntry, found: Sequence[Sequence[Detection]], pictures: Sequence[Record]
) -> dict[str, Any]:
    """Per label: average precision, and what the suggested score gives, over all sets and set by set."""
    figures: dict[str, Any] = {}
    for label in boxed_labels(entry):
        score = entry.suggested.score[label]
        matches = matches_of(label, found, pictures)
        strict = matches_of(label, found, pictures, use_ignore=False)
        chosen = matches.at(score)
        nobody = [i for i, record in enumerate(pictures) if set_of(record) == WITHOUT_PEOPLE]
        alarms = matches_of(label, [found[i] for i in nobody], [pictures[i] for i in nobody])
        figures[label] = {
            "score": score,
            "things": len(matches.truth_heights),
            "AP50": matches.average_precision(),
            "AP50_ignore_regions_count": strict.average_precision(),
            "precision": chosen.precision,
            "precision_ignore_regions_count": strict.at(score).precision,
            "recall": chosen.recall,
            "recall_at_0.1_false_alarms": matches.recall_at_false_alarms(0.1),
            "false_alarms_per_picture": chosen.false_alarms,
            "false_alarms_without_people": alarms.at(score).false_alarms,
            "pictures_without_people": len(nobody),
            "recall_by_height": by_size(chosen),
            "by_set": by_set(label, score, found, pictures),
        }
    return figures


def boxed_labels(entry: DetectorEntry) -> list[str]:
    """The labels that boxes in pictures have; no picture says which of its faces are covered."""
    return [label for label in entry.labels if label != COVERED_FACE]


def by_size(matches: Matches) -> dict[str, dict[str, float]]:
    """Recall per class of heights, and how many things there are."""
    sizes = {}
    for name, (low, high) in SIZES.items():
        recall, count = matches.recall_of_size(low, high)
        sizes[name] = {"recall": recall, "things": count}
    return sizes


def by_set(
    label: str, score: float, found: Sequence[Sequence[Detection]], pictures: Sequence[Record]
) -> dict[str, dict[str, float]]:
    """Figures of each set of pictures."""
    figures = {}
    for name in sorted({set_of(record) for record in pictures}):
        members = [i for i, record in enumerate(pictures) if set_of(record) == name]
        matches = matches_of(label, [found[i] for i in members], [pictures[i] for i in members])
        chosen = matches.at(score)
        figures[name] = {
            "things": len(matches.truth_heights),
            "AP50": matches.average_precision(),
            "precision": chosen.precision,
            "recall": chosen.recall,
            "false_alarms_per_picture": chosen.false_alarms,
        }
    return figures


def rival_figures(
    label: str, found: Sequence[Sequence[Detection]], pictures: Sequence[Record]
) -> dict[str, Any]:
    """What a rival reaches on the same pictures, its scores from its own least on."""
    matches = matches_of(label, found, pictures)
    return {
        "AP50": matches.average_precision(),
        "recall_at_0.1_false_alarms": matches.recall_at_false_alarms(0.1),
        "by_set": by_set(label, 0.5, found, pictures),
    }


def set_of(record: Record) -> str:
    """`street` of `street/valid/0001_0`."""
    return record.key.split("/")[0]


def speed(mine: ExportedDetector, persons: TimedTeacher, faces: TimedTeacher) -> dict[str, Any]:
    """Medians in milliseconds on one thread, all finders taking turns picture by picture."""
    stages = {name: mine.watch.percentile(stage, 50) for stage, name in STAGES.items()}
    return stages | {persons.name: _median(persons.seconds), faces.name: _median(faces.seconds)}


def _median(seconds: Sequence[float]) -> float:
    return 1000 * statistics.median(seconds)


def write_curves(
    path: Path,
    entry: DetectorEntry,
    found: Sequence[Mapping[str, Sequence[Detection]]],
    pictures: Sequence[Record],
    mine: str,
    persons: str,
    faces: str,
) -> None:
    """Precision over recall per label, the rival beside it, the suggested score marked."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    labels = boxed_labels(entry)
    figure, axes = pyplot.subplots(1, len(labels), figsize=(6 * len(labels), 5), squeeze=False)
    for axis, label in zip(axes[0], labels, strict=True):
        for name in (mine, faces if label == "face" else persons):
            matches = matches_of(label, [of[name] for of in found], pictures)
            precision, recall = matches.curve()
            axis.plot(recall, precision, label=f"{name}, AP50 {matches.average_precision():.3f}")
            if name == mine:
                chosen = matches.at(entry.suggested.score[label])
                axis.plot(
                    [chosen.recall], [chosen.precision], "o", label=f"score {entry.suggested.score[label]}"
                )
        axis.set(title=label, xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axis.legend(loc="lower left")
    figure.tight_layout()
    figure.savefig(path, dpi=90)
    pyplot.close(figure)


def invocation_ratio(detector: Path, rival: Path, runs: int = 200) -> dict[str, float]:
    """Lower quartiles of the invocations of two files, in ms, and their ratio."""
    times = invocation_times({"detector": detector, "rival": rival}, runs)
    quartile = {name: float(np.percentile(values, 25)) for name, values in times.items()}
    ratio = quartile["detector"] / quartile["rival"]
    return {"detector_ms": quartile["detector"], "rival_ms": quartile["rival"], "ratio": ratio}

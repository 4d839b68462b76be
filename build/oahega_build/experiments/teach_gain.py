"""Verb `measure-teaching`: how good bundles are that `teach` makes of few pictures.

Known classes, which the trunk was trained to tell; one strange class beside the kept ones; strange classes
alone. Faces that were not drawn are answered with the last layer as it stands in the int8 file.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from oahega_build.emotion.evaluate import VALID, VALID_LOG, part_of, require_labels, require_unseen
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import VOTES, read_dataset, read_picture
from oahega_build.pictures.framing import device_crop
from oahega_build.pictures.tables import read_table
from oahega_build.runs import artifacts
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.teach.head import Features, Numbers, fit, told_by
from oahega_build.teach.last_layer import Classifier, Head
from oahega_build.teach.lesson import DRAWN
from oahega_build.teach.memory import Memory, read_memory
from oahega_build.teach.site import Known, known_by
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces of the base's classes."""

    features: Features
    truth: Numbers
    """Index into the base's labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Strange:
    """Faces of a class that the base does not tell."""

    drawn: Features
    """Of `train`: what is drawn from. The trunk may have seen them, as something else."""
    unseen: Features
    """Of `valid`: only answered."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """What is taught."""

    classifier: Classifier
    known: Known
    memory: Memory

    def taught(self, features: Features, truth: Numbers, labels: int) -> Head:
        """The last layer as the written file has it, every face a group of its own."""
        with threadpool_limits(1):
            told = told_by(self.classifier.head())
            head = fit(features, truth, np.arange(len(truth)), labels, told)
        return Classifier(self.classifier.with_head(head, features)).head()


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of lesson."""

    taught: str
    each: int
    """Pictures of each taught class."""
    figures: Mapping[str, tuple[float, ...]]
    """What is measured -> its value in each draw."""

    def __str__(self) -> str:
        """A line per figure: mean, least and greatest of the draws."""
        return "\n".join(
            f"{self.taught:<28} {self.each:>3} of each  {what:<24} {np.mean(of):.3f} "
            f"({min(of):.3f} to {max(of):.3f})"
            for what, of in self.figures.items()
        )


def known_classes(
    base: Base, faces: Faces, classes: Mapping[str, int], each: int, draws: int, tested: int
) -> Row:
    """Classes that the trunk tells (name -> label), without the others."""
    found = []
    for rng in _generators(draws):
        order = [rng.permutation(np.flatnonzero(faces.truth == label)) for label in classes.values()]
        rest = np.concatenate([mine[:tested] for mine in order])
        seen = np.concatenate([mine[tested : tested + each] for mine in order])
        wanted = np.repeat(np.arange(len(order)), tested)
        head = base.taught(faces.features[seen], np.repeat(np.arange(len(order)), each), len(order))
        found.append(float((head(faces.features[rest]).argmax(axis=1) == wanted).mean()))
    return Row(", ".join(classes), each, {"accuracy": tuple(found)})


def beside_kept(base: Base, faces: Faces, name: str, strange: Strange, each: int, draws: int) -> Row:
    """A strange class beside all of the base's, which are kept without pictures."""
    labels = len(base.memory.labels)
    kept = np.concatenate([base.memory.draw(label, DRAWN) for label in base.memory.labels])
    truth = np.r_[np.full(each, labels), np.repeat(np.arange(labels), DRAWN)]
    before = balanced_accuracy(base.known.head(faces.features).argmax(axis=1), faces.truth)
    found = []
    for rng in _generators(draws):
        taken, others = _split(strange.drawn, each, rng)
        head = base.taught(np.concatenate([taken, kept]), truth, labels + 1)
        after = balanced_accuracy(head(faces.features).argmax(axis=1), faces.truth)
        rest, unseen = (float((head(of).argmax(axis=1) == labels).mean()) for of in (others, strange.unseen))
        share = len(others) / (len(others) + len(strange.unseen))
        recall = share * rest + (1 - share) * unseen
        found.append(((labels * after + recall) / (labels + 1), recall, unseen, after, after - before))
    names = (
        "balanced over all",
        f"{name} found",
        f"{name} found in valid",
        "the kept, balanced",
        "the kept gain",
    )
    return Row(f"{name} beside the kept", each, dict(zip(names, zip(*found, strict=True), strict=True)))


def strange_alone(base: Base, strange: Mapping[str, Strange], each: int, draws: int) -> Row:
    """Strange classes alone, answered in what was not drawn."""
    found = []
    for rng in _generators(draws):
        parts = [_split(of.drawn, each, rng) for of in strange.values()]
        head = base.taught(
            np.concatenate([taken for taken, _ in parts]), np.repeat(np.arange(len(parts)), each), len(parts)
        )
        asked = [
            np.concatenate([rest, of.unseen]) for (_, rest), of in zip(parts, strange.values(), strict=True)
        ]
        recalls = [float((head(of).argmax(axis=1) == k).mean()) for k, of in enumerate(asked)]
        found.append((float(np.mean(recalls)), *recalls))
    names = ("balanced", *(f"{name} found" for name in strange))
    return Row(", ".join(strange), each, dict(zip(names, zip(*found, strict=True), strict=True)))


def _generators(draws: int) -> Iterator[np.random.Generator]:
    return (np.random.default_rng(draw) for draw in range(draws))


def _split(faces: Features, each: int, rng: np.random.Generator) -> tuple[Features, Features]:
    """(what is taught, the rest)."""
    order = rng.permutation(len(faces))
    return faces[order[:each]], faces[order[each:]]


def read_strange(
    root: Path, names: Sequence[str], entry: EmotionEntry, classifier: Classifier
) -> dict[str, Strange]:
    """Faces on which the most votes, more than for anything else, fell on one of `names`."""
    table = read_table(root / VOTES, {"file", *names})
    columns = [column for column in table.columns if column != "file"]
    found: dict[str, dict[str, list[str]]] = {name: {"train": [], "valid": []} for name in names}
    for row in table.rows:
        first, second = sorted(columns, key=lambda column: -table.number(row[column]))[:2]
        part = (file := table.path_in(row["file"])).partition("/")[0]
        if first in found and part in found[first] and table.number(row[first]) > table.number(row[second]):
            found[first][part].append(file)
    return {
        name: Strange(*(_features([root / file for file in of], entry, classifier) for of in parts.values()))
        for name, parts in found.items()
    }


def _features(files: Sequence[Path], entry: EmotionEntry, classifier: Classifier) -> Features:
    pixels = {file: read_picture(file, entry.input.colour) for file in files}
    unreadable = [file for file, read in pixels.items() if read is None]
    if unreadable:
        raise DataError(f"{unreadable[0]} cannot be read, though {VOTES} lists it; copy it again")
    return _features_of([read for read in pixels.values() if read is not None], entry, classifier)


def _features_of(faces: Sequence[Pixels], entry: EmotionEntry, classifier: Classifier) -> Features:
    quantize = Quantizer(entry.input)
    return classifier.features([quantize(device_crop(face, entry.input, entry.crop)) for face in faces])


def _require_enough(found: Mapping[str, int], needed: int, where: Path) -> None:
    few = [f"{name} has {count}" for name, count in found.items() if count < needed]
    if few:
        raise DataError(
            f"{where}: {', '.join(few)} faces and {needed} are needed; give fewer with --each or --tested, "
            "or other classes"
        )


@dataclass(frozen=True, slots=True)
class Question:
    """What is measured."""

    classes: Sequence[str]
    """Of the base, taught alone."""
    sizes: Sequence[int]
    """Pictures of each, for the classes of the base."""
    strange: Sequence[str]
    """Columns of the voted faces; the first one also beside the kept classes."""
    each: int
    """Pictures of each strange class."""
    draws: int
    tested: int
    """Faces of a known class that are answered, the same number for every number of pictures."""
    part: str
    """Of the dataset: VALID or HELD."""


def measure(
    data: Path,
    voted: Path,
    bundle: Path,
    question: Question,
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> Iterator[Row]:
    """Stage `measure-teaching`; a look at `valid` is logged."""
    require_unseen(question.part)
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    described = {"data": data.name, "voted": voted.name, "bundle": loaded.sha256, "question": question}
    with artifacts.open_run(artifacts_folder, "measure-teaching", run_name, described) as run:
        dataset = read_dataset(data, entry.input.colour)
        require_labels(entry.labels, dataset)
        samples = part_of(dataset, question.part)
        with held_back():  # the runtime speaks of its kernels
            classifier = Classifier(read_file(loaded.file(entry.cpu), LARGEST_MODEL))
            memory = read_memory(bundle)
            if memory.labels != entry.labels:
                raise DataError(f"{bundle} remembers other classes than it tells; run `remember` on it")
            base = Base(classifier, known_by(classifier.head(), entry, memory), memory)
            strange = read_strange(voted, question.strange, entry, classifier)
            faces = Faces(
                _features_of([sample.pixels for sample in samples], entry, classifier),
                np.array([sample.label for sample in samples]),
            )
        rows = []
        for row in _rows(base, faces, strange, entry.labels, question, data, voted):
            rows.append(row)
            yield row
        run.write_metrics({"rows": rows})
    if question.part == VALID:
        shown = {
            f"{row.taught}, {row.each}": {
                what: round(float(np.mean(of)), 4) for what, of in row.figures.items()
            }
            for row in rows
        }
        artifacts.log_look(log, data.name, f"teach, {question.draws} draws, {loaded.identity}", shown)


def _rows(
    base: Base,
    faces: Faces,
    strange: Mapping[str, Strange],
    labels: Sequence[str],
    question: Question,
    data: Path,
    voted: Path,
) -> Iterator[Row]:
    unknown = sorted(set(question.classes) - set(labels))
    if unknown:
        raise DataError(f"the base does not tell {', '.join(unknown)}; it tells {', '.join(labels)}")
    classes = {name: labels.index(name) for name in question.classes}
    counts = {name: int((faces.truth == label).sum()) for name, label in classes.items()}
    _require_enough(counts, question.tested + max(question.sizes), data)
    _require_enough({name: len(of.drawn) for name, of in strange.items()}, question.each + 1, voted)
    _require_enough({name: len(of.unseen) for name, of in strange.items()}, 1, voted)
    for each in question.sizes:
        yield known_classes(base, faces, classes, each, question.draws, question.tested)
    first, *others = strange
    yield beside_kept(base, faces, first, strange[first], question.each, question.draws)
    if others:
        yield strange_alone(base, strange, question.each, question.draws)

"""The sets of single faces on which two bundles are compared: at home, elsewhere, at a site."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.comparison.paired import Row, paired
from oahega_build.emotion.evaluate import EmotionModel, crops_by_turn, logits_by_turn
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import Framing, box_of_crop
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.elsewhere import CHOOSE, FaceFinder, names_of_part
from oahega_build.teach.faces import Finder, read_faces
from oahega_edge.bundles.load import Bundle, load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.files import read_file

BALANCED = "balanced accuracy"
Answers = NDArray[np.int64]
Crop = NDArray[np.uint8]
Crops = Sequence[Crop]
"""What a classifier sees of one face, by turn."""
MISSED = -1
"""The answer to a face that was not found."""
OTHER = -2
"""The answer of a label that the set does not have: wrong, as it would be on a device."""


@dataclass(frozen=True, slots=True, eq=False)
class Contestant:
    """One of the two bundles."""

    bundle: Bundle
    model: EmotionModel

    @classmethod
    def at(cls, folder: Path) -> Contestant:
        """Open the bundle in a folder."""
        bundle = load_bundle(folder)
        entry = bundle.manifest.emotion
        data = read_file(bundle.file(entry.cpu), LARGEST_MODEL)
        return cls(bundle, EmotionModel(bundle.identity, entry, data))

    def answers(self, faces: Sequence[Crops], labels: Sequence[str]) -> Answers:
        """Its choice, by index into `labels` or OTHER, for what it sees of faces."""
        turns = list(zip(*faces, strict=True))
        shares = calibrated(logits_by_turn(self.model.data, self.model.entry, turns), self.model.entry)
        return among(shares, self.model.labels, labels)

    def of_pictures(self, pictures: Sequence[Pixels], labels: Sequence[str]) -> Answers:
        """The same for pictures that are framed as training pictures are."""
        return among(self.model.probabilities(pictures, Framing()), self.model.labels, labels)

    def cropped(self, pixels: Pixels, box: Box, is_cut: bool = False) -> Crops:
        """What its classifier sees of a face; of one that was cut out before, always the first crop."""
        turns = [crops[0] for crops in crops_by_turn([(pixels, box)], self.model.entry)]
        return turns[:1] * len(turns) if is_cut else turns


@dataclass(frozen=True, slots=True, eq=False)
class Both:
    """The two bundles."""

    old: Contestant
    new: Contestant

    @property
    def each(self) -> tuple[Contestant, Contestant]:
        """Old, new."""
        return self.old, self.new

    @property
    def share_detector(self) -> bool:
        """Whether both find the same faces."""
        first, second = (one.bundle.manifest.detector for one in self.each)
        return first == second


def among(shares: NDArray[np.float64], own: Sequence[str], labels: Sequence[str]) -> Answers:
    """The likeliest of the `own` labels, by index into `labels`; OTHER where it is none of these."""
    places = np.array([list(labels).index(label) if label in labels else OTHER for label in own])
    return np.asarray(places[shares.argmax(axis=1)], np.int64)


def balanced_row(
    name: str, old: Answers, new: Answers, truth: Answers, groups: NDArray[np.int64] | None = None
) -> Row:
    """Balanced accuracy of two columns of answers; with `groups`, those are resampled whole."""
    kinds = np.arange(len(truth)) if groups is None else groups
    members = [np.flatnonzero(kinds == kind) for kind in np.unique(kinds)]

    def both(chosen: NDArray[np.intp]) -> tuple[float, float]:
        faces = np.concatenate([members[i] for i in chosen])
        return balanced_accuracy(old[faces], truth[faces]), balanced_accuracy(new[faces], truth[faces])

    row = paired(name, BALANCED, both, len(members))
    return replace(row, items=len(truth))


def home(both: Both, name: str, samples: Sequence[Sample], labels: Sequence[str]) -> Row:
    """On pictures as the trainer has them."""
    pictures = [sample.pixels for sample in samples]
    old, new = (one.of_pictures(pictures, labels) for one in both.each)
    return balanced_row(name, old, new, np.array([sample.label for sample in samples]))


def elsewhere(both: Both, root: Path) -> Row:
    """On people of another source, through detector and crop; a face that is not found is an error.

    Where the source lists its people, the part `choose` is read, never `report`.
    """
    dataset = read_dataset(root, "rgb")
    wanted = names_of_part(root, CHOOSE)
    samples = [s for s in dataset.train if wanted is None or s.name in wanted]
    if not samples:
        raise DataError(f"{root} holds no face of the part {CHOOSE!r}; give another folder")
    finder = FaceFinder(both.old.bundle.path)
    other = finder if both.share_detector else FaceFinder(both.new.bundle.path)
    boxes = [finder(sample.pixels) for sample in samples]
    others = boxes if other is finder else [other(sample.pixels) for sample in samples]
    old = _through(both.old, samples, boxes, dataset.labels)
    new = _through(both.new, samples, others, dataset.labels)
    name = root.name if wanted is None else f"{root.name}/{CHOOSE}"
    return balanced_row(name, old, new, np.array([sample.label for sample in samples]))


def _through(
    one: Contestant, samples: Sequence[Sample], boxes: Sequence[Box | None], labels: Sequence[str]
) -> Answers:
    crops = [
        one.cropped(sample.pixels, box) if box else None for sample, box in zip(samples, boxes, strict=True)
    ]
    return _answered(one, crops, labels)


def _answered(one: Contestant, crops: Sequence[Crops | None], labels: Sequence[str]) -> Answers:
    """MISSED for a face that was not found."""
    answers = np.full(len(crops), MISSED, np.int64)
    found = [i for i, crop in enumerate(crops) if crop is not None]
    if found:
        answers[found] = one.answers([crop for crop in crops if crop is not None], labels)
    return answers


def site(both: Both, root: Path) -> Row:
    """On labelled samples of a site, of which neither bundle has learned, each through its own detector."""
    finder = remembered(FaceFinder(both.old.bundle.path).faces)
    other = finder if both.share_detector else remembered(FaceFinder(both.new.bundle.path).faces)
    return found_at_site(both, root, (finder, other))


def found_at_site(both: Both, root: Path, finders: tuple[Finder, Finder]) -> Row:
    """The same, with what finds the faces for the old one and for the new one.

    A picture counts in which one of them finds a single face; the other errs if it finds none. Of several
    faces it takes the surest. What was cut out on a device ends at the first crop.
    """
    crops: list[list[Crops | None]] = []

    def find(pixels: Pixels) -> Sequence[Detection]:
        old, new = (finder(pixels) for finder in finders)
        return old if len(old) == 1 else new if len(new) == 1 else [*old, *new]

    def cut(pixels: Pixels, box: Box) -> Crop:
        height, width = pixels.shape[:2]
        is_cut = box == box_of_crop(both.old.model.entry.crop, width, height)
        own = [box if is_cut else _surest(finder(pixels)) for finder in finders]
        crops.append(
            [one.cropped(pixels, at, is_cut) if at else None for one, at in zip(both.each, own, strict=True)]
        )
        return both.old.cropped(pixels, box)[0]

    faces = read_faces(root, both.old.model.entry, find, cut=cut)
    old, new = (_answered(one, [pair[i] for pair in crops], faces.labels) for i, one in enumerate(both.each))
    return balanced_row(f"site {root.name}", old, new, faces.truth, faces.groups)


def _surest(found: Sequence[Detection]) -> Box | None:
    return found[0].box if found else None


def remembered(find: Finder) -> Finder:
    """The same, which looks once at each picture however often it is read."""
    known: dict[tuple[bytes, tuple[int, ...]], Sequence[Detection]] = {}

    def found(pixels: Pixels) -> Sequence[Detection]:
        key = hashlib.sha256(pixels.tobytes()).digest(), pixels.shape
        if key not in known:
            known[key] = find(pixels)
        return known[key]

    return found

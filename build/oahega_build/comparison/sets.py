"""The sets on which two bundles are compared: crops, people elsewhere, scenes, sequences, a site."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.comparison.paired import Row, paired
from oahega_build.emotion.evaluate import EmotionModel, file_logits
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import Framing
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.chain import Chain, bundle_chain, device_of, device_settings
from oahega_build.scenes.elsewhere import CHOOSE, FaceFinder, names_of_part
from oahega_build.scenes.evaluate_scenes import MISSED, Shown, alone, look
from oahega_build.scenes.render import render
from oahega_build.scenes.sequences import LEVELS, SEEDS, Scenario, Scenery, plan_scenarios
from oahega_build.scenes.video_methods import Device, ours
from oahega_build.scenes.video_metrics import Tally
from oahega_build.scenes.video_records import recorded
from oahega_build.teach.faces import read_faces
from oahega_edge.bundles.load import Bundle, load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.files import read_file

BALANCED = "balanced accuracy"
MOST_IN_SCENES = 400
"""Faces; more are thinned evenly. Each is drawn in six frames."""
SECONDS = 20.0
"""Of a sequence."""

Answers = NDArray[np.int64]
Playing = tuple[Chain, Device]
"""A bundle's models and what decides over them."""


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

    def answers(self, crops: Sequence[NDArray[np.uint8]], labels: Sequence[str]) -> Answers:
        """Its choice among the `labels` that it knows, for crops of its own input's size."""
        shares = calibrated(file_logits(self.model.data, self.model.entry, crops), self.model.entry)
        return among(shares, self.model.labels, labels)

    def of_pictures(self, pictures: Sequence[Pixels], labels: Sequence[str]) -> Answers:
        """The same for pictures that are framed as training pictures are."""
        return among(self.model.probabilities(pictures, Framing()), self.model.labels, labels)

    @contextmanager
    def playing(self) -> Iterator[Playing]:
        """Its chain, open, with the device of its own suggestions."""
        with bundle_chain(self.bundle.path) as chain:
            yield chain, device_of(device_settings(self.bundle.path, ()), chain)

    def cropped(self, pixels: Pixels, box: Box) -> NDArray[np.uint8]:
        """What its classifier sees of a face."""
        return crop_face(pixels, box, self.model.entry.input, self.model.entry.crop)


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

    @contextmanager
    def chains(self) -> Iterator[Sequence[Playing]]:
        """Both, open."""
        with ExitStack() as stack:
            yield [stack.enter_context(one.playing()) for one in self.each]


def among(shares: NDArray[np.float64], own: Sequence[str], labels: Sequence[str]) -> Answers:
    """The likeliest of `labels`, by index into them; a label that is not among the `own` is never chosen."""
    columns = np.full((len(shares), len(labels)), -1.0)
    for place, label in enumerate(labels):
        if label in own:
            columns[:, place] = shares[:, list(own).index(label)]
    return np.asarray(columns.argmax(axis=1), np.int64)


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
    found = [i for i, box in enumerate(boxes) if box is not None]
    answers = np.full(len(samples), MISSED, np.int64)
    crops = [one.cropped(samples[i].pixels, box) for i, box in enumerate(boxes) if box is not None]
    if crops:
        answers[found] = one.answers(crops, labels)
    return answers


def site(both: Both, root: Path) -> Row:
    """On labelled samples of a site, of which neither bundle has learned."""
    finder = FaceFinder(both.old.bundle.path).faces
    read = [read_faces(root, one.model.entry, finder) for one in both.each]
    old, new = (one.answers(faces.crops, faces.labels) for one, faces in zip(both.each, read, strict=True))
    return balanced_row(f"site {root.name}", old, new, read[0].truth, read[0].groups)


def in_scenes(both: Both, scenery: Scenery) -> Row:
    """Accuracy on faces in scenes, through detector, tracker and crop; a missed face is an error."""
    with both.chains() as chains:
        seen = np.array([each for shown in alone(_thinned(scenery)) for each in _looked(chains, shown)])
    right = seen[:, 1:] == seen[:, :1]

    def mean(chosen: NDArray[np.intp]) -> tuple[float, float]:
        old, new = right[chosen].mean(axis=0)
        return float(old), float(new)

    return paired("scenes", "accuracy", mean, len(right))


def _looked(chains: Sequence[Playing], shown: Shown) -> list[tuple[int, int, int]]:
    """(label, old answer, new answer) of each face of a scene."""
    kept = replace(shown, frames=list(shown.frames))
    old, new = (look(kept, chain, device) for chain, device in chains)
    return [(first.label, first.answered, second.answered) for first, second in zip(old, new, strict=True)]


def _thinned(scenery: Scenery) -> Scenery:
    most = MOST_IN_SCENES // len(scenery.labels)
    stills = [
        [of[i] for i in np.linspace(0, len(of) - 1, min(most, len(of))).astype(int)] for of in scenery.stills
    ]
    return replace(scenery, stills=stills)


def in_sequences(both: Both, scenery: Scenery, part: str, count: int) -> Row:
    """Frame F1 of the decisions on sequences, each at three noise levels."""
    with both.chains() as chains:
        values = np.array(
            [
                [_frame_f1(*playing, scenery, scenario) for playing in chains]
                for scenario in plan_scenarios(scenery, SEEDS[part], count, SECONDS)
            ]
        )

    def mean(chosen: NDArray[np.intp]) -> tuple[float, float]:
        old, new = np.nanmean(values[chosen], axis=0)
        return float(old), float(new)

    return paired("sequences", "frame F1", mean, len(values))


def _frame_f1(chain: Chain, device: Device, scenery: Scenery, scenario: Scenario) -> float:
    """Of one scenario, over all noise levels."""
    tally = Tally(scenery.labels)
    for noise in LEVELS:
        frames = render(scenario, scenery, noise)
        record = recorded(scenario.name, noise.name, frames, chain.detector, chain.classifier)
        tally.add(record, ours(record, device.sights(record)))
    return tally.figures().frame_f1

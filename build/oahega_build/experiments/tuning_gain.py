"""Verb `measure-tuning`: what `oahega-edge tune` brings with a few faces of people of a place.

A draw takes people one after another until every expression has its faces, fits as the device does, and
answers faces of other people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import CORRUPTIONS, VALID_LOG, EmotionModel, file_logits
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.tables import read_table
from oahega_build.runs import artifacts
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.elsewhere import CHOOSE, PEOPLE, REPORT, FaceFinder
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.preprocess import crop_face
from oahega_edge.files import read_file
from oahega_edge.tuning.faces import LEAST_SHARE
from oahega_edge.tuning.shift import fit_shift, prove

DRAWS = 20
MOST_MOVED = 1.5
"""Of a made habit: by how much each expression is said more or less easily, in log-odds."""

PLAIN, BOTH = "as it is", "dark and blurred"
CIRCUMSTANCES = {
    PLAIN: (PLAIN, 0.0),
    "dark": ("dark", 0.0),
    "blur": ("blur", 0.0),
    "habit": (PLAIN, MOST_MOVED),
    "all three": (BOTH, MOST_MOVED),
}
"""Name -> which pictures, and how far a habit of labelling moves each expression."""

Picture = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class People:
    """Labelled faces of one part."""

    answers: Mapping[str, NDArray[np.float64]]
    """Circumstances -> logarithms of the bundle's probabilities (faces, expressions)."""
    truth: Numbers
    person: NDArray[np.str_]


@dataclass(frozen=True, slots=True)
class Row:
    """All draws under one circumstance; gains in points of balanced accuracy."""

    circumstance: str
    base: float
    mean: float
    worst: float
    better: int
    draws: int
    accepted: int
    """By the proof on halves that were held back; the others change nothing on a device."""

    def __str__(self) -> str:
        """A line of the table."""
        return (
            f"{self.circumstance:<9} {self.base:.3f}  mean {self.mean:+.1f}, worst {self.worst:+.1f}, "
            f"better in {self.better} of {self.draws}, accepted {self.accepted}"
        )


def read_people(root: Path, part: str, bundle: Path) -> People:
    """The faces of a part that the bundle's detector finds, as they are, dark, blurred, and both."""
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    table = read_table(root / PEOPLE, {"file", "person", "part"})
    persons = {table.path_in(row["file"]): row["person"] for row in table.rows if row["part"] == part}
    dataset, find = read_dataset(root, "rgb"), FaceFinder(bundle)
    if dataset.labels != entry.labels:
        raise DataError(f"{root} holds {', '.join(dataset.labels)}; give faces of {', '.join(entry.labels)}")
    changes: Mapping[str, Callable[[Picture], Picture]] = {
        PLAIN: lambda pixels: pixels,
        **{name: CORRUPTIONS[name] for name in ("dark", "blur")},
        BOTH: lambda pixels: CORRUPTIONS["blur"](CORRUPTIONS["dark"](pixels)),
    }
    crops: dict[str, list[Picture]] = {name: [] for name in changes}
    truth, names = [], []
    for sample in dataset.train:
        box = find(sample.pixels) if sample.name in persons else None
        if box is None:
            continue
        for name, change in changes.items():
            crops[name].append(crop_face(change(sample.pixels), box, entry.input, entry.crop))
        truth.append(sample.label)
        names.append(persons[sample.name])
    model = EmotionModel(loaded.identity, entry, read_file(loaded.file(entry.cpu), LARGEST_MODEL))

    def answered(faces: list[Picture]) -> NDArray[np.float64]:
        shares = calibrated(file_logits(model.data, entry, faces), entry)
        return np.asarray(np.log(np.maximum(shares, LEAST_SHARE)))

    return People({name: answered(c) for name, c in crops.items()}, np.array(truth), np.array(names))


def drawn(people: People, faces: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Which faces are asked for: person after person, as many of every expression."""
    labels = np.unique(people.truth)
    wanted = dict.fromkeys(labels.tolist(), faces // len(labels))
    taken = np.zeros(len(people.truth), bool)
    for person in rng.permutation(np.unique(people.person)):
        for i in np.flatnonzero(people.person == person):
            if wanted[int(people.truth[i])] > 0:
                wanted[int(people.truth[i])] -= 1
                taken[i] = True
    return taken


def gains(people: People, others: People | None, faces: int, draws: int = DRAWS) -> Iterator[Row]:
    """Fit on faces of `people`; answer those of `others`, or of the people who were not drawn."""
    for name, made in CIRCUMSTANCES.items():
        each = [_gain(people, others or people, *made, faces, draw) for draw in range(draws)]
        base, gain, accepted = (np.array(values) for values in zip(*each, strict=True))
        yield Row(
            name,
            round(float(base.mean()), 4),
            round(100 * float(gain.mean()), 1),
            round(100 * float(gain.min()), 1),
            int((gain > 0).sum()),
            draws,
            int(accepted.sum()),
        )


def _gain(
    people: People, others: People, pictures: str, most_moved: float, faces: int, draw: int
) -> tuple[float, float, bool]:
    """(balanced accuracy before, what the shift adds to it, whether the device would use the shift)."""
    rng = np.random.default_rng(draw)
    taken = drawn(people, faces, rng)
    moved = rng.uniform(-most_moved, most_moved, people.answers[pictures].shape[1])
    logits, truth = people.answers[pictures][taken] + moved, people.truth[taken]
    rest = ~np.isin(others.person, people.person[taken])
    asked, right = others.answers[pictures][rest] + moved, others.truth[rest]
    shift = fit_shift(logits, truth)
    before = balanced_accuracy(asked.argmax(axis=1), right)
    after = balanced_accuracy(shift.apply(asked).argmax(axis=1), right)
    return before, after - before, prove(logits, truth).holds


def measure(
    root: Path, bundle: Path, faces: int, report: bool, artifacts_folder: Path, run_name: str
) -> list[Row]:
    """Stage `measure-tuning`. With `report`, the faces of that part are answered, and the look is logged."""
    described = {"data": root.name, "bundle": load_bundle(bundle).sha256, "faces": faces, "report": report}
    with artifacts.open_run(artifacts_folder, "measure-tuning", run_name, described) as run:
        people = read_people(root, CHOOSE, bundle)
        others = read_people(root, REPORT, bundle) if report else None
        rows = list(gains(people, others, faces))
        run.write_metrics({"rows": rows})
    if report:
        plain = rows[0]
        shown = {"mean_gain": plain.mean, "worst_gain": plain.worst, "better": plain.better}
        artifacts.log_look(VALID_LOG, f"{root.name}/{REPORT}", f"tune with {faces} faces of choose", shown)
    return rows

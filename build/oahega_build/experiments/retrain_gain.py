"""Verb `measure-retraining`: what `retrain` brings with a hundred samples of a site that was made for it.

The site has weak light from one side, a lens out of focus, a camera that hangs askew, and a habit of its own:
a neutral face that one voter in ten calls angry or sad counts as that. Samples are drawn from faces that the
base never learned from; others are answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_build.comparison.paired import Row
from oahega_build.comparison.sets import balanced_row
from oahega_build.emotion.evaluate import HELD, VALID, VALID_LOG, part_of, require_labels, require_unseen
from oahega_build.emotion.metrics import balanced_accuracy
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import device_crop
from oahega_build.runs import artifacts
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.teach.last_layer import Classifier
from oahega_build.teach.memory import read_memory
from oahega_build.teach.site import Known, known_by, prove, refit
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry

LIGHT, FALL = 0.45, 0.5
"""Share of the light that is left in the middle, and by which share of that it differs at the sides."""
FOCUS = 1 / 40
"""Standard deviation of the blur in units of the picture's side."""
TILT = 15.0
"""Degrees."""
HABIT = {"neutral": -1.5, "angry": 1.0, "sad": 1.0}
"""What the site adds to the logarithms of the voters' shares before it takes the greatest."""
UNVOTED = 0.05
"""Share that an expression without a vote has nonetheless."""

Picture = NDArray[np.uint8]
Numbers = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """One part of the dataset: as it is, and as the site sees and labels it."""

    plain: NDArray[np.float64]
    """Features (faces, features)."""
    truth: Numbers
    seen: NDArray[np.float64]
    """Features at the site."""
    told: Numbers
    """The site's labels."""


@dataclass(frozen=True, slots=True)
class Draw:
    """One draw of samples."""

    before: float
    """Balanced accuracy at the site on faces that were not drawn."""
    gain: float
    """At the site."""
    home: float
    """Gain on the faces as they are, mostly a loss."""
    accepted: bool
    """By the proof of `retrain`."""
    accepted_shuffled: bool
    """The same samples with their labels shuffled."""


@dataclass(frozen=True, slots=True)
class Gain:
    """All draws of one number of samples; differences in points of balanced accuracy."""

    samples: int
    before: float
    gain: float
    worst_gain: float
    home: float
    worst_home: float
    draws: int
    accepted: int
    accepted_shuffled: int

    def __str__(self) -> str:
        """A line of the table."""
        return (
            f"{self.samples:>4} samples  at the site {self.before:.3f} {self.gain:+.1f} points "
            f"(worst {self.worst_gain:+.1f}), at home {self.home:+.1f} (worst {self.worst_home:+.1f}), "
            f"accepted {self.accepted} of {self.draws}, shuffled {self.accepted_shuffled}"
        )


def at_site(pixels: Picture) -> Picture:
    """The picture (height, width[, 3]) as the site's camera would have seen it."""
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), TILT, 1.0)
    turned = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    light = LIGHT * (1 + FALL * np.linspace(-1, 1, width))
    lit = turned * (light if pixels.ndim == 2 else light[:, None])
    return np.asarray(cv2.GaussianBlur(lit.astype(np.uint8), (0, 0), FOCUS * height), np.uint8)


def told_by_site(sample: Sample, labels: Sequence[str]) -> int:
    """The label that the site gives to a face, from the voters' shares."""
    habit = np.array([HABIT.get(label, 0.0) for label in labels])
    return int((np.log(sample.target + UNVOTED) + habit).argmax())


def read_faces(samples: Sequence[Sample], entry: EmotionEntry, classifier: Classifier) -> Faces:
    """Both views of the samples through a classifier's trunk."""
    quantize = Quantizer(entry.input)

    def features(change: Callable[[Picture], Picture]) -> NDArray[np.float64]:
        crops = (device_crop(change(s.pixels), entry.input, entry.crop) for s in samples)
        return classifier.features([quantize(crop) for crop in crops])

    return Faces(
        features(lambda pixels: pixels),
        np.array([sample.label for sample in samples]),
        features(at_site),
        np.array([told_by_site(sample, entry.labels) for sample in samples]),
    )


def draws(known: Known, drawn: Faces, asked: Faces | None, samples: int, count: int) -> Iterator[Draw]:
    """Learn from samples of `drawn`; answer the faces of `asked`, or those that were not drawn."""
    for number in range(count):
        rng = np.random.default_rng(number)
        taken = _evenly(drawn.told, samples, rng)
        rest = np.setdiff1d(np.arange(len(drawn.told)), taken)
        others = asked or Faces(drawn.plain[rest], drawn.truth[rest], drawn.seen[rest], drawn.told[rest])
        features, told = drawn.seen[taken], drawn.told[taken]
        head = refit(known, features, told)
        before, after = (
            [
                balanced_accuracy(layer(faces).argmax(axis=1), truth)
                for faces, truth in ((others.seen, others.told), (others.plain, others.truth))
            ]
            for layer in (known.head, head)
        )
        yield Draw(
            before[0],
            after[0] - before[0],
            after[1] - before[1],
            accepts(known, features, told),
            accepts(known, features, rng.permutation(told)),
        )


def accepts(known: Known, features: NDArray[np.float64], told: Numbers) -> bool:
    """Whether `retrain` would find these samples worth a bundle."""
    groups = np.arange(len(told))
    proofs = prove(known, features, told, groups)
    row: Row = balanced_row(
        "site", proofs.before.logits.argmax(axis=1), proofs.after.logits.argmax(axis=1), told, groups
    )
    return row.difference.low > 0 and proofs.after.balanced.low > 1 / len(np.unique(told))


def _evenly(truth: Numbers, count: int, rng: np.random.Generator) -> Numbers:
    """Which faces are sampled: as many of every label."""
    labels = np.unique(truth)
    each = count // len(labels)
    return np.concatenate([rng.permutation(np.flatnonzero(truth == label))[:each] for label in labels])


def _require_enough(drawn: Faces, labels: Sequence[str], samples: int) -> None:
    """Raises DataError unless some faces of every label are left after the samples are drawn."""
    each = samples // len(labels)
    if not each:
        raise DataError(f"{samples} samples are not one of each expression; give at least {len(labels)}")
    few = [label for number, label in enumerate(labels) if np.sum(drawn.told == number) <= each]
    if few:
        raise DataError(
            f"{samples} samples are {each} of each expression, and there are no more held-out faces of "
            f"{', '.join(few)}; give fewer samples, or a dataset with more pictures"
        )


def summed(samples: int, made: Sequence[Draw]) -> Gain:
    """All draws in one line."""
    gain, home = (100 * np.array([getattr(draw, name) for draw in made]) for name in ("gain", "home"))
    return Gain(
        samples,
        round(float(np.mean([draw.before for draw in made])), 4),
        round(float(gain.mean()), 1),
        round(float(gain.min()), 1),
        round(float(home.mean()), 1),
        round(float(home.min()), 1),
        len(made),
        sum(draw.accepted for draw in made),
        sum(draw.accepted_shuffled for draw in made),
    )


def measure(
    data: Path,
    bundle: Path,
    samples: Sequence[int],
    count: int,
    part: str,
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> list[Gain]:
    """Stage `measure-retraining`. Samples are always held-out faces; with `valid` its faces are answered."""
    require_unseen(part)
    base = load_bundle(bundle)
    entry = base.manifest.emotion
    described = {"data": data.name, "bundle": base.sha256, "samples": samples, "draws": count, "part": part}
    with artifacts.open_run(artifacts_folder, "measure-retraining", run_name, described) as run:
        dataset = read_dataset(data, entry.input.colour)
        require_labels(entry.labels, dataset)
        with held_back():  # the runtime speaks of its kernels
            classifier = Classifier(read_file(base.file(entry.cpu), LARGEST_MODEL))
            known = known_by(classifier.head(), entry, read_memory(base.path))
            drawn = read_faces(part_of(dataset, HELD), entry, classifier)
            _require_enough(drawn, entry.labels, max(samples))
            asked = read_faces(part_of(dataset, VALID), entry, classifier) if part == VALID else None
        rows = [summed(each, list(draws(known, drawn, asked, each, count))) for each in samples]
        run.write_metrics({"rows": rows})
    if part == VALID:
        shown = {f"{row.samples} samples": {"gain": row.gain, "home": row.home} for row in rows}
        artifacts.log_look(
            log, data.name, f"retrain at a made site, {count} draws of held-out samples", shown
        )
    return rows

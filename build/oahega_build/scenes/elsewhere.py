"""Figures on other people's pictures: faces as the device's detector and crop give them, source by source.

A source is a folder with a folder per class. Where it has a list `people.csv` (file, label, person, part),
the part `choose` serves choices and the part `report` is looked at seldom, each look logged. A folder with
`votes.csv` and without classes holds unclear faces: half-way ones, and expressions without a label of ours.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import VALID_LOG, EmotionModel, face_logits, load_emotion
from oahega_build.emotion.metrics import (
    Coverage,
    Interval,
    balanced_accuracy,
    bootstrap,
    confusion,
    coverage_points,
    mean_interval,
    rounded,
    summary,
)
from oahega_build.emotion.peers import Classifier, load_peers, on_shared_classes
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import VOTES, read_dataset, read_picture
from oahega_build.pictures.framing import Framing
from oahega_build.pictures.tables import read_table
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ELSEWHERE, write_on_card
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.detection import FACE, PERSON, Detection
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_square
from oahega_edge.runtimes import open_model

PEOPLE = "people.csv"
CHOOSE, REPORT = "choose", "report"
LEAST_SCORE = 0.3
"""Of a face on a picture that certainly shows one."""
UNCLEAR = ("fear", "disgust", "contempt")
"""Expressions of the votes that our models have no label for."""
CLEAR_VOTES = 0.6
"""Share of the votes above which such an expression counts as shown."""
SURE = 0.8
NOTHING = (
    "No figure from elsewhere: give --elsewhere DIR, faces of another source than the training data, "
    "as a device meets them."
)


@dataclass(frozen=True, slots=True, eq=False)
class FoundFace:
    """A picture and where the detector sees its face."""

    pixels: Pixels
    box: Box
    label: int


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """Labelled faces from one place."""

    name: str
    labels: tuple[str, ...]
    faces: Sequence[FoundFace]
    not_found: int


@dataclass(frozen=True, slots=True)
class SourceFigures:
    """One model on one source."""

    source: str
    model: str
    pictures: int
    not_found: int
    """Pictures on which the detector found no face; no model saw them."""
    accuracy: Interval
    balanced: Interval
    ece: float
    recall: Mapping[str, float]
    answered: float
    """Share at or above `threshold`."""
    precision: float
    """Share of the answered that is right."""
    threshold: float
    risk_coverage: tuple[Coverage, ...]
    confusion: Sequence[Sequence[int]]
    """[true][predicted] counts."""


@dataclass(frozen=True, slots=True)
class UnclearFigures:
    """One model on faces whose expression is half-way, or none of its labels."""

    source: str
    model: str
    pictures: int
    cross_entropy: float
    """Mean over the faces with votes for our labels, against those votes, in nats."""
    entropy: float
    """Of those votes: no model can come below."""
    without_label: int
    """Faces of most voters on fear, disgust or contempt."""
    surely_answered: Interval
    """Share of those that are answered above SURE, with Wilson's interval; they are few."""


class FaceFinder:
    """The detector of a bundle, for pictures that show one face."""

    def __init__(self, bundle: Path) -> None:
        loaded = load_bundle(bundle)
        entry = loaded.manifest.detector
        self._suggested = entry.suggested.score[FACE]
        self._detector = Detector(
            entry,
            open_model(loaded.file(entry.cpu), entry.outputs, entry.input),
            dict.fromkeys(entry.labels, LEAST_SCORE),
            person_score=entry.suggested.score.get(PERSON, 0.0),
        )

    def __call__(self, pixels: Pixels) -> Box | None:
        """The most certain face's box in unit coordinates."""
        faces = self.faces(pixels)
        return faces[0].box if faces else None

    def faces(self, pixels: Pixels) -> list[Detection]:
        """The surest face, and all others that a device would see."""
        faces = [found for found in self._detector.find(pixels) if found.label == FACE]
        faces.sort(key=lambda face: -face.score)
        return [face for i, face in enumerate(faces) if i == 0 or face.score >= self._suggested]


def read_source(root: Path, labels: Sequence[str], part: str, find: Callable[[Pixels], Box | None]) -> Source:
    """The faces of `root` that are of that part (all, without a list). Raises DataError."""
    dataset = read_dataset(root, "rgb")
    missing = sorted(set(dataset.labels) - set(labels))
    if missing:
        raise DataError(f"{root} holds {', '.join(missing)}, which the model cannot answer; leave it out")
    wanted = names_of_part(root, part)
    faces, not_found = [], 0
    for sample in dataset.train:
        if wanted is not None and sample.name not in wanted:
            continue
        box = find(sample.pixels)
        if box is None:
            not_found += 1
        else:
            faces.append(FoundFace(sample.pixels, box, labels.index(dataset.labels[sample.label])))
    if not faces:
        raise DataError(f"{root} holds no face of the part {part!r} that the detector finds")
    name = root.name if wanted is None else f"{root.name}/{part}"
    return Source(name, tuple(labels), faces, not_found)


def is_listed(root: Path) -> bool:
    """Whether the source keeps a part for reports apart."""
    return (root / PEOPLE).is_file()


def is_unclear(root: Path) -> bool:
    """Whether it holds voted faces without classes."""
    return (root / VOTES).is_file() and not any(p.is_dir() for part in root.iterdir() for p in _folders(part))


def _folders(part: Path) -> Iterator[Path]:
    if part.is_dir():
        yield from (path for path in part.iterdir() if path.is_dir())


def names_of_part(root: Path, part: str) -> set[str] | None:
    """The files that the list of people gives to a part; None where there is no list."""
    if not is_listed(root):
        return None
    table = read_table(root / PEOPLE, {"file", "part"})
    return {table.path_in(row["file"]) for row in table.rows if row["part"] == part}


def answers(model: EmotionModel | Classifier, source: Source) -> NDArray[np.float64]:
    """(faces, labels): our models through the device's crops, others on the square that it cuts."""
    if isinstance(model, EmotionModel):
        faces = [(face.pixels, face.box) for face in source.faces]
        own = calibrated(face_logits(model.data, model.entry, faces), model.entry)
    else:
        own = model.probabilities([square_of(face) for face in source.faces], Framing())
    return on_shared_classes(own, model.labels, source.labels)


def square_of(face: FoundFace, wider: float = 1.0) -> Pixels:
    """What the device cuts out, or a square `wider` times as wide; outside the picture its edge repeats."""
    height, width = face.pixels.shape[:2]
    crop = Framing().crop
    left, top, side = crop_square(
        width, height, face.box, crop.model_copy(update={"scale": crop.scale * wider})
    )
    rows = np.clip(np.arange(top, top + side), 0, height - 1)
    columns = np.clip(np.arange(left, left + side), 0, width - 1)
    return np.ascontiguousarray(face.pixels[rows][:, columns])


def figures_on(model: EmotionModel | Classifier, source: Source, threshold: float) -> SourceFigures:
    """Every figure of one model on one source."""
    probabilities = answers(model, source)
    labels = np.array([face.label for face in source.faces])
    predicted = probabilities.argmax(axis=1)
    right = predicted == labels
    answered = probabilities.max(axis=1) >= threshold

    def balanced(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return np.asarray(balanced_accuracy(predicted[chosen], labels[chosen]))

    low, high = bootstrap(balanced, len(labels))
    return SourceFigures(
        source=source.name,
        model=model.name,
        pictures=len(labels),
        not_found=source.not_found,
        accuracy=mean_interval(right),
        balanced=Interval(rounded(balanced_accuracy(predicted, labels)), rounded(low), rounded(high)),
        ece=summary(probabilities, labels).ece,
        recall={
            source.labels[k]: rounded((predicted[labels == k] == k).mean())
            for k in np.unique(labels).tolist()
        },
        answered=rounded(answered.mean()),
        precision=rounded(right[answered].mean() if answered.any() else 0.0),
        threshold=threshold,
        risk_coverage=coverage_points(probabilities, labels),
        confusion=confusion(predicted, labels, len(source.labels)).tolist(),
    )


def figures_on_unclear(
    model: Classifier, root: Path, part: str, colour: Literal["rgb", "grey"] = "grey"
) -> UnclearFigures:
    """On the pictures of `root/part` as they are: they show faces as the training pictures do."""
    table = read_table(root / VOTES, {"file", *model.labels})
    rows = [row for row in table.rows if row["file"].startswith(f"{part}/")]
    pictures = [read_picture(root / row["file"], colour) for row in rows]
    if not rows or any(picture is None for picture in pictures):
        raise DataError(f"{root / VOTES} lists no pictures of {part!r}, or some that cannot be read")
    probabilities = model.probabilities([p for p in pictures if p is not None], Framing())
    votes = np.array([[float(row[label]) for label in model.labels] for row in rows])
    some = votes.sum(axis=1) > 0
    shares = votes[some] / votes[some].sum(axis=1, keepdims=True)
    loss = -(shares * np.log(np.maximum(probabilities[some], 1e-9))).sum(axis=1)
    entropy = -(shares * np.log(np.maximum(shares, 1e-9))).sum(axis=1)
    all_votes = np.array([sum(float(v) for k, v in row.items() if k != "file") for row in rows])
    other = np.array([max(float(row.get(name, 0)) for name in UNCLEAR) for row in rows])
    strange = other >= CLEAR_VOTES * all_votes
    return UnclearFigures(
        source=f"{root.name}/{part}",
        model=model.name,
        pictures=len(rows),
        cross_entropy=rounded(loss.mean()),
        entropy=rounded(entropy.mean()),
        without_label=int(strange.sum()),
        surely_answered=share(probabilities[strange].max(axis=1) > SURE),
    )


def share(right: NDArray[np.bool_]) -> Interval:
    """The share of True values with Wilson's interval (95 %); nothing is known of no values."""
    if not len(right):
        return Interval(0.0, 0.0, 1.0)
    from scipy.stats import binomtest  # slow to import

    found = binomtest(int(right.sum()), len(right))
    interval = found.proportion_ci(method="wilson")
    return Interval(rounded(found.statistic), rounded(interval.low), rounded(interval.high))


def as_table(rows: Sequence[SourceFigures | UnclearFigures]) -> str:
    """Fixed-width text, source by source."""
    lines = []
    for row in rows:
        if isinstance(row, UnclearFigures):
            lines.append(
                f"{row.source}: {row.model}: {row.pictures} faces, cross-entropy {row.cross_entropy:.3f} "
                f"(the votes' entropy is {row.entropy:.3f}); of {row.without_label} faces without a label "
                f"{row.surely_answered} are answered above {SURE}"
            )
            continue
        recalls = ", ".join(f"{label} {value:.2f}" for label, value in row.recall.items())
        lines.append(
            f"{row.source}: {row.model}: {row.pictures} faces ({row.not_found} not found), accuracy "
            f"{row.accuracy}, balanced {row.balanced}, ECE {row.ece:.3f}; answered {row.answered:.2f}, "
            f"{row.precision:.2f} of those right; recall {recalls}"
        )
    return "\n".join(lines)


def on_card(row: SourceFigures | UnclearFigures) -> dict[str, float | int | str]:
    """The figures for a model card, each named after its source."""
    name = ELSEWHERE + row.source.replace("/", "_")
    if isinstance(row, UnclearFigures):
        return {
            f"{name}_pictures": row.pictures,
            f"{name}_cross_entropy": row.cross_entropy,
            f"{name}_votes_entropy": row.entropy,
            f"{name}_without_label_answered_above_{SURE}": f"{row.surely_answered} of {row.without_label}",
        }
    return {
        f"{name}_pictures": row.pictures,
        f"{name}_not_found": row.not_found,
        f"{name}_accuracy": str(row.accuracy),
        f"{name}_balanced_accuracy": str(row.balanced),
        f"{name}_ece": row.ece,
        f"{name}_recall": ", ".join(f"{label} {value:.2f}" for label, value in row.recall.items()),
        f"{name}_answered": f"{row.answered:.2f} at {row.threshold}, {row.precision:.2f} of those right",
    }


def elsewhere_run(
    folders: Sequence[Path],
    peers: Sequence[Path],
    sources: Sequence[Path],
    part: str,
    detector: Path,
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> list[SourceFigures | UnclearFigures]:
    """Stage `evaluate-elsewhere`: every model on every source; rows into a run's metrics.json.

    With `part` valid the sources' parts for reports are looked at: each look is logged, and the figures join
    our models' cards. Otherwise their parts for choosing. Raises BuildError.
    """
    own = [load_emotion(folder) for folder in folders]
    others = [peer for folder in peers for peer in load_peers(folder)]
    listed, unclear = (REPORT, "valid") if part == "valid" else (CHOOSE, "train")
    described = {
        "models": [[m.name, m.entry.cpu.sha256] for m in own],
        "sources": [source.name for source in sources],
        "part": part,
        "detector": load_bundle(detector).identity,
    }
    with artifacts.open_run(artifacts_folder, "evaluate-elsewhere", run_name, described) as run:
        find = FaceFinder(detector)
        rows: list[SourceFigures | UnclearFigures] = []
        for root in sources:
            if is_unclear(root):
                rows += [figures_on_unclear(m, root, unclear, m.entry.input.colour) for m in own]
                continue
            source = read_source(root, own[0].labels, listed, find)
            rows += [figures_on(m, source, m.entry.suggested.threshold) for m in own]
            rows += [figures_on(peer, source, own[0].entry.suggested.threshold) for peer in others]
        run.write_metrics({"rows": rows})
        if part == "valid":
            for folder, model in zip(folders, own, strict=True):
                _keep(folder, model, [row for row in rows if row.model == model.name], log)
    return rows


def told(
    folders: Sequence[Path],
    peers: Sequence[Path],
    sources: Sequence[Path] | None,
    part: str,
    detector: Path,
    artifacts_folder: Path,
    run_name: str,
) -> str:
    """The table of `elsewhere_run`, or a sentence that nothing was measured elsewhere."""
    if not sources:
        return NOTHING
    return as_table(elsewhere_run(folders, peers, sources, part, detector, artifacts_folder, run_name))


def _keep(
    folder: Path, model: EmotionModel, rows: Sequence[SourceFigures | UnclearFigures], log: Path
) -> None:
    """A line in the log of looks per source, and the figures on the model's card."""
    figures: dict[str, float | int | str] = {}
    for row in rows:
        shown = (
            {"accuracy": row.accuracy.value, "balanced_accuracy": row.balanced.value}
            if isinstance(row, SourceFigures)
            else {"cross_entropy": row.cross_entropy, "surely_answered": row.surely_answered.value}
        )
        artifacts.log_look(log, row.source, model.name, {"sha256": model.entry.cpu.sha256, **shown})
        figures |= on_card(row)
    write_on_card(folder, model.entry, figures)

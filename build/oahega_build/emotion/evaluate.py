"""Stage `evaluate-emotion`: figures of an exported model, measured through the device's own code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from oahega_build.emotion.calibrate import reliability
from oahega_build.emotion.metrics import (
    ClassFigures,
    Coverage,
    Interval,
    Summary,
    confusion,
    coverage_points,
    mean_interval,
    summary,
    table_one,
)
from oahega_build.errors import DataError, RunError
from oahega_build.models.exported import Exported
from oahega_build.pictures.dataset import HELD_OUT, Dataset, Sample, held_out, read_dataset
from oahega_build.pictures.drawing import jpeg
from oahega_build.pictures.framing import Framing
from oahega_build.runs import artifacts
from oahega_build.runs.entries import ENTRY, write_on_card
from oahega_build.runs.reading import LARGEST_DOCUMENT, LARGEST_MODEL
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.detection import dequantize
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, cut_face, cuts_of, resize_pixels
from oahega_edge.files import read_file
from oahega_edge.manifest import EmotionEntry, output_of

_COMMITTED = Path(__file__).resolve().parents[2] / "valid-log.jsonl"
VALID_LOG = _COMMITTED if _COMMITTED.is_file() else Path(_COMMITTED.name)
"""Every look at the pictures that choose nothing leaves a line: in a checkout in the project's log, elsewhere
in the current folder's."""
SIZES = (48, 32, 24, 16)
"""Face heights, pixels, from which the crop is enlarged to the size of the input."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EmotionModel:
    """An exported file with its manifest entry."""

    name: str
    entry: EmotionEntry
    data: bytes

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the columns of `probabilities`."""
        return self.entry.labels

    def probabilities(self, pictures: Sequence[Picture], framing: Framing) -> NDArray[np.float64]:
        """Calibrated probabilities (n, labels) of pictures with faces at `framing.box`, by all crops."""
        faces = [(pixels, framing.box) for pixels in pictures]
        return calibrated(face_logits(self.data, self.entry, faces), self.entry)


def load_emotion(folder: Path) -> EmotionModel:
    """Load the model of a run's folder (`entry.json` beside its file). Raises RunError."""
    path = folder / ENTRY
    try:
        entry = EmotionEntry.model_validate_json(read_file(path, LARGEST_DOCUMENT))
        data = read_file(folder / entry.cpu.file, LARGEST_MODEL)
    except (OSError, ValidationError) as error:
        raise RunError(
            f"{path} is not a valid emotion entry ({type(error).__name__}); give a finished run"
        ) from error
    if artifacts.sha256_of(folder / entry.cpu.file) != entry.cpu.sha256:
        raise RunError(f"{folder / entry.cpu.file} is not the file that {ENTRY} names; export it again")
    return EmotionModel(folder.name, entry, data)


def file_logits(data: bytes, entry: EmotionEntry, faces: Sequence[Picture]) -> NDArray[np.float64]:
    """Dequantized logits (n, labels) of the file for crops that have the size of the input."""
    quantizer = Quantizer(entry.input)
    output = output_of(entry, "logits")
    answers = Exported(data, entry.outputs).run_all(quantizer(face) for face in faces)
    return np.stack([dequantize(answer["logits"].reshape(-1), output) for answer in answers])


def crops_by_turn(faces: Sequence[tuple[Picture, Box]], entry: EmotionEntry) -> list[list[Picture]]:
    """What a device sees of faces, each a picture and a box: the first crops of all, then the second ones."""
    return [[cut_face(pixels, box, entry.input, cut) for pixels, box in faces] for cut in cuts_of(entry)]


def logits_by_turn(
    data: bytes, entry: EmotionEntry, turns: Iterable[Sequence[Picture]]
) -> NDArray[np.float64]:
    """Logits (n, labels) of faces, each cropped by every turn: their mean.

    Calibrated, it is what a device makes of a single picture (`both_crops`).
    """
    return np.asarray(np.mean([file_logits(data, entry, crops) for crops in turns], axis=0), np.float64)


def face_logits(
    data: bytes, entry: EmotionEntry, faces: Sequence[tuple[Picture, Box]]
) -> NDArray[np.float64]:
    """The same of faces, each a picture and a box."""
    return logits_by_turn(data, entry, crops_by_turn(faces, entry))


def smaller(pixels: Picture, height: int) -> Picture:
    """The picture reduced to a face of `height` pixels."""
    if pixels.shape[0] <= height:
        return pixels
    width = max(2, round(pixels.shape[1] * height / pixels.shape[0]))
    return resize_pixels(pixels, (width, height), "area")


def _rotated(pixels: Picture, degrees: float) -> Picture:
    height, width = pixels.shape[:2]
    matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), degrees, 1.0)
    turned = cv2.warpAffine(pixels, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(turned, np.uint8)


def _noisy(pixels: Picture) -> Picture:
    grain = np.random.default_rng(int(pixels.sum(dtype=np.int64))).normal(0, 12, pixels.shape)
    return np.clip(pixels + grain, 0, 255).astype(np.uint8)


def _blurred(pixels: Picture) -> Picture:
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), pixels.shape[0] / 48), np.uint8)


CORRUPTIONS: Mapping[str, Callable[[Picture], Picture]] = {
    "blur": _blurred,
    "dark": lambda pixels: (pixels * 0.35).astype(np.uint8),
    "noise": _noisy,
    "jpeg": lambda pixels: jpeg(pixels, 30),
    "rotated-20": lambda pixels: _rotated(pixels, -20),
    "rotated+20": lambda pixels: _rotated(pixels, 20),
}
"""Blur: sigma 1 px at 48 px. Dark: 35 % of the light. Noise: 12 grey levels. JPEG: quality 30."""


@dataclass(frozen=True, slots=True)
class EmotionFigures:
    """All figures of one model, as in `metrics.json`."""

    model: str
    sha256: str
    bytes: int
    pictures: int
    labels: tuple[str, ...]
    summary: Summary
    accuracy: Interval
    table_1: Mapping[str, ClassFigures]
    confusion: Sequence[Sequence[int]]
    """Counts by [true][predicted] label."""
    risk_coverage: tuple[Coverage, ...]
    reliability: Sequence[Mapping[str, float]]
    """Confidence and accuracy of the calibrated answers, by bin."""
    accuracy_by_face_size: Mapping[str, float]
    accuracy_under: Mapping[str, float]

    def as_text(self) -> str:
        """The figures as text for a terminal."""
        lines = [
            f"{self.model}: {self.bytes} bytes, {self.pictures} pictures",
            f"accuracy {self.accuracy}, balanced {self.summary.balanced_accuracy}, ECE {self.summary.ece}, "
            f"precision at 80 % coverage {self.summary.precision_at_80_coverage}",
            f"{'':>12}  pictures  {'precision':<21}  {'recall':<21}  F1",
        ]
        for name, row in self.table_1.items():
            lines.append(f"{name:>12}  {row.pictures:>8}  {row.precision}  {row.recall}  {row.f1}")
        lines.append(f"accuracy by face size: {_listed(self.accuracy_by_face_size)}")
        lines.append(f"accuracy under: {_listed(self.accuracy_under)}")
        return "\n".join(lines)

    def on_card(self, part: str) -> dict[str, float | int | str]:
        """The figures for a model card, with the name of the part in each key."""
        return {
            f"{part}_pictures": self.pictures,
            f"{part}_accuracy": str(self.accuracy),
            **{f"{part}_{name}": value for name, value in asdict(self.summary).items() if name != "accuracy"},
            **{f"{part}_f1_{label}": str(row.f1) for label, row in self.table_1.items()},
            f"{part}_accuracy_by_face_size": _listed(self.accuracy_by_face_size),
            f"{part}_accuracy_under": _listed(self.accuracy_under),
        }


def _listed(figures: Mapping[str, float]) -> str:
    return ", ".join(f"{name} {value}" for name, value in figures.items())


def evaluate(model: EmotionModel, samples: Sequence[Sample], framing: Framing) -> EmotionFigures:
    """Measure all figures of a model on `samples`."""
    labels = np.array([sample.label for sample in samples])
    pictures = [sample.pixels for sample in samples]
    probabilities = model.probabilities(pictures, framing)
    predicted = probabilities.argmax(axis=1)

    def accuracy_of(changed: Sequence[Picture]) -> float:
        return round(float((model.probabilities(changed, framing).argmax(axis=1) == labels).mean()), 4)

    return EmotionFigures(
        model=model.name,
        sha256=model.entry.cpu.sha256,
        bytes=len(model.data),
        pictures=len(samples),
        labels=model.labels,
        summary=summary(probabilities, labels),
        accuracy=mean_interval(predicted == labels),
        table_1=table_one(predicted, labels, model.labels),
        confusion=confusion(predicted, labels, len(model.labels)).tolist(),
        risk_coverage=coverage_points(probabilities, labels),
        reliability=reliability(probabilities, labels),
        accuracy_by_face_size={
            str(size): accuracy_of([smaller(p, size) for p in pictures]) for size in SIZES
        },
        accuracy_under={
            name: accuracy_of([change(p) for p in pictures]) for name, change in CORRUPTIONS.items()
        },
    )


def evaluate_run(
    folder: Path, data: Path, part: str, artifacts_folder: Path, run_name: str, log: Path = VALID_LOG
) -> EmotionFigures:
    """Run the stage: write the figures to the run's metrics.json.

    A look at `valid` is logged, and its figures are added to the model's card in `entry.json`, from which
    the bundle's MODEL_CARD.md is made. Raises BuildError.
    """
    model = load_emotion(folder)
    described = {"model": model.name, "sha256": model.entry.cpu.sha256, "data": data.name, "part": part}
    with artifacts.open_run(artifacts_folder, "evaluate-emotion", run_name, described) as run:
        dataset = read_dataset(data, model.entry.input.colour)
        require_labels(model.labels, dataset)
        figures = evaluate(model, part_of(dataset, part, folder), Framing())
        run.write_metrics(artifacts.as_plain(figures))
        if part == VALID:
            log_valid(model, figures.summary, data.name, log)
            write_on_card(folder, model.entry, figures.on_card(part))
    return figures


HELD, VALID = "held-out", "valid"
"""Parts of a dataset that nothing was trained on; every use of the second one is logged."""


def require_unseen(part: str) -> None:
    """Raises DataError for a part that is neither HELD nor VALID."""
    if part not in (HELD, VALID):
        raise DataError(f"there is no part {part!r} to answer; give {HELD} or {VALID}")


def part_of(dataset: Dataset, part: str, run: Path | None = None) -> Sequence[Sample]:
    """The samples of `train`, `valid`, or `held-out`: what the recipe of `run` held out of train.

    Without a run, or without a recipe in it, that is the default share without a pattern of groups.
    Raises DataError if the dataset has no such pictures.
    """
    parts: Mapping[str, Callable[[], Sequence[Sample]]] = {
        "train": lambda: dataset.train,
        VALID: lambda: dataset.valid,
        HELD: lambda: held_out(dataset, *_split_of(run)),
    }
    if part not in parts:
        raise DataError(f"there is no part {part!r}; give one of {', '.join(parts)}")
    samples = parts[part]()
    if not samples:
        raise DataError(f"{dataset.root} has no {part} pictures; give a dataset with {part}/<class>/")
    return samples


def _split_of(run: Path | None) -> tuple[float, str]:
    """Share and pattern of groups with which a run's recipe splits train."""
    recipe = run / "recipe.json" if run is not None else None
    told = {}
    if recipe is not None and recipe.is_file():
        try:
            told = json.loads(read_file(recipe, LARGEST_DOCUMENT))
        except (OSError, ValueError) as error:
            raise DataError(f"{recipe} cannot be read ({error}); train the model again") from error
    return float(told.get("held_out", HELD_OUT)), str(told.get("group_pattern", ""))


def require_labels(model_labels: Iterable[str], dataset: Dataset) -> None:
    """Raise DataError unless model and dataset have the same classes."""
    if tuple(model_labels) != dataset.labels:
        raise DataError(
            f"the model answers {', '.join(model_labels)}, {dataset.root} holds {', '.join(dataset.labels)}; "
            "evaluate on pictures of the same classes"
        )


def log_valid(model: EmotionModel, figures: Summary, data: str, log: Path) -> None:
    """Append a look at `valid` to the committed log."""
    shown = {"accuracy": figures.accuracy, "balanced_accuracy": figures.balanced_accuracy}
    artifacts.log_look(log, data, model.name, {"sha256": model.entry.cpu.sha256, **shown})

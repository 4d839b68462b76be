"""Stage `evaluate-emotion`: figures of an exported model, through the device's own code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from oahega_build import artifacts
from oahega_build.calibrate import expected_calibration_error, risk_coverage
from oahega_build.dataset import Dataset, Sample, held_out, read_dataset
from oahega_build.emotion_inputs import Framing, crop_sample, jpeg
from oahega_build.errors import DataError, RunError
from oahega_build.quantize import Exported
from oahega_edge.classification import softmax
from oahega_edge.detection import dequantize
from oahega_edge.manifest import EmotionEntry, output_of
from oahega_edge.preprocess import Quantizer, resize_pixels

ENTRY = "entry.json"
VALID_LOG = Path(__file__).resolve().parents[1] / "valid-log.jsonl"
"""Committed: every look at the pictures that choose nothing leaves a line."""
BOOTSTRAP_ROUNDS = 1000
SIZES = (48, 32, 24, 16)
"""Face heights in pixels before the crop is brought to the input's size."""

Picture = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class EmotionModel:
    """An exported file with its manifest entry."""

    name: str
    entry: EmotionEntry
    data: bytes

    @property
    def labels(self) -> tuple[str, ...]:
        """Of the columns of `probabilities`."""
        return self.entry.labels

    def probabilities(self, pictures: Sequence[Picture], framing: Framing) -> NDArray[np.float64]:
        """Calibrated (n, labels) of pictures whose faces lie at `framing.box`, cropped as the entry says."""
        crop = self.entry.crop
        framing = replace(framing, scale=crop.scale, shift=crop.shift, kernel=crop.kernel)
        faces = [crop_sample(pixels, framing, self.entry.input) for pixels in pictures]
        return softmax(file_logits(self.data, self.entry, faces), self.entry.temperature)


def load_emotion(folder: Path) -> EmotionModel:
    """The model of a run's folder (`entry.json` beside its file). Raises RunError."""
    path = folder / ENTRY
    try:
        entry = EmotionEntry.model_validate_json(path.read_bytes())
        data = (folder / entry.cpu.file).read_bytes()
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is no emotion entry ({type(error).__name__}); give a finished run") from error
    if artifacts.sha256_of(folder / entry.cpu.file) != entry.cpu.sha256:
        raise RunError(f"{folder / entry.cpu.file} is not the file that {ENTRY} names; export it again")
    return EmotionModel(folder.name, entry, data)


def file_logits(data: bytes, entry: EmotionEntry, faces: Sequence[Picture]) -> NDArray[np.float64]:
    """Real logits (n, labels) of crops that have the input's size, by the file."""
    quantizer = Quantizer(entry.input)
    output = output_of(entry, "logits")
    answers = Exported(data, entry.outputs).run_all(quantizer(face) for face in faces)
    return np.stack([dequantize(answer["logits"].reshape(-1), output) for answer in answers])


def summary(probabilities: NDArray[np.floating], labels: NDArray[np.integer]) -> dict[str, float]:
    """The figures that one line holds."""
    predicted = probabilities.argmax(axis=1)
    _, coverage, precision = risk_coverage(probabilities, labels)
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": balanced_accuracy(predicted, labels),
        "ece": expected_calibration_error(probabilities, labels),
        "precision_at_80_coverage": float(precision[np.argmax(coverage >= 0.8)]),
    }


def balanced_accuracy(predicted: NDArray[np.integer], labels: NDArray[np.integer]) -> float:
    """Mean recall over the classes that occur."""
    return float(np.mean([(predicted[labels == c] == c).mean() for c in np.unique(labels)]))


def confusion(predicted: NDArray[np.integer], labels: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """(true, predicted) counts."""
    counts = np.zeros((classes, classes), np.int64)
    np.add.at(counts, (labels, predicted), 1)
    return counts


def precision_recall_f1(counts: NDArray[np.integer]) -> NDArray[np.float64]:
    """(classes, 3) of a confusion matrix; 0 where a class was never predicted or never occurs."""
    hits = np.diag(counts).astype(np.float64)
    precision = hits / np.maximum(1, counts.sum(axis=0))
    recall = hits / np.maximum(1, counts.sum(axis=1))
    f1 = 2 * precision * recall / np.maximum(1e-12, precision + recall)
    return np.stack([precision, recall, f1], axis=1)


def bootstrap(
    figure: Callable[[NDArray[np.intp]], NDArray[np.float64]], pictures: int, rounds: int = BOOTSTRAP_ROUNDS
) -> NDArray[np.float64]:
    """2.5 and 97.5 percentiles of `figure` over resampled picture indices: (2, ...)."""
    rng = np.random.default_rng(0)
    values = [figure(rng.integers(0, pictures, pictures)) for _ in range(rounds)]
    return np.percentile(values, (2.5, 97.5), axis=0)


def table_one(
    predicted: NDArray[np.integer], labels: NDArray[np.integer], names: Sequence[str]
) -> dict[str, dict[str, object]]:
    """Per class precision, recall, F1, each with its 95 % interval (the paper's Table 1)."""
    classes = len(names)

    def scores(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        return precision_recall_f1(confusion(predicted[chosen], labels[chosen], classes))

    values = scores(np.arange(len(labels)))
    low, high = bootstrap(scores, len(labels))
    return {
        name: {
            "pictures": int((labels == i).sum()),
            **{
                figure: [round(float(v), 4) for v in (values[i, j], low[i, j], high[i, j])]
                for j, figure in enumerate(("precision", "recall", "f1"))
            },
        }
        for i, name in enumerate(names)
    }


def smaller(pixels: Picture, height: int) -> Picture:
    """The picture as a face of `height` px would have come."""
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
"""blur: sigma 1 px at 48 px; dark: 35 % of the light; noise: 12 grey levels; jpeg: quality 30."""


def evaluate(model: EmotionModel, samples: Sequence[Sample], framing: Framing) -> dict[str, object]:
    """Every figure of one model on `samples`, as `metrics.json` has them."""
    labels = np.array([sample.label for sample in samples])
    pictures = [sample.pixels for sample in samples]
    probabilities = model.probabilities(pictures, framing)
    predicted = probabilities.argmax(axis=1)
    thresholds, coverage, precision = risk_coverage(probabilities, labels)
    points = [int(np.argmax(coverage >= share)) for share in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)]
    return {
        "model": model.name,
        "sha256": model.entry.cpu.sha256,
        "bytes": len(model.data),
        "pictures": len(samples),
        "labels": list(model.labels),
        **{name: round(value, 4) for name, value in summary(probabilities, labels).items()},
        "accuracy_interval": _accuracy_interval(predicted == labels),
        "table_1": table_one(predicted, labels, model.labels),
        "confusion": confusion(predicted, labels, len(model.labels)).tolist(),
        "risk_coverage": [
            {
                "coverage": round(float(coverage[i]), 3),
                "threshold": round(float(thresholds[i]), 3),
                "precision": round(float(precision[i]), 4),
            }
            for i in points
        ],
        "accuracy_by_face_size": {
            str(size): _accuracy(model, [smaller(p, size) for p in pictures], labels, framing)
            for size in SIZES
        },
        "accuracy_under": {
            name: _accuracy(model, [change(p) for p in pictures], labels, framing)
            for name, change in CORRUPTIONS.items()
        },
    }


def _accuracy(
    model: EmotionModel, pictures: Sequence[Picture], labels: NDArray[np.integer], framing: Framing
) -> float:
    predicted = model.probabilities(pictures, framing).argmax(axis=1)
    return round(float((predicted == labels).mean()), 4)


def _accuracy_interval(right: NDArray[np.bool_]) -> list[float]:
    interval = bootstrap(lambda chosen: np.asarray(right[chosen].mean()), len(right))
    return [round(float(end), 4) for end in interval]


def evaluate_run(
    folder: Path, data: Path, part: str, artifacts_folder: Path, run_name: str, log: Path = VALID_LOG
) -> dict[str, object]:
    """Stage `evaluate-emotion`: figures into a run's metrics.json; a look at `valid` is logged."""
    model = load_emotion(folder)
    described = {"model": model.name, "sha256": model.entry.cpu.sha256, "data": data.name, "part": part}
    with artifacts.open_run(artifacts_folder, "evaluate-emotion", run_name, described) as run:
        dataset = read_dataset(data, model.entry.input.colour)
        require_labels(model.labels, dataset)
        figures = evaluate(model, part_of(dataset, part), Framing())
        run.write_metrics(figures)
        if part == "valid":
            log_valid(figures, data.name, log)
    return figures


def part_of(dataset: Dataset, part: str) -> Sequence[Sample]:
    """`train`, `valid`, or `held-out`: the share of train that recipes hold out by default.

    Raises DataError when the dataset has no such pictures.
    """
    parts = {
        "train": lambda: dataset.train,
        "valid": lambda: dataset.valid,
        "held-out": lambda: held_out(dataset),
    }
    if part not in parts:
        raise DataError(f"there is no part {part!r}; give one of {', '.join(parts)}")
    samples = parts[part]()
    if not samples:
        raise DataError(f"{dataset.root} has no {part} pictures; give a dataset with {part}/<class>/")
    return samples


def require_labels(model_labels: Iterable[str], dataset: Dataset) -> None:
    """Raise DataError unless the model answers in the dataset's own classes."""
    if tuple(model_labels) != dataset.labels:
        raise DataError(
            f"the model answers {', '.join(model_labels)}, {dataset.root} holds {', '.join(dataset.labels)}; "
            "evaluate on pictures of the same classes"
        )


def log_valid(figures: Mapping[str, object], data: str, log: Path) -> None:
    """Append the look at `valid` to the committed log."""
    line = {
        "date": artifacts.now(),
        "commit": artifacts.commit(),
        "data": data,
        "model": figures["model"],
        "sha256": figures["sha256"],
        "accuracy": figures["accuracy"],
        "balanced_accuracy": figures["balanced_accuracy"],
    }
    with log.open("a") as file:
        file.write(json.dumps(line) + "\n")


def as_text(figures: Mapping[str, object]) -> str:
    """The figures for a terminal."""
    low, high = figures["accuracy_interval"]  # type: ignore[misc]
    lines = [
        f"{figures['model']}: {figures['bytes']} bytes, {figures['pictures']} pictures",
        f"accuracy {figures['accuracy']} [{low}, {high}], balanced {figures['balanced_accuracy']}, "
        f"ECE {figures['ece']}, precision at 80 % coverage {figures['precision_at_80_coverage']}",
        f"{'':>12}  pictures  precision             recall                F1",
    ]
    table: Mapping[str, Mapping[str, object]] = figures["table_1"]  # type: ignore[assignment]
    for name, row in table.items():
        cells = "  ".join(_with_interval(row[figure]) for figure in ("precision", "recall", "f1"))
        lines.append(f"{name:>12}  {row['pictures']:>8}  {cells}")
    for key in ("accuracy_by_face_size", "accuracy_under"):
        found: Mapping[str, float] = figures[key]  # type: ignore[assignment]
        lines.append(f"{key.replace('_', ' ')}: " + ", ".join(f"{k} {v}" for k, v in found.items()))
    return "\n".join(lines)


def _with_interval(value: object) -> str:
    middle, low, high = value  # type: ignore[misc]
    return f"{middle:.3f} [{low:.3f},{high:.3f}]"

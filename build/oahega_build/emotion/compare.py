"""Stage `compare-emotion`: several emotion models on the same pictures, in one table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oahega_build.emotion.evaluate import VALID_LOG, load_emotion, log_valid, part_of, require_labels
from oahega_build.emotion.metrics import Interval, Summary, mean_interval, summary
from oahega_build.emotion.peers import Classifier, load_peers, on_shared_classes
from oahega_build.models.interpreter import invocation_times
from oahega_build.models.operators import multiply_adds
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import Framing
from oahega_build.runs.artifacts import open_run

TFLITE = ".tflite"


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one model."""

    name: str
    accuracy: Interval
    summary: Summary
    bytes: int
    milliseconds: float | None
    """Median time of one invocation on one thread; None for a file that is not a .tflite."""
    multiply_adds: int | None
    """Of one invocation; None for a file that is not a .tflite."""


def compare(
    models: Sequence[tuple[Classifier, Path]],
    samples: Sequence[Sample],
    labels: Sequence[str],
    framing: Framing,
) -> list[Row]:
    """Evaluate every model on the same `samples`, restricted to `labels`. Each model comes with its file."""
    truth = np.array([sample.label for sample in samples])
    pictures = [sample.pixels for sample in samples]
    rows = []
    for model, file in models:
        own = model.probabilities(pictures, framing)
        probabilities = on_shared_classes(own, model.labels, labels)
        figures = summary(probabilities, truth)
        rows.append(
            Row(
                name=model.name,
                accuracy=mean_interval(probabilities.argmax(axis=1) == truth),
                summary=figures,
                bytes=file.stat().st_size,
                milliseconds=invocation_time(file) if file.suffix == TFLITE else None,
                multiply_adds=multiply_adds(file) if file.suffix == TFLITE else None,
            )
        )
    return rows


def compare_run(
    folders: Sequence[Path],
    data: Path,
    peers: Sequence[Path],
    part: str,
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> list[Row]:
    """Run the stage: compare our models and, if given, the peers, and write the rows to metrics.json."""
    own = [load_emotion(folder) for folder in folders]
    colours = {model.entry.input.colour for model in own}
    described = {"models": [[m.name, m.entry.cpu.sha256] for m in own], "data": data.name, "part": part}
    with open_run(artifacts_folder, "compare-emotion", run_name, described) as run:
        dataset = read_dataset(data, "rgb" if "rgb" in colours else "grey")
        for model in own:
            require_labels(model.labels, dataset)
        models: list[tuple[Classifier, Path]] = [
            (model, folder / model.entry.cpu.file) for model, folder in zip(own, folders, strict=True)
        ]
        models += [(peer, peer.path) for folder in peers for peer in load_peers(folder)]
        rows = compare(models, part_of(dataset, part), dataset.labels, Framing())
        run.write_metrics({"rows": rows})
        if part == "valid":
            for model, row in zip(own, rows, strict=False):
                log_valid(model, row.summary, data.name, log)
    return rows


def invocation_time(file: Path, rounds: int = 400) -> float:
    """Median milliseconds of one invocation in LiteRT on one thread, after a warm-up."""
    times = invocation_times({file.name: file}, rounds)[file.name]
    return float(np.median(times[rounds // 4 :]))


def as_table(rows: Sequence[Row]) -> str:
    """The rows as fixed-width text, best accuracy first."""
    lines = [f"{'model':<20} {'accuracy':<21} balanced   ECE       bytes      ms  million multiply-adds"]
    for row in sorted(rows, key=lambda row: -row.accuracy.value):
        took = "-" if row.milliseconds is None else f"{row.milliseconds:.3f}"
        work = "-" if row.multiply_adds is None else f"{row.multiply_adds / 1e6:.1f}"
        lines.append(
            f"{row.name:<20} {row.accuracy!s:<21} {row.summary.balanced_accuracy:.4f}   "
            f"{row.summary.ece:.3f}  {row.bytes:>8}  {took:>6}  {work:>6}"
        )
    return "\n".join(lines)

"""Times of the models on devices, as `oahega-edge bench --models` writes them, beside published ones."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from oahega_build.errors import DataError
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text

METRICS = "metrics.json"
"""File of a `bench` run of `all`. The page cites the run instead of the file."""


KERNELS = {True: " (fast int8 kernels)", False: " (plain int8 kernels)", None: ""}
"""What follows the device's name. Times on the one kind of kernels say little about the other."""


@dataclass(frozen=True, slots=True)
class Time:
    """One bar of the chart."""

    device: str
    model: str
    """What ran, with its accelerator and threads."""
    milliseconds: float
    source: str
    """File it was measured into, or who published it."""
    published: bool = False


PUBLISHED = (
    Time("Raspberry Pi 3+", "MobileNetV1 1.0 224 int8, all cores", 46, "XNNPACK README", True),
    Time("Raspberry Pi 4", "MobileNetV1 1.0 224 int8, all cores", 24, "XNNPACK README (64 bit)", True),
    Time("Raspberry Pi 4 + Coral USB", "MobileNetV1 1.0 224", 4.2, "google-coral/edgetpu benchmarks", True),
    Time("Coral Dev Board", "MobileNetV1 1.0 224", 2.2, "google-coral/edgetpu benchmarks", True),
    Time("Raspberry Pi 4 + Coral USB", "SSD-MobileNetV1 300", 15.1, "google-coral/edgetpu benchmarks", True),
    Time("Coral Dev Board", "SSD-MobileNetV1 300", 14.8, "google-coral/edgetpu benchmarks", True),
)
"""Published times like those of the paper's figure 9, each with its source; not measured by us."""


def read_times(files: Sequence[Path]) -> list[Time]:
    """The measured times of several devices' files. Raises DataError for a file of another kind."""
    return [time for file in files for time in _read(file)]


def _read(file: Path) -> list[Time]:
    try:
        content: dict[str, Any] = json.loads(read_text(file, LARGEST_DOCUMENT))
        device = content["device"] + KERNELS[content.get("fast_kernels")]
        return [
            Time(
                device,
                f"{row['model']}, {row['accelerator']}, {row['threads']} thread{'s' * (row['threads'] > 1)}",
                float(row["p50_ms"]),
                file.name if file.name != METRICS else f"{file.parent.parent.name}/{file.parent.name}",
            )
            for row in content["models"]
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file} holds no times of models ({type(error).__name__}: {error}); "
            "make it with `oahega-edge bench --models`"
        ) from error


def draw(times: Sequence[Time]) -> Figure:
    """Horizontal bars on a logarithmic axis, published ones pale."""
    ordered = sorted(times, key=lambda t: -t.milliseconds)
    figure = Figure(figsize=(8, 0.3 * len(ordered) + 0.9), layout="constrained")
    axes = figure.subplots()
    for place, time in enumerate(ordered):
        axes.barh(place, time.milliseconds, color="#c4ccd3" if time.published else "#0b6bcb")
        axes.annotate(
            f"{time.milliseconds:.3g}",
            (time.milliseconds, place),
            xytext=(3, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.set_yticks(range(len(ordered)), [f"{t.device}: {t.model}" for t in ordered], fontsize=8)
    axes.set_xscale("log")
    axes.margins(x=0.12)
    axes.set_xlabel("ms per invocation, median (pale: published by others)")
    return figure

"""Verb `measure-sensitivity`: what `trigger.sensitivity` does to the answers to single faces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import EmotionModel, part_of, require_labels
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.framing import Framing
from oahega_build.runs import artifacts
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.elsewhere import CHOOSE, FaceFinder, answers, read_source
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.smoothing import tilted
from oahega_edge.files import read_file
from oahega_edge.service.chains import NEUTRAL

SENSITIVITIES = (-1.5, -0.7, 0.0, 0.7, 1.5, 2.2)
HOME, ELSEWHERE = "at home", "elsewhere"


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """To single faces, as the bundle gives them."""

    scores: NDArray[np.float64]
    """(faces, labels), probabilities."""
    truth: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Row:
    """One sensitivity on one set of faces; shares of faces."""

    sensitivity: float
    faces: str
    kept: float
    """Of the neutral faces."""
    found: float
    """Of the others, as what they are."""
    published: float
    """Of the neutral faces, as something else with at least the threshold."""

    def __str__(self) -> str:
        """A line of the table."""
        return (
            f"{self.sensitivity:>5} {self.faces:<9}  neutral kept {self.kept:.3f}, "
            f"others found {self.found:.3f}, neutral published as something else {self.published:.3f}"
        )


def curve(sets: Mapping[str, Answers], neutral: int, threshold: float) -> Iterator[Row]:
    """Every sensitivity on every set; `neutral` is the label's index."""
    for sensitivity in SENSITIVITIES:
        for name, given in sets.items():
            log_odds = -sensitivity * np.eye(given.scores.shape[1])[neutral]
            scores = np.array([tilted(face, log_odds) for face in given.scores])
            said, of_neutral = scores.argmax(axis=1), given.truth == neutral
            wrong = of_neutral & (said != neutral) & (scores.max(axis=1) >= threshold)
            yield Row(
                sensitivity,
                name,
                float((said == neutral)[of_neutral].mean()),
                float((said == given.truth)[~of_neutral].mean()),
                float(wrong[of_neutral].mean()),
            )


def measure(data: Path, elsewhere: Path, bundle: Path, artifacts_folder: Path, run_name: str) -> list[Row]:
    """Stage `measure-sensitivity`: held-out faces of a dataset, and the part `choose` of another source."""
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    if NEUTRAL not in entry.labels:
        raise DataError(f"{bundle} does not tell {NEUTRAL}, so the setting does nothing; give another bundle")
    described = {"data": data.name, "elsewhere": elsewhere.name, "bundle": loaded.sha256}
    with artifacts.open_run(artifacts_folder, "measure-sensitivity", run_name, described) as run:
        dataset = read_dataset(data, entry.input.colour)
        require_labels(entry.labels, dataset)
        samples = part_of(dataset, "held-out")
        with held_back():  # the runtime speaks of its kernels
            model = EmotionModel(loaded.identity, entry, read_file(loaded.file(entry.cpu), LARGEST_MODEL))
            source = read_source(elsewhere, entry.labels, CHOOSE, FaceFinder(bundle))
            sets = {
                HOME: Answers(
                    model.probabilities([sample.pixels for sample in samples], Framing()),
                    np.array([sample.label for sample in samples]),
                ),
                ELSEWHERE: Answers(answers(model, source), np.array([face.label for face in source.faces])),
            }
        rows = list(curve(sets, entry.labels.index(NEUTRAL), entry.suggested.threshold))
        run.write_metrics({"rows": rows})
    return rows

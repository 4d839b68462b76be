"""What a bundle remembers of the classes of its emotion model, so that some can be kept without pictures.

Of each class the mean of its features and how they vary together, from many faces: no picture and no person
can be had from it. The file lies beside the models; a device does not read it.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import LedoitWolf

from oahega_build.errors import BuildError, DataError
from oahega_build.pictures.dataset import Sample, read_dataset
from oahega_build.pictures.framing import device_crop
from oahega_build.runs.artifacts import write_bytes
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_MODEL, open_arrays
from oahega_build.teach.last_layer import Classifier
from oahega_edge.bundles.load import load_bundle, seal
from oahega_edge.chain.preprocess import Quantizer
from oahega_edge.files import read_file

MEMORY = "features.npz"
FACTORS = 32
"""Directions of a class's variation that are kept; what is left of it is kept feature by feature."""
MOST_FACES = 300
"""Of a class; more are thinned evenly."""
LEAST_FACES = 100
"""Of a class: with fewer a mean says something about single faces."""


@dataclass(frozen=True, slots=True, eq=False)
class Memory:
    """A factor model of the features of each class: mean + factors' * normal + noise * normal."""

    labels: tuple[str, ...]
    mean: NDArray[np.float64]
    """(labels, features)."""
    factors: NDArray[np.float64]
    """(labels, FACTORS, features)."""
    noise: NDArray[np.float64]
    """(labels, features), standard deviations."""

    def draw(self, label: str, count: int) -> NDArray[np.float64]:
        """Features (count, features) as faces of this class have them, the same ones each time."""
        k = self.labels.index(label)
        rng = np.random.default_rng(k)
        shared = rng.standard_normal((count, self.factors.shape[1])) @ self.factors[k]
        own = rng.standard_normal((count, self.mean.shape[1])) * self.noise[k]
        return np.asarray(np.maximum(0, self.mean[k] + shared + own))  # features follow a ReLU


def remember(bundle: Path, data: Path) -> Path:
    """Write MEMORY into a bundle from a folder of faces per class, and seal it anew; a signature is removed.

    Raises DataError where the classes are not those of the bundle or have too few faces.
    """
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    dataset = read_dataset(data, entry.input.colour)
    if dataset.labels != entry.labels:
        raise DataError(
            f"{data} holds {', '.join(dataset.labels)}, the bundle tells {', '.join(entry.labels)}; "
            "give faces of the same classes"
        )
    quantize = Quantizer(entry.input)
    with held_back():  # the runtime speaks of its kernels
        classifier = Classifier(read_file(loaded.file(entry.cpu), LARGEST_MODEL))
        features = [
            classifier.features([quantize(device_crop(s.pixels, entry.input, entry.crop)) for s in samples])
            for samples in _by_label(dataset.train, entry.labels)
        ]
    write_bytes(bundle / MEMORY, _packed(summarized(dict(zip(entry.labels, features, strict=True)))))
    seal(bundle)
    return bundle / MEMORY


def _by_label(samples: Sequence[Sample], labels: Sequence[str]) -> list[list[Sample]]:
    """At most MOST_FACES of each."""
    found = []
    for number, label in enumerate(labels):
        mine = [sample for sample in samples if sample.label == number]
        if len(mine) < LEAST_FACES:
            raise DataError(f"{label} has {len(mine)} faces, at least {LEAST_FACES} are needed; add some")
        found.append([mine[i] for i in np.linspace(0, len(mine) - 1, min(len(mine), MOST_FACES)).astype(int)])
    return found


def summarized(features: Mapping[str, NDArray[np.floating]]) -> Memory:
    """The factor model of each class's features (faces, features)."""
    means, factors, noises = [], [], []
    for of in features.values():
        covariance = LedoitWolf().fit(of).covariance_
        values, vectors = np.linalg.eigh(covariance)
        strongest = (vectors * np.sqrt(np.maximum(values, 0))).T[-FACTORS:]
        means.append(of.mean(axis=0))
        factors.append(strongest)
        noises.append(np.sqrt(np.maximum(np.diag(covariance) - (strongest**2).sum(axis=0), 0)))
    return Memory(tuple(features), np.array(means), np.array(factors), np.array(noises))


def _packed(memory: Memory) -> bytes:
    file = io.BytesIO()
    half = {name: getattr(memory, name).astype(np.float16) for name in ("mean", "factors", "noise")}
    np.savez(file, labels=np.array(memory.labels), **half)
    return file.getvalue()


def read_memory(bundle: Path) -> Memory:
    """What a bundle remembers. Raises BuildError where it is nothing, or cannot be read."""
    path = bundle / MEMORY
    try:
        with open_arrays(path) as file:
            arrays = [file[name].astype(np.float64) for name in ("mean", "factors", "noise")]
            return Memory(tuple(str(label) for label in file["labels"]), *arrays)
    except FileNotFoundError:
        raise BuildError(
            f"{bundle} remembers no class, so none can be kept; run `remember` on it, or give another --base"
        ) from None
    except Exception as error:  # numpy and zipfile raise many kinds for a damaged file
        raise BuildError(f"{path} cannot be read ({error}); copy the bundle again") from error

"""Stage `measure-reference`: what faces look like where a bundle comes from, as histograms in its manifest.

A device compares its faces with those of its own first days; the reference only says in words how far the
place is from what the bundle learned from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import file_logits
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import held_out, read_dataset, read_picture
from oahega_build.pictures.folders import files_in
from oahega_build.pictures.framing import device_crop
from oahega_build.pictures.problems import Problems
from oahega_build.runs.artifacts import write_json
from oahega_build.runs.output import held_back
from oahega_edge.bundles.load import MANIFEST, Bundle, load_bundle, seal
from oahega_edge.chain.classification import calibrated
from oahega_edge.chain.detection import FACE
from oahega_edge.chain.detector import Detector
from oahega_edge.drift.look import BINS, QUANTITIES, Look, bins_of, light_of
from oahega_edge.runtimes import open_model

log = logging.getLogger(__name__)

OF_THE_FACES = ("confidence", "entropy", "brightness", "sharpness")
OF_THE_PICTURES = ("height", "score")
"""`wait` is a matter of the device and has no reference."""
LEAST_FACES = 100
"""With fewer a histogram says something about single faces."""

Histograms = dict[str, tuple[int, ...]]


def measure_reference(bundle: Path, data: Path, pictures: Sequence[Path]) -> Path:
    """Write the reference into the manifest of a bundle, and seal it anew; a signature is removed.

    `data`: a folder of faces per class, of which the held-out ones count; `pictures`: folders of whole
    pictures of people. Raises DataError where there are fewer than LEAST_FACES faces.
    """
    loaded = load_bundle(bundle)
    with held_back():  # the runtime speaks of its kernels
        reference = {
            **_histograms(_faces(loaded, data), OF_THE_FACES, data),
            **_histograms(_found(loaded, pictures), OF_THE_PICTURES, *pictures),
        }
    emotion = loaded.manifest.emotion.model_copy(update={"reference": reference})
    manifest = loaded.manifest.model_copy(update={"emotion": emotion})
    write_json(bundle / MANIFEST, manifest.model_dump(mode="json"))
    seal(bundle)
    load_bundle(bundle)
    return bundle / MANIFEST


def _histograms(looks: Iterable[Look], quantities: Sequence[str], *where: Path) -> Histograms:
    found = list(looks)
    if len(found) < LEAST_FACES:
        folders = ", ".join(map(str, where))
        raise DataError(f"{folders}: {len(found)} faces, at least {LEAST_FACES} are needed; add pictures")
    places = bins_of(found)
    return {
        name: tuple(np.bincount(places[:, QUANTITIES.index(name)], minlength=BINS).tolist())
        for name in quantities
    }


def _faces(bundle: Bundle, data: Path) -> Iterator[Look]:
    """The crops as the classifier gets them."""
    entry = bundle.manifest.emotion
    dataset = read_dataset(data, entry.input.colour)
    crops = [device_crop(s.pixels, entry.input, entry.crop) for s in held_out(dataset)]
    answers = calibrated(file_logits(bundle.content(entry.cpu), entry, crops), entry)
    for crop, scores in zip(crops, answers, strict=True):
        brightness, sharpness = light_of(crop)
        yield Look(scores, 0.0, brightness, sharpness, 0.0, 0.0)


def _found(bundle: Bundle, folders: Sequence[Path]) -> Iterator[Look]:
    """The faces that the bundle's detector finds in whole pictures."""
    entry = bundle.manifest.detector
    model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
    detector = Detector(entry, model, entry.suggested.score)
    nothing: NDArray[np.float64] = np.full(len(bundle.manifest.emotion.labels), 0.5)
    problems = Problems()
    for file in (file for folder in folders for file in files_in(folder, problems)):
        pixels = read_picture(file, "rgb")
        if pixels is None:
            problems.add("picture that cannot be read, left out", file.name)
            continue
        for found in detector.find(pixels):
            if found.label == FACE:
                yield Look(nothing, found.box.height * len(pixels), 0.0, 0.0, found.score, 0.0)
    model.close()
    for sentence in problems.sentences():
        log.warning("%s", sentence)

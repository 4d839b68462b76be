"""How often a bundle reads an expression from a face behind a mask, of which the eyes alone are seen.

One picture of a face at a time, as a device's average over frames starts from. A mask hides most of what an
expression is read from, so few answers above the threshold are wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oahega_build.detector.kinds import KINDS, Boxed, Face, read_boxed, share_found
from oahega_build.runs.artifacts import open_run
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.classifier import Classifier, EmotionClassifier
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import DetectorEntry
from oahega_edge.runtimes import open_model

LEAST_HEIGHT = 40
"""Pixels of the detector's input."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was measured; beside the figures as recipe.json."""

    bundle: str
    boxed: str


def evaluate(bundle: Path, boxed: Path, artifacts: Path, run: str) -> Path:
    """`metrics.json` in `<artifacts>/evaluate-covered/<run>`: the share answered of each kind of face."""
    loaded = load_bundle(bundle)
    entry = loaded.manifest.emotion
    wish = Wish(loaded.identity, str(boxed))
    with open_run(artifacts, "evaluate-covered", run, asdict(wish)) as made:
        model = open_model(loaded.file(entry.cpu), entry.outputs, entry.input)
        try:
            classifier = EmotionClassifier(entry, model)
            threshold = entry.suggested.threshold
            figures = answered(read_boxed(boxed), classifier, threshold, loaded.manifest.detector)
        finally:
            model.close()
        made.write_metrics({"threshold": threshold, **figures})
    return made.finished


def answered(
    pictures: Sequence[Boxed], classifier: Classifier, threshold: float, detector: DetectorEntry
) -> dict[str, Any]:
    """Of each kind: faces, the share with a probability of at least `threshold`, and their labels."""
    faces: dict[str, list[Face]] = {kind: [] for kind in KINDS}
    labels: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number, picture in enumerate(pictures):
        scale = fit_picture(picture.pixels, detector.input, detector.resize)[1].height * detector.input.height
        for kind, box in picture.faces:
            if box.height * scale < LEAST_HEIGHT:
                continue
            shares = classifier(picture.pixels, box)
            sure = bool(shares.max() >= threshold)
            faces[kind].append(Face(number, kind, box.height * scale, sure))
            if sure:
                labels[kind][classifier.labels[int(shares.argmax())]] += 1
    return {
        kind: {
            "faces": len(of),
            "answered": share_found(of)["recall"],
            "interval": share_found(of)["interval"],
            "labels": dict(labels[kind]),
        }
        for kind, of in faces.items()
    }

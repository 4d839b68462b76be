"""How often a bundle reads an expression from a face behind a mask, of which the eyes alone are seen.

One picture of a face at a time, as a device's average over frames starts from. A mask hides most of what an
expression is read from, so few answers above the threshold are wanted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oahega_build.detector.kinds import KINDS, MASKED, SAME, Boxed, Face, read_boxed, share_found
from oahega_build.emotion.evaluate import load_emotion
from oahega_build.runs.artifacts import open_run
from oahega_build.runs.entries import COVERED, ENTRY, write_on_card
from oahega_edge.bundles.load import Bundle, load_bundle
from oahega_edge.chain.classifier import Classifier, EmotionClassifier, both_crops
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import DetectorEntry
from oahega_edge.runtimes import open_model

LEAST_HEIGHT = 40
"""Pixels of the detector's input."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What was measured; beside the figures as recipe.json."""

    model: str
    sha256: str
    boxed: str
    detector: str


def evaluate(source: Path, boxed: Path, detector: Path, artifacts: Path, run: str) -> dict[str, Any]:
    """The share answered of each kind of face, also in `<artifacts>/evaluate-covered/<run>/metrics.json`.

    `source` is a bundle, or the folder of an exported emotion model, which gets the figures on its card.
    `detector` is the bundle whose detector's input the height of a face is measured on.
    """
    exported = (source / ENTRY).is_file()
    model = load_emotion(source) if exported else None
    entry = model.entry if model else load_bundle(source).manifest.emotion
    loaded = load_bundle(detector if exported else source)
    wish = Wish(source.name, entry.cpu.sha256, str(boxed), loaded.identity)
    with open_run(artifacts, "evaluate-covered", run, asdict(wish)) as made:
        network = open_model(source / entry.cpu.file, entry.outputs, entry.input)
        try:
            classifier = EmotionClassifier(entry, network)
            threshold = entry.suggested.threshold
            with closing(Finder(loaded)) as finder:
                figures = answered(read_boxed(boxed), classifier, threshold, finder.entry, finder.find)
        finally:
            network.close()
        figures = {"threshold": threshold, **figures}
        made.write_metrics(figures)
    if exported:
        write_on_card(source, entry, on_card(figures))
    return figures


def on_card(figures: Mapping[str, Any]) -> dict[str, float | int | str]:
    """What a card says of masked faces, `0.774 [0.702, 0.841] of 159`; nothing where there were none."""
    masked = figures[MASKED]
    return {COVERED: told(masked), "covered_labels": _listed(masked)} if masked["faces"] else {}


def told(share: Mapping[str, Any]) -> str:
    """A share answered with its interval and the number of faces."""
    low, high = share["interval"]
    return f"{share['answered']:.3f} [{low:.3f}, {high:.3f}] of {share['faces']}"


def _listed(share: Mapping[str, Any]) -> str:
    return ", ".join(f"{label} {count}" for label, count in Counter(share["labels"]).most_common())


def as_text(figures: Mapping[str, Any]) -> str:
    """A line for each kind that has faces."""
    return "\n".join(
        f"{kind}: {told(figures[kind])} answered above {figures['threshold']}; "
        f"{figures[kind]['seen as covered']} seen as covered; {_listed(figures[kind])}"
        for kind in KINDS
        if figures[kind]["faces"]
    )


class Finder:
    """A bundle's detector as a device uses it."""

    def __init__(self, bundle: Bundle) -> None:
        self.entry = bundle.manifest.detector
        self._model = open_model(bundle.file(self.entry.cpu), self.entry.outputs, self.entry.input)
        self.find = Detector(self.entry, self._model, self.entry.suggested.score).find

    def close(self) -> None:
        """Close the model."""
        self._model.close()


def answered(
    pictures: Sequence[Boxed],
    classifier: Classifier,
    threshold: float,
    detector: DetectorEntry,
    find: Callable[[Pixels], Sequence[Detection]],
) -> dict[str, Any]:
    """Of each kind: faces, the share that is answered, the share seen as covered, and the labels answered.

    Answered is a face with a probability of at least `threshold`, unless `find` sees that it is covered.
    """
    faces: dict[str, list[Face]] = {kind: [] for kind in KINDS}
    covered: dict[str, int] = dict.fromkeys(KINDS, 0)
    labels: dict[str, Counter[str]] = {kind: Counter() for kind in KINDS}
    for number, picture in enumerate(pictures):
        scale = fit_picture(picture.pixels, detector.input, detector.resize)[1].height * detector.input.height
        covers = [found.box for found in find(picture.pixels) if found.covered]
        for kind, box in picture.faces:
            if box.height * scale < LEAST_HEIGHT:
                continue
            shares = both_crops(classifier, picture.pixels, box)
            is_covered = any(box.iou(cover) >= SAME for cover in covers)
            covered[kind] += is_covered
            sure = bool(shares.max() >= threshold) and not is_covered
            faces[kind].append(Face(number, kind, box.height * scale, sure))
            if sure:
                labels[kind][classifier.labels[int(shares.argmax())]] += 1
    return {
        kind: {
            "faces": len(of),
            "answered": share_found(of)["recall"],
            "interval": share_found(of)["interval"],
            "seen as covered": round(covered[kind] / len(of), 4) if of else None,
            "labels": dict(labels[kind]),
        }
        for kind, of in faces.items()
    }

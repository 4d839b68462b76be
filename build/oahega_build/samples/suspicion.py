"""Which samples to look at first: those of which a bundle is surest that they show something else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from oahega_build.samples.book import Book, Entry
from oahega_edge.bundles.load import load_bundle
from oahega_edge.bundles.models import Models, RuntimeOptions
from oahega_edge.chain.classification import probabilities
from oahega_edge.chain.preprocess import Quantizer, as_classifier_input
from oahega_edge.files import read_file
from oahega_edge.samples.sealed import LARGEST


@dataclass(frozen=True, slots=True)
class Suspect:
    """One sample and what the bundle says of it."""

    name: str
    entry: Entry
    answer: str
    """The likeliest label."""
    confidence: float
    """Its probability."""
    doubt: float
    """Probability of the likeliest other label, less that of the sample's own; -1 to 1."""


def suspects(book: Book, bundle: Path) -> list[Suspect]:
    """All pictures of the book, those not looked at yet first, and of these the greatest doubt first."""
    found = []
    loaded = load_bundle(bundle)
    emotion = loaded.manifest.emotion
    quantize = Quantizer(emotion.input)
    with Models(loaded, RuntimeOptions()) as models:
        for name, entry in book.present.items():
            content = np.frombuffer(read_file(book.picture(name), LARGEST), np.uint8)
            pixels = cv2.imdecode(content, cv2.IMREAD_UNCHANGED)
            if pixels is None:
                continue  # somebody else's file in its place
            rgb = pixels if pixels.ndim == 2 else np.ascontiguousarray(pixels[:, :, 2::-1])
            crop = as_classifier_input(np.asarray(rgb, np.uint8), emotion.input, emotion.crop.kernel)
            shares = probabilities(models.emotion.run(quantize(crop))["logits"], emotion)
            found.append(suspect(name, entry, dict(zip(emotion.labels, map(float, shares), strict=True))))
    return sorted(found, key=lambda one: (one.entry.reviewed, -one.doubt))


def suspect(name: str, entry: Entry, shares: Mapping[str, float]) -> Suspect:
    """`shares`: probability by label; a label that the bundle does not know has none."""
    answer = max(shares, key=lambda label: shares[label])
    other = max(share for label, share in shares.items() if label != entry.label)
    return Suspect(name, entry, answer, shares[answer], other - shares.get(str(entry.label), 0.0))

"""Logits to probabilities at the bundle's operating point."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mini_bundle import make_bundle
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.classification import calibrated
from oahega_edge.manifest import EmotionEntry


@pytest.fixture
def entry(tmp_path: Path) -> EmotionEntry:
    return load_bundle(make_bundle(tmp_path / "bundle")).manifest.emotion


def test_an_offset_multiplies_the_odds_of_its_label(entry: EmotionEntry) -> None:
    logits = np.zeros(len(entry.labels))
    offsets = (float(np.log(2)), *(0.0 for _ in entry.labels[1:]))

    told = calibrated(logits, entry.model_copy(update={"temperature": 0.7, "offsets": offsets}))

    assert told[0] / told[1] == pytest.approx(2)
    assert told.sum() == pytest.approx(1)


def test_a_manifest_without_offsets_answers_as_before(entry: EmotionEntry) -> None:
    logits = np.linspace(-1, 2, len(entry.labels))
    powers = np.exp(logits / entry.temperature)

    assert entry.offsets is None
    assert calibrated(logits, entry) == pytest.approx(powers / powers.sum())


def test_offsets_must_be_one_per_label(entry: EmotionEntry) -> None:
    with pytest.raises(ValueError, match="offsets has 1 numbers"):
        EmotionEntry.model_validate(entry.model_dump() | {"offsets": (0.5,)})

"""Figures on other people's pictures: which pictures count, what is counted, and what a card says."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.pictures.framing import Framing
from oahega_build.scenes.elsewhere import (
    CHOOSE,
    REPORT,
    as_table,
    figures_on,
    figures_on_unclear,
    is_unclear,
    on_card,
    read_source,
    share,
)
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

LABELS = ("dark", "light")
EACH = 10


@dataclass(frozen=True, slots=True)
class ByBrightness:
    """A classifier that is right on every picture, and sure of it."""

    name: str = "by brightness"
    labels: tuple[str, ...] = LABELS

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        light = np.array([0.9 if p.mean() > 128 else 0.1 for p in pictures])
        return np.stack([1 - light, light], axis=1)


def middle(pixels: Pixels) -> Box | None:
    """A detector that finds no face on black pictures."""
    return None if pixels.max() < 10 else Box(0.25, 0.25, 0.75, 0.75)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    rows = []
    for label, level in (("dark", 60), ("light", 200)):
        (tmp_path / label).mkdir()
        for i in range(EACH):
            name = f"{label}/{i}.png"
            pixels = np.full((40, 40, 3), level + i, np.uint8)
            cv2.imwrite(str(tmp_path / name), pixels if i else pixels * 0)
            rows.append((name, label, f"p{i}", REPORT if i % 2 == 0 else CHOOSE))
    with (tmp_path / "people.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("file", "label", "person", "part"), *rows])
    return tmp_path


def test_only_the_asked_part_is_seen_and_faces_that_are_not_found_are_counted(source: Path) -> None:
    chosen = read_source(source, LABELS, CHOOSE, middle)
    reported = read_source(source, LABELS, REPORT, middle)

    assert (len(chosen.faces), chosen.not_found) == (EACH, 0)
    assert (len(reported.faces), reported.not_found) == (EACH - 2, 2)


def test_a_source_without_a_list_counts_as_a_whole(source: Path) -> None:
    (source / "people.csv").unlink()

    assert len(read_source(source, LABELS, REPORT, middle).faces) == 2 * EACH - 2


def test_classes_that_the_model_cannot_answer_are_refused(source: Path) -> None:
    with pytest.raises(DataError, match="holds light, which the model cannot answer"):
        read_source(source, ("dark",), CHOOSE, middle)


def test_a_part_without_faces_is_refused(source: Path) -> None:
    with pytest.raises(DataError, match="no face of the part 'spare'"):
        read_source(source, LABELS, "spare", middle)


def test_the_figures_of_a_classifier_that_is_always_right(source: Path) -> None:
    row = figures_on(ByBrightness(), read_source(source, LABELS, CHOOSE, middle), threshold=0.95)

    assert row.accuracy.value == row.balanced.value == 1
    assert row.recall == {"dark": 1.0, "light": 1.0}
    assert row.ece == pytest.approx(0.1)
    assert row.answered == 0
    assert row.confusion == [[EACH // 2, 0], [0, EACH // 2]]
    assert "balanced 1.000 [1.000, 1.000]" in as_table([row])
    assert any(name.startswith("elsewhere_") and name.endswith("_ece") for name in on_card(row))


def test_a_folder_of_voted_faces_without_classes_is_told_apart(source: Path, tmp_path: Path) -> None:
    voted = tmp_path / "voted"
    (voted / "valid").mkdir(parents=True)
    (voted / "votes.csv").write_text("file,dark,light\n")

    assert is_unclear(voted)
    assert not is_unclear(source)


@pytest.fixture
def unclear(tmp_path: Path) -> Path:
    """Voted faces: three of other expressions, two half-way ones, one of another part."""
    root = tmp_path / "rest"
    votes = {
        "valid/a.png": (250, {"fear": 6, "light": 4}),
        "valid/b.png": (10, {"disgust": 7, "dark": 3}),
        "valid/c.png": (128, {"contempt": 10}),
        "valid/d.png": (250, {"light": 5, "dark": 5}),
        "valid/e.png": (10, {"fear": 5, "dark": 5}),
        "train/f.png": (10, {"dark": 10}),
    }
    names = ("dark", "light", "fear", "disgust", "contempt")
    for name, (level, _) in votes.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((16, 16), level, np.uint8))
    with (root / "votes.csv").open("w", newline="") as file:
        rows = [(name, *(given.get(label, 0) for label in names)) for name, (_, given) in votes.items()]
        csv.writer(file).writerows([("file", *names), *rows])
    return root


def test_faces_of_no_label_and_half_way_faces_are_measured(unclear: Path) -> None:
    row = figures_on_unclear(ByBrightness(), unclear, "valid")

    assert (row.pictures, row.without_label) == (5, 3)
    assert row.surely_answered.value == 1.0
    sure, half = -np.log(0.9), -(np.log(0.9) + np.log(0.1)) / 2
    assert row.cross_entropy == pytest.approx((3 * sure + half) / 4, abs=1e-4)
    assert row.entropy == pytest.approx(np.log(2) / 4, abs=1e-4)
    assert "of 3 faces without a label 1.000 [0.439, 1.000] are answered above 0.8" in as_table([row])
    assert (
        on_card(row)["elsewhere_rest_valid_without_label_answered_above_0.8"] == "1.000 [0.439, 1.000] of 3"
    )


@pytest.mark.parametrize(
    ("right", "of", "low", "high"), [(50, 89, 0.4583, 0.6602), (0, 10, 0.0, 0.2775), (0, 0, 0.0, 1.0)]
)
def test_the_interval_of_a_share_is_wilsons(right: int, of: int, low: float, high: float) -> None:
    told = share(np.arange(of) < right)

    assert (told.low, told.high) == (pytest.approx(low, abs=1e-3), pytest.approx(high, abs=1e-3))

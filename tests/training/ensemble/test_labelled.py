"""Collected faces with what other people's models say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import keras
import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_build.ensemble.answers import Teacher
from oahega_build.ensemble.faces import read_labelled
from oahega_build.ensemble.pack import VOTES
from oahega_build.pictures.framing import Framing
from oahega_build.scenes.elsewhere import FoundFace, Source
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training
LABELS = ("angry", "happy", "neutral", "sad", "surprise")


@dataclass(frozen=True)
class Brightness:
    """A model that tells faces apart by how bright they are."""

    labels: tuple[str, ...]
    name: str = "brightness"

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        nearest = [min(len(self.labels) - 1, int(each.mean() * len(self.labels) / 256)) for each in pictures]
        return np.eye(len(self.labels))[nearest] * 0.9 + 0.1 / len(self.labels)


def picture(level: int, side: int = 64) -> NDArray[np.uint8]:
    grain = np.random.default_rng(level).integers(-20, 20, (side, side, 3))
    return np.clip(grain + level, 0, 255).astype(np.uint8)


def source() -> Source:
    whole = Box(0.2, 0.1, 0.8, 0.9)
    faces = [
        FoundFace(picture(20 + 45 * label + number), whole, label)
        for label in range(5)
        for number in range(4)
    ]
    return Source("somewhere", LABELS, faces, 0)


def collected(folder: Path, levels: Sequence[int]) -> Path:
    (folder / "faces" / "street").mkdir(parents=True)
    for level in levels:
        cv2.imwrite(str(folder / "faces" / "street" / f"{level:03d}.png"), picture(level, 96))
    return folder


def test_a_label_that_nobody_voted_for_is_unknown(tmp_path: Path) -> None:
    folder = collected(tmp_path, (30, 240))

    pack = read_labelled(folder, [Brightness((*LABELS, "ahegao"))], source())

    assert len(pack) == 2
    assert VOTES[pack.votes[0].argmax()] == "angry"
    assert VOTES[pack.votes[1].argmax()] == "unknown"
    assert np.allclose(pack.votes.sum(axis=1), 1, atol=1e-5)


def test_faces_on_which_models_disagree_are_trusted_less(tmp_path: Path) -> None:
    folder = collected(tmp_path, (60, 240))
    upside_down = Brightness(("surprise", *LABELS[1:4], "angry"))

    alike = read_labelled(folder, [Brightness(LABELS), Brightness(LABELS)], source())
    different = read_labelled(folder, [Brightness(LABELS), upside_down], source())

    assert (different.weight < alike.weight).any()
    assert (different.weight <= alike.weight + 1e-6).all()


@dataclass(frozen=True)
class Guess(Brightness):
    """One that tells nothing."""

    def probabilities(self, pictures: Sequence[NDArray[np.uint8]], framing: Framing) -> NDArray[np.float64]:
        drawn = np.random.default_rng(len(pictures)).integers(len(self.labels), size=len(pictures))
        return np.eye(len(self.labels))[drawn] * 0.9 + 0.1 / len(self.labels)


def test_whoever_is_right_elsewhere_is_heard_and_whoever_guesses_is_not(tmp_path: Path) -> None:
    folder = collected(tmp_path, range(25, 240, 4))

    alone = read_labelled(folder, [Brightness(LABELS)], source())
    among = read_labelled(folder, [Guess(LABELS), Brightness(LABELS), Guess(LABELS)], source())

    assert len(set(alone.votes.argmax(axis=1))) == len(LABELS)
    assert (among.votes.argmax(axis=1) == alone.votes.argmax(axis=1)).mean() > 0.9


def test_a_teacher_of_our_own_labels_beside_other_peoples_models(tmp_path: Path) -> None:
    keras.utils.set_random_seed(1)
    pixels = keras.Input((48, 48, 1))
    level = keras.layers.GlobalAveragePooling2D()(pixels)
    teacher = Teacher("level", keras.Model(pixels, keras.layers.Dense(len(VOTES))(level)))
    folder = collected(tmp_path, (60, 110, 240))

    alone = read_labelled(folder, [Brightness(LABELS)], source())
    both = read_labelled(folder, [Brightness(LABELS), teacher], source())

    assert teacher.probabilities([picture(60, 30), picture(200, 200)], Framing()).shape == (2, len(VOTES))
    assert np.allclose(both.votes.sum(axis=1), 1, atol=1e-5)
    assert not np.allclose(both.votes, alone.votes, atol=1e-3)

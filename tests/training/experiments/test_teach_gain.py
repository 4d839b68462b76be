"""What teaching brings is measured on faces that were not drawn; the kept classes are answered, too."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from drawn_faces import LOOKS, draw_face
from oahega_build.errors import DataError
from oahega_build.experiments.teach_gain import (
    Base,
    Faces,
    Strange,
    beside_kept,
    known_classes,
    read_strange,
    strange_alone,
)
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.teach.last_layer import Classifier, Head
from oahega_build.teach.memory import read_memory
from oahega_build.teach.site import known_by
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.files import read_file
from processes import environment

pytestmark = pytest.mark.training

EXPRESSIONS = ("angry", "happy", "neutral", "sad", "surprise")
COLUMNS = ("neutral", "happy", "fear", "disgust")
FILES = [
    f"{part}/{look}-{i}.png" for part in ("train", "valid") for look in ("fear", "disgust") for i in range(6)
]


class Stranger(Head):
    """A layer that answers no face that it has seen; its weights are these faces."""

    def __call__(self, features: NDArray[np.floating]) -> NDArray[np.float64]:
        assert not (features[:, None] == self.weights[None]).all(axis=2).any()
        return np.zeros((len(features), len(self.bias)))


class Teacher(Base):
    """Makes strangers."""

    def taught(self, features: NDArray[np.float64], truth: NDArray[np.int64], labels: int) -> Head:
        return Stranger(features, np.zeros(labels))


@pytest.fixture(scope="module")
def base() -> Base:
    """The embedded bundle."""
    loaded = load_bundle(DEFAULT_BUNDLE)
    entry, memory = loaded.manifest.emotion, read_memory(DEFAULT_BUNDLE)
    classifier = Classifier(read_file(loaded.file(entry.cpu), LARGEST_MODEL))
    return Base(classifier, known_by(classifier.head(), entry, memory), memory)


def remembered(base: Base, each: int) -> Faces:
    """Features as the base's classes have them."""
    labels = base.memory.labels
    return Faces(
        np.concatenate([base.memory.draw(label, each) for label in labels]),
        np.repeat(np.arange(len(labels)), each),
    )


def strange(base: Base, shift: float, seed: int) -> Strange:
    """Features around a point of their own."""
    rng = np.random.default_rng(seed)
    middle = base.memory.mean.mean(axis=0) + shift * rng.standard_normal(base.memory.mean.shape[1])
    of = np.maximum(0, middle + base.memory.noise.mean(axis=0) * rng.standard_normal((60, len(middle))))
    return Strange(of[:40], of[40:])


def write_voted(root: Path, votes: Mapping[str, tuple[int, ...]]) -> Path:
    """Drawn faces with their votes."""
    rng = np.random.default_rng(0)
    for name in votes:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), draw_face(LOOKS["ahegao"], 48, rng))
    with (root / "votes.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("file", *COLUMNS), *((name, *of) for name, of in votes.items())])
    return root


def test_known_classes_are_answered_in_faces_that_were_not_drawn(base: Base) -> None:
    row = known_classes(base, remembered(base, 60), {"happy": 1, "surprise": 4}, 10, draws=2, tested=40)

    assert row.each == 10
    assert min(row.figures["accuracy"]) > 0.9
    assert str(row).startswith("happy, surprise")


def test_a_clear_class_beside_the_kept_is_found_and_costs_them_little(base: Base) -> None:
    row = beside_kept(base, remembered(base, 60), "wink", strange(base, 2.0, 1), 10, draws=2)

    assert list(row.figures) == [
        "balanced over all",
        "wink found",
        "wink found in valid",
        "the kept, balanced",
        "the kept gain",
    ]
    assert min(row.figures["wink found"]) > 0.9
    assert min(row.figures["the kept gain"]) > -0.05


def test_no_face_is_answered_that_was_taught(base: Base) -> None:
    teacher = Teacher(base.classifier, base.known, base.memory)
    faces = remembered(base, 60)

    rows = [
        known_classes(teacher, faces, {"happy": 1, "surprise": 4}, 10, draws=3, tested=50),
        beside_kept(teacher, faces, "wink", strange(base, 2.0, 1), 10, draws=3),
        strange_alone(teacher, {"wink": strange(base, 2.0, 1), "yawn": strange(base, 2.0, 2)}, 10, draws=3),
    ]

    assert all(len(draws) == 3 for row in rows for draws in row.figures.values())


def test_classes_that_are_the_same_cannot_be_told_apart(base: Base) -> None:
    same = strange(base, 2.0, 1)

    row = strange_alone(base, {"wink": same, "blink": same}, 10, draws=3)

    assert np.mean(row.figures["balanced"]) == pytest.approx(0.5, abs=0.2)


def test_a_strange_face_has_more_votes_for_it_than_for_anything_else(base: Base, tmp_path: Path) -> None:
    votes = {
        "train/sure.png": (1, 0, 5, 0),
        "train/torn.png": (0, 0, 4, 4),
        "train/happy.png": (0, 9, 0, 0),
        "valid/sure.png": (0, 0, 0, 3),
    }
    entry = load_bundle(DEFAULT_BUNDLE).manifest.emotion

    found = read_strange(write_voted(tmp_path, votes), ("fear", "disgust"), entry, base.classifier)

    assert {name: (len(of.drawn), len(of.unseen)) for name, of in found.items()} == {
        "fear": (1, 0),
        "disgust": (0, 1),
    }


def test_a_listed_face_that_cannot_be_read_is_named(base: Base, tmp_path: Path) -> None:
    root = write_voted(tmp_path, {"train/sure.png": (1, 0, 5, 0)})
    (root / "train/sure.png").write_text("no picture")

    with pytest.raises(DataError, match=r"sure\.png cannot be read, though votes\.csv lists it"):
        read_strange(root, ("fear",), load_bundle(DEFAULT_BUNDLE).manifest.emotion, base.classifier)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of drawn faces with the embedded bundle's expressions, and voted ones beside it."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for label in EXPRESSIONS:
        for part, count in (("train", 30), ("valid", 12)):
            (root / "faces" / part / label).mkdir(parents=True)
            for number in range(count):
                path = root / "faces" / part / label / f"{number:03d}.png"
                cv2.imwrite(str(path), draw_face(LOOKS[label], 48, rng))
    write_voted(root / "voted", {name: (0, 0, 5, 1) if "fear" in name else (0, 0, 1, 5) for name in FILES})
    return root


def measured(drawn: Path, artifacts: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["measure-teaching", f"--data={drawn / 'faces'}", f"--voted={drawn / 'voted'}", "--draws=2"]
    words += ["--part=held-out", f"--artifacts={artifacts}", "--strange=fear,disgust", "--pictures=4"]
    return subprocess.run(
        [sys.executable, "-m", "oahega_build", *words, *options],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.lengthy
def test_the_verb_prints_a_line_per_figure_and_keeps_them(drawn: Path, tmp_path: Path) -> None:
    done = measured(drawn, tmp_path, "--classes=happy,surprise", "--each=1", "--tested=1")

    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1 + 5 + 3
    (file,) = tmp_path.glob("measure-teaching/*/metrics.json")
    rows = json.loads(file.read_text())["rows"]
    assert [row["taught"] for row in rows] == ["happy, surprise", "fear beside the kept", "fear, disgust"]
    assert all(len(draws) == 2 for row in rows for draws in row["figures"].values())


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--part=report"], "there is no part 'report' to answer; give held-out or valid"),
        (["--classes=wink"], "the base does not tell wink; it tells angry"),
        (["--tested=500"], "faces and 520 are needed; give fewer with --each or --tested"),
        (["--tested=1", "--each=1", "--pictures=9"], "fear has 6, disgust has 6 faces and 10 are needed"),
        (["--strange=yawn"], "has no column yawn"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_sentence(
    drawn: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    done = measured(drawn, tmp_path, *options)

    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert said in " ".join(done.stderr.split())

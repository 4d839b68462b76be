"""What learning on brings is measured at a made site, and shuffled labels are not believed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import LOOKS, draw_face
from oahega_build.experiments.retrain_gain import Faces, at_site, draws, summed, told_by_site
from oahega_build.pictures.dataset import Sample
from oahega_build.teach.last_layer import Head
from oahega_build.teach.site import DRAWN, Known
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.classification import softmax
from processes import environment

pytestmark = pytest.mark.training

LABELS, FEATURES = 3, 12
EACH = 250
"""Drawn faces of each expression, of which a part is held out."""
MEANS = 3.0 * np.eye(LABELS, FEATURES)


def known() -> Known:
    """A base that tells three clouds of features apart."""
    rng = np.random.default_rng(0)
    head = Head(2 * np.eye(LABELS, FEATURES), np.zeros(LABELS))
    drawn = np.repeat(MEANS, DRAWN, axis=0) + rng.normal(0, 1, (DRAWN * LABELS, FEATURES))
    return Known(head, drawn, softmax(head(drawn)))


def faces(count: int, habit: bool) -> Faces:
    """At the site the last feature is greater; with the habit, its first label is called as the second."""
    rng = np.random.default_rng(1)
    truth = rng.integers(0, LABELS, count)
    plain = MEANS[truth] + rng.normal(0, 1, (count, FEATURES))
    told = np.array([1, 1, 2])[truth] if habit else truth
    return Faces(plain, truth, plain + 4 * np.eye(FEATURES)[-1], told)


@pytest.mark.lengthy
def test_a_site_with_a_habit_gains_and_home_hardly_loses() -> None:
    row = summed(180, list(draws(known(), faces(600, habit=True), None, 180, 2)))

    assert row.gain > 7
    assert row.home > -3
    assert (row.accepted, row.accepted_shuffled) == (2, 0)
    assert "accepted 2 of 2, shuffled 0" in str(row)


@pytest.mark.lengthy
def test_where_there_is_nothing_to_learn_nothing_is_accepted() -> None:
    row = summed(60, list(draws(known(), faces(400, habit=False), faces(300, habit=False), 60, 2)))

    assert abs(row.gain) < 3
    assert row.accepted == 0


@pytest.mark.parametrize("shape", [(48, 48), (48, 64, 3)])
def test_the_site_is_dark_and_lit_from_one_side(shape: tuple[int, ...]) -> None:
    seen = at_site(np.full(shape, 200, np.uint8))

    assert seen.shape == shape
    assert seen[:, -8:].mean() > 1.5 * seen[:, :8].mean()
    assert seen.mean() < 100


@pytest.mark.parametrize(("sad", "told"), [(0.0, "neutral"), (0.1, "sad"), (0.3, "sad")])
def test_a_neutral_face_that_one_voter_in_ten_calls_sad_counts_as_sad(sad: float, told: str) -> None:
    labels = ("angry", "happy", "neutral", "sad")
    votes = np.array([0, 0, 1 - sad, sad], np.float32)

    assert labels[told_by_site(Sample("x", 2, votes, np.zeros((2, 2), np.uint8)), labels)] == told


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of drawn faces with the embedded bundle's expressions."""
    root, rng = tmp_path_factory.mktemp("drawn"), np.random.default_rng(0)
    for label in load_bundle(DEFAULT_BUNDLE).manifest.emotion.labels:
        (root / label).mkdir()
        for number in range(EACH):
            cv2.imwrite(str(root / label / f"{number:03d}.png"), draw_face(LOOKS[label], 64, rng))
    return root


def measured(drawn: Path, artifacts: Path, *options: str) -> subprocess.CompletedProcess[str]:
    words = ["measure-retraining", f"--data={drawn}", f"--artifacts={artifacts}", "--draws=2", *options]
    return subprocess.run(
        [sys.executable, "-m", "oahega_build", *words],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.lengthy
def test_the_verb_prints_a_line_per_number_of_samples_and_keeps_the_figures(
    drawn: Path, tmp_path: Path
) -> None:
    done = measured(drawn, tmp_path, "--samples=25,50")

    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["25", "50"]
    assert all(" of 2, shuffled 0" in line for line in lines)
    (file,) = tmp_path.glob("measure-retraining/*/metrics.json")
    rows = json.loads(file.read_text())["rows"]
    assert [(row["samples"], row["draws"]) for row in rows] == [(25, 2), (50, 2)]
    assert all(0 < row["before"] < 1 for row in rows)


@pytest.mark.lengthy
@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["--samples=many"], 2, "give numbers from 1 on with commas"),
        (["--samples=4"], 1, "4 samples are not one of each expression; give at least 5"),
        (["--samples=5000"], 1, "5000 samples are 1000 of each expression, and there are no more held-out"),
        (["--part=report"], 1, "there is no part 'report' to answer; give held-out or valid"),
    ],
)
def test_what_cannot_be_measured_is_said_in_one_sentence(
    drawn: Path, tmp_path: Path, options: list[str], code: int, said: str
) -> None:
    done = measured(drawn, tmp_path, *options)

    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert said in " ".join(done.stderr.replace("│", " ").split())


@pytest.mark.lengthy
def test_a_dataset_of_other_expressions_is_refused(drawn: Path, tmp_path: Path) -> None:
    other = shutil.copytree(drawn, tmp_path / "other")
    (other / "sad").rename(other / "wink")

    done = measured(other, tmp_path / "artifacts")

    assert done.returncode == 1
    assert "evaluate on pictures of the same classes" in done.stderr

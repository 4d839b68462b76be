"""A student and its twin over seeds: who belongs together, what the difference is worth, what is left."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from drawn_faces import draw_dataset
from oahega_build.emotion.distill import distill
from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.emotion.train import train
from oahega_build.errors import RunError
from oahega_build.experiments import compare_distillation as stage
from tiny_all import NET

pytestmark = [
    pytest.mark.training,
    # Keras 3.15 saves TensorFlow's variables through a protocol that numpy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]
TWIN = dataclasses.replace(NET, epochs=1)
TAUGHT = dataclasses.replace(TWIN, distil_share=0.5, distil_temperature=3.0)


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "six", per_class=12)


@pytest.fixture(scope="module")
def artifacts(six: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of each."""
    folder = tmp_path_factory.mktemp("artifacts")
    for seed in (1, 2):
        twin = dataclasses.replace(TWIN, seed=seed)
        made = train(twin, "twin", six, folder, f"twin-{seed}")
        distill(dataclasses.replace(TAUGHT, seed=seed), "taught", [made], six, folder, f"taught-{seed}")
    return folder


def runs(artifacts: Path) -> list[Path]:
    return sorted(artifacts.glob("*/t*-*"))


@pytest.mark.lengthy
def test_the_figures_are_those_of_the_exported_files(artifacts: Path, six: Path, tmp_path: Path) -> None:
    figures = stage.compare_distillation(runs(artifacts), six, ["held-out"], tmp_path, "a")

    found = figures["parts"]["held-out"]
    for group, stem in (("alone", "train-emotion/twin"), ("taught", "distill/taught")):
        own = [json.loads((artifacts / f"{stem}-{n}" / "metrics.json").read_text()) for n in (1, 2)]
        assert found["groups"][group]["accuracy"]["of_each"] == [m["held_out_accuracy"] for m in own]
    (difference,) = found["differences"]
    means = {name: np.mean(row["accuracy"]["of_each"]) for name, row in found["groups"].items()}
    assert difference["accuracy"].value == pytest.approx(means["taught"] - means["alone"], abs=2e-4)
    assert (difference["paired_seeds"], difference["also_differ_in"]) == (True, [])
    assert json.loads((tmp_path / "compare-distillation/a/metrics.json").read_text())["curves"]["taught"]
    assert (tmp_path / "compare-distillation/a/figure_7.svg").is_file()


@pytest.mark.lengthy
def test_a_look_at_valid_is_logged_for_every_student(artifacts: Path, tmp_path: Path) -> None:
    data = tmp_path / "split"
    draw_dataset(data / "train", per_class=12)
    draw_dataset(data / "valid", per_class=4)
    log = tmp_path / "log.jsonl"

    stage.compare_distillation(runs(artifacts), data, ["valid"], tmp_path, "a", log)

    assert [json.loads(line)["model"] for line in log.read_text().splitlines()] == [
        "twin-1", "twin-2", "taught-1", "taught-2",
    ]  # fmt: skip


@pytest.mark.lengthy
def test_one_kind_of_students_is_refused(artifacts: Path, six: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="all students are untaught"):
        stage.compare_distillation([artifacts / "train-emotion/twin-1"], six, ["held-out"], tmp_path, "a")


def student(run: str, recipe: EmotionRecipe) -> stage.Student:
    return stage.Student(Path("stage") / run, recipe, model=None)  # type: ignore[arg-type]


def test_students_that_differ_in_more_than_the_seed_are_groups_of_their_own() -> None:
    paper = dataclasses.replace(TAUGHT, epochs=12, distil_temperature=2.0)
    given = [
        student("taught-2", dataclasses.replace(TAUGHT, seed=2)),
        student("paper", paper),
        student("twin-1", TWIN),
        student("taught-1", TAUGHT),
    ]

    groups = stage.grouped(given)

    assert {group.name: [s.folder.name for s in group.students] for group in groups} == {
        "alone": ["twin-1"],
        "taught, epochs 1, distil temperature 3.0": ["taught-1", "taught-2"],
        "taught, epochs 12, distil temperature 2.0": ["paper"],
    }
    twins = [stage.twin_of(group, groups) for group in groups if group.is_taught]
    assert [twin and (twin[0].name, twin[1]) for twin in twins] == [("alone", []), None]


def test_a_twin_of_another_schedule_is_compared_and_what_differs_is_said() -> None:
    groups = stage.grouped([student("twin", dataclasses.replace(TWIN, epochs=9)), student("taught", TAUGHT)])

    twin = stage.twin_of(groups[-1], groups)

    assert twin == (groups[0], ["epochs"])


def test_pairing_the_pictures_makes_the_interval_narrow() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 500)
    alone = np.repeat(rng.random((1, 1000)) < 0.8, 3, axis=0)
    taught = alone | (rng.random((3, 1000)) < 0.1)

    found = stage.paired_difference(taught, alone, labels, same_seeds=True)

    gained = found["accuracy"]
    assert gained.value == pytest.approx((taught.mean() - alone.mean()), abs=1e-4)
    assert 0 < gained.low < gained.value < gained.high
    assert gained.high - gained.low < 0.02  # of unpaired pictures it would be about .06


def test_seeds_that_disagree_make_the_interval_wide() -> None:
    labels = np.repeat([0, 1], 500)
    alone = np.tile(np.arange(1000) % 10 < 8, (3, 1))
    taught = np.stack([np.arange(1000) % 10 < n for n in (6, 8, 10)])

    found = stage.paired_difference(taught, alone, labels, same_seeds=True)

    assert found["accuracy"].low < -0.1
    assert found["accuracy"].high > 0.1

"""The search leaves the paper's Table 1 and figure 5, survives a kill, and refuses what it cannot search."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from drawn_faces import OAHEGA_CLASSES, draw_dataset
from oahega_build.experiments import study as shared
from postgres import running_postgres
from waiting import wait_until

pytestmark = pytest.mark.training

LONG = 900.0
"""Seconds after which a search hangs."""
RECIPE = '''"""A search of seconds, for the tests."""
from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.models.trunk import Block, Trunk
from oahega_build.experiments.tune import TuneRecipe

RECIPE = TuneRecipe(
    EmotionRecipe(
        trunk=Trunk(stem_channels=8, blocks=(Block(16, 2), Block(16, 2))),
        side=24, held_out=0.25, average=0.5, warm_up_epochs=0.1,
    ),
    epochs=(2, 3), batch=(8, 16), learning_rate=(1e-3, 1e-2), l2=(1e-6, 1e-4),
    fine_tuned=(), dense=(0, 1), dense_units=16, trials=3, random_trials=2, patience=1,
)
'''


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "six", per_class=8)


@pytest.fixture(scope="module")
def recipe_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("recipes") / "seconds.py"
    path.write_text(RECIPE)
    return path


def start(recipe_file: Path, data: Path, folder: Path, *more: str) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "oahega_build",
        "tune",
        "--recipe",
        str(recipe_file),
        "--data",
        str(data),
    ]
    command += ["--artifacts", str(folder), *more]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONWARNINGS": "default", "PYTHONUNBUFFERED": "1"},
        start_new_session=True,
    )


def kill_all(process: subprocess.Popen[str]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def killed_and_resumed(recipe_file: Path, six: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a search that was killed in the middle of its second trial."""
    folder = tmp_path_factory.mktemp("killed")
    first = start(recipe_file, six, folder)
    second_trial = folder / "tune" / "default.unfinished" / "trials" / "trial-001.unfinished"
    wait_until((second_trial / "log.jsonl").is_file, LONG)  # after its first epoch
    kill_all(first)
    second = start(recipe_file, six, folder)
    said, _ = second.communicate(timeout=LONG)
    assert second.returncode == 0, said
    return folder / "tune" / "default"


@pytest.mark.lengthy
def test_a_killed_search_goes_on_with_the_trial_that_it_was_in(killed_and_resumed: Path) -> None:
    metrics = json.loads((killed_and_resumed / "metrics.json").read_text())
    trials = json.loads((killed_and_resumed / "trials.json").read_text())

    assert (metrics["trials"], metrics["lost_attempts"]) == (3, 1)
    assert all(trial["log"] for trial in trials)


@pytest.mark.lengthy
def test_table_1_has_every_class_of_the_best_trials_with_intervals(killed_and_resumed: Path) -> None:
    metrics = json.loads((killed_and_resumed / "metrics.json").read_text())
    values = [row["value"] for row in metrics["table_1"]]
    precision = metrics["table_1"][0]["classes"]["happy"]["precision"]

    assert values == sorted(values)
    assert set(metrics["table_1"][0]["classes"]) == set(OAHEGA_CLASSES)
    assert precision[1] <= precision[0] <= precision[2]
    assert "average" in (killed_and_resumed / "table_1.txt").read_text()


@pytest.mark.lengthy
def test_the_pictures_of_the_search_are_there(killed_and_resumed: Path) -> None:
    made = {path.stem for path in killed_and_resumed.glob("*.svg")}

    assert {"figure_5", "history", "slice"} <= made


@pytest.mark.lengthy
def test_the_best_recipe_can_be_trained_and_differs_only_where_searched(
    killed_and_resumed: Path, recipe_file: Path
) -> None:
    from oahega_build.experiments.tune import TuneRecipe, best_recipe
    from oahega_build.runs.recipes import load_recipe

    base = load_recipe(str(recipe_file), TuneRecipe).base
    best = best_recipe(killed_and_resumed)

    changed = {f.name for f in dataclasses.fields(best) if getattr(best, f.name) != getattr(base, f.name)}
    assert {"class_weights_mu", "dropout", "learning_rate"} <= changed
    assert changed <= {
        "class_weights_mu", "epochs", "batch", "dropout", "learning_rate", "hidden_l2", "hidden", "tune_from",
    }  # fmt: skip


@pytest.mark.long  # test_study.py has the same without training
def test_two_workers_share_the_trials_and_outlive_one_of_them(
    recipe_file: Path, six: Path, tmp_path: Path
) -> None:
    process = start(recipe_file, six, tmp_path, "--workers", "2", "--set", "trials=5")
    journal = tmp_path / "tune" / "default.unfinished" / "study.journal"
    workers = _wait_for_two(journal, str(journal))
    os.kill(int(workers[0].rpartition(":")[2]), signal.SIGKILL)
    said, _ = process.communicate(timeout=LONG)

    trials = json.loads((tmp_path / "tune" / "default" / "trials.json").read_text())
    study = shared.open_study(
        "oahega-default", str(tmp_path / "tune" / "default" / "study.journal"), "minimize"
    )
    assert process.returncode == 0, said
    assert len(trials) == 5
    assert len({t.user_attrs[shared.WORKER] for t in study.trials}) == 2
    assert sum(t.state is TrialState.FAIL for t in study.trials) <= 1


@pytest.mark.long
def test_two_machines_on_one_postgresql_share_the_trials_and_outlive_one_of_them(
    recipe_file: Path, six: Path, tmp_path: Path
) -> None:
    with running_postgres() as server:
        storage = server.url
        more = ("--storage", storage, "--set", "trials=5")
        machines = {name: start(recipe_file, six, tmp_path / name, *more) for name in ("a", "b")}
        _wait_for_two(tmp_path / "a" / "tune" / "default.unfinished" / "trials", storage)
        kill_all(machines["a"])
        said, _ = machines["b"].communicate(timeout=LONG)
        trials = shared.open_study("oahega-default", storage, "minimize").trials
        again, _ = start(recipe_file, six, tmp_path / "a", *more).communicate(timeout=LONG)

    tables = [(tmp_path / name / "tune" / "default" / "table_1.txt").read_text() for name in ("a", "b")]
    assert machines["b"].returncode == 0, said
    assert sum(t.state in (TrialState.COMPLETE, TrialState.PRUNED) for t in trials) == 5
    assert len({t.user_attrs[shared.WORKER] for t in trials if shared.WORKER in t.user_attrs}) == 2
    assert sum(t.state is TrialState.FAIL for t in trials) <= 1
    assert tables[0] == tables[1], again


def _wait_for_two(sign: Path, storage: str) -> list[str]:
    """The workers, once both of them run a trial; `sign` is there as soon as the storage is made."""

    def at_work() -> list[str] | None:
        if not sign.exists():
            return None
        study = shared.open_study("oahega-default", storage, "minimize")
        running = [t for t in study.trials if t.params and shared.WORKER in t.user_attrs]
        workers = sorted({t.user_attrs[shared.WORKER] for t in running})
        return workers if len(workers) == 2 else None

    return list(wait_until(at_work, LONG))


def test_layers_to_fine_tune_need_weights_to_start_from() -> None:
    import optuna

    from oahega_build.emotion.recipe import EmotionRecipe
    from oahega_build.errors import RecipeError
    from oahega_build.experiments.tune import TuneRecipe, suggest
    from oahega_build.models.mobilenet import Trunk

    with pytest.raises(RecipeError, match="init"):
        suggest(TuneRecipe(EmotionRecipe(Trunk())), optuna.trial.FixedTrial({}))


def test_all_eight_hyper_parameters_of_the_paper_reach_the_recipe() -> None:
    import optuna

    from oahega_build.emotion.recipe import EmotionRecipe
    from oahega_build.experiments.tune import TuneRecipe, suggest
    from oahega_build.models.mobilenet import Trunk

    search = TuneRecipe(EmotionRecipe(Trunk(), init=Path("mobilenet.tflite")))
    values = {
        "class_weights_mu": 0.77, "epochs": 60, "batch": 48, "dropout": 0.4, "learning_rate": 3e-4,
        "l2": 0.4, "fine_tuned": 10, "dense": 2,
    }  # fmt: skip

    chosen = suggest(search, optuna.trial.FixedTrial(values))

    assert chosen.class_weights_mu == 0.77
    assert (chosen.epochs, chosen.batch, chosen.dropout, chosen.learning_rate) == (60, 48, 0.4, 3e-4)
    assert (chosen.hidden_l2, chosen.hidden) == (0.4, (2048, 1024))
    assert chosen.tune_from == 27 - 10

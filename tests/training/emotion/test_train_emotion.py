"""From a folder per class to a file that the device loads; interrupted and resumed; refused where wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from oahega_build.emotion.inputs import NO_AUGMENTATION
from oahega_build.emotion.recipe import EmotionRecipe, recipe_of
from oahega_build.errors import DataError, RecipeError, RunError
from oahega_build.models.mobilenet import Block, Trunk
from oahega_build.pictures.framing import Framing
from oahega_build.runs.artifacts import UNFINISHED
from oahega_build.runs.recipes import load_recipe
from portability import SEED, Margins
from training.pictures import write_dataset

pytestmark = [
    pytest.mark.training,
    # Keras 3.15 saves TensorFlow's variables through a protocol that numpy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

LABELS = ("flat", "round", "up")
TINY = EmotionRecipe(
    trunk=Trunk(
        stem_channels=8,
        stem_stride=2,
        blocks=(Block(16, 2, "dense"), Block(24, 2)),
        norm_momentum=0.8,
    ),
    dropout=0.0,
    epochs=3,
    batch=16,
    learning_rate=1e-2,
    average=0.5,
    side=24,
    held_out=0.2,
    mixup=0.2,
    seed=SEED,
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faces")
    counts = {"train": dict.fromkeys(LABELS, 50), "valid": dict.fromkeys(LABELS, 12)}
    return write_dataset(root, counts, LABELS)


@pytest.fixture(scope="module")
def trained(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oahega_build.emotion.train import train

    recipe = dataclasses.replace(TINY, epochs=10, mixup=0.0, augmentation=NO_AUGMENTATION)
    return train(recipe, "tiny", data, tmp_path_factory.mktemp("artifacts"), "whole")


@pytest.mark.lengthy
def test_a_training_leaves_model_entry_and_what_made_them(trained: Path) -> None:
    from oahega_build.emotion.evaluate import load_emotion

    model = load_emotion(trained)

    assert model.entry.labels == LABELS
    assert model.entry.input.dtype == "int8"
    assert model.entry.card.recipe == "tiny"
    assert recipe_of(trained).epochs == 10
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["packages"]["tensorflow"] != "absent"
    assert not (trained / "checkpoints").exists()


@pytest.mark.lengthy
def test_the_trained_file_tells_the_drawn_faces_apart(trained: Path, data: Path, margins: Margins) -> None:
    from oahega_build.emotion.evaluate import evaluate, load_emotion
    from oahega_build.pictures.dataset import read_dataset

    figures = evaluate(load_emotion(trained), read_dataset(data).valid, Framing())

    margins.at_least("accuracy", figures.accuracy.value, 0.6)  # a third is chance
    assert figures.pictures == 36
    assert set(figures.accuracy_by_face_size) == {"48", "32", "24", "16"}


@pytest.mark.lengthy
def test_the_files_golden_answer_passes_the_devices_self_test(trained: Path) -> None:
    from oahega_build.emotion.evaluate import load_emotion
    from oahega_build.models.exported import Exported
    from oahega_edge.bundles.load import self_test

    model = load_emotion(trained)

    class OnThisMachine:
        accelerator = "cpu"

        def run(self, tensor: np.ndarray) -> dict[str, np.ndarray]:
            return Exported(model.data, model.entry.outputs).run(tensor)

        def close(self) -> None:
            """Nothing is held."""

    assert self_test(model.entry, OnThisMachine()) == 0


@pytest.mark.lengthy
def test_an_interrupted_training_ends_with_the_same_weights(
    data: Path, tmp_path: Path, margins: Margins
) -> None:
    from oahega_build.emotion.train import Trainer
    from oahega_build.pictures.dataset import read_dataset, split_train
    from oahega_build.runs.artifacts import open_run

    class Interrupted(Exception):
        pass

    def run(artifacts: Path, stop_after: int | None) -> list[np.ndarray]:
        dataset = read_dataset(data)
        parts = split_train(dataset, TINY.held_out)
        with open_run(artifacts, "train-emotion", "run", TINY) as opened:
            trainer = Trainer(TINY, dataset.labels, *parts, opened)
            trainer.train(until=stop_after)
            if stop_after is not None:
                raise Interrupted
            return trainer.exported_model().get_weights()

    straight = run(tmp_path / "straight", None)
    with pytest.raises(Interrupted):
        run(tmp_path / "resumed", 1)
    resumed = run(tmp_path / "resumed", None)

    apart = max(float(np.abs(a - b).max()) for a, b in zip(straight, resumed, strict=True))
    margins.at_most("difference of a weight", apart, 1e-4)
    log = (tmp_path / "resumed" / "train-emotion" / "run" / "log.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in log] == [1, 2, 3]


@pytest.mark.lengthy
def test_a_finished_run_is_not_overwritten(trained: Path, data: Path) -> None:
    from oahega_build.emotion.train import train

    with pytest.raises(RunError, match="finished already"):
        train(TINY, "tiny", data, trained.parents[1], "whole")


def test_an_unfinished_run_is_not_continued_with_another_recipe(data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.train import train
    from oahega_build.runs.artifacts import open_run

    with pytest.raises(KeyboardInterrupt), open_run(tmp_path, "train-emotion", "mine", TINY):
        raise KeyboardInterrupt
    assert (tmp_path / "train-emotion" / f"mine{UNFINISHED}").is_dir()

    with pytest.raises(RunError, match="another recipe"):
        train(dataclasses.replace(TINY, seed=9), "tiny", data, tmp_path, "mine")


@pytest.mark.lengthy
def test_quantize_exports_a_trained_run_again(trained: Path, data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.evaluate import load_emotion
    from oahega_build.emotion.export import export_run

    again = export_run(trained, data, tmp_path, "again")

    assert load_emotion(again).entry.golden == load_emotion(trained).entry.golden
    assert load_emotion(again).entry.card.recipe == load_emotion(trained).entry.card.recipe == "tiny"


@pytest.mark.lengthy
def test_a_student_learns_from_a_teacher(trained: Path, data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.distill import distill
    from oahega_build.emotion.evaluate import load_emotion

    recipe = dataclasses.replace(TINY, epochs=2, distil_share=0.7, early_epochs=1, early_side=16)

    finished = distill(recipe, "tiny", [trained], data, tmp_path, "student")

    assert load_emotion(finished).entry.labels == LABELS


@pytest.mark.lengthy
def test_a_training_goes_on_from_an_earlier_run(
    trained: Path, data: Path, tmp_path: Path, margins: Margins
) -> None:
    from oahega_build.emotion.train import train

    recipe = dataclasses.replace(TINY, epochs=1, learning_rate=1e-6, start=trained)

    again = train(recipe, "tiny", data, tmp_path, "more")

    before, after = (
        json.loads((run / "log.jsonl").read_text().splitlines()[-1])["accuracy"] for run in (trained, again)
    )
    margins.at_most("accuracy lost", before - after, 0.2)


def test_a_recipe_that_draws_faces_over_heads_needs_a_labelling_run(data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.train import train

    recipe = load_recipe("emotion_scenes", EmotionRecipe)
    alone = dataclasses.replace(recipe, distil_share=0.0)

    with pytest.raises(RecipeError, match="--set heads=RUN"):
        train(alone, "emotion_scenes", data, tmp_path, "headless")


def test_a_recipe_with_a_teachers_share_needs_a_teacher(data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.train import train

    with pytest.raises(RecipeError, match="use `distill`"):
        train(dataclasses.replace(TINY, distil_share=0.5), "tiny", data, tmp_path, "lonely")


@pytest.mark.lengthy
def test_looks_at_valid_are_logged_and_join_the_card(trained: Path, data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.evaluate import evaluate_run, load_emotion

    log = tmp_path / "valid-log.jsonl"
    model = shutil.copytree(trained, tmp_path / "model")

    figures = evaluate_run(model, data, "valid", tmp_path, "a", log)
    evaluate_run(model, data, "held-out", tmp_path, "b", log)

    (line,) = log.read_text().splitlines()
    assert json.loads(line)["accuracy"] == figures.summary.accuracy
    assert json.loads(line)["sha256"] == figures.sha256
    assert str(figures.accuracy) in str(load_emotion(model).entry.card.metrics["valid_accuracy"])


@pytest.mark.lengthy
def test_a_model_is_not_judged_on_other_classes(trained: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.evaluate import evaluate_run

    other = write_dataset(tmp_path / "other", {"train": {"calm": 9, "loud": 9}}, ("calm", "loud"))

    with pytest.raises(DataError, match="calm, loud"):
        evaluate_run(trained, other, "train", tmp_path, "a", tmp_path / "log.jsonl")


@pytest.mark.lengthy
def test_comparison_puts_every_model_on_the_same_pictures(trained: Path, data: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.compare import as_table, compare_run

    rows = compare_run([trained, trained], data, (), "valid", tmp_path, "c", tmp_path / "log.jsonl")

    assert rows[0].accuracy == rows[1].accuracy
    assert (rows[0].milliseconds or 0) > 0
    assert "whole" in as_table(rows)


def test_packaged_recipes_load_and_take_overrides() -> None:
    recipe = load_recipe("emotion_student", EmotionRecipe, ["epochs=3", "precision=float32"])

    assert (recipe.epochs, recipe.precision) == (3, "float32")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("epoch=3", "names no field"),
        ("epochs=many", "valid integer"),
        ("trunk=wide", "does not fit"),
        ("epochs", "names no field"),
    ],
)
def test_a_wrong_override_is_refused(override: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        load_recipe("emotion_student", EmotionRecipe, [override])


def test_an_unknown_recipe_is_refused_with_those_that_exist() -> None:
    with pytest.raises(RecipeError, match="emotion_student"):
        load_recipe("emotion_studnet", EmotionRecipe)


def test_a_recipe_file_of_ones_own_is_loaded(tmp_path: Path) -> None:
    path = tmp_path / "mine.py"
    path.write_text(
        "from oahega_build.emotion.recipe import EmotionRecipe\n"
        "from oahega_build.models.mobilenet import Trunk\n"
        "RECIPE = EmotionRecipe(trunk=Trunk(width=0.25), epochs=1)\n"
    )

    assert load_recipe(str(path), EmotionRecipe).trunk.width == 0.25

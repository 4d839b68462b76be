"""`all` on drawn faces in OAHEGA's published shape: six classes in, a bundle that the device loads out."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import tiny_all
from drawn_faces import LOOKS, OAHEGA_CLASSES, draw_dataset, draw_face
from oahega_build.errors import DataError, RecipeError
from oahega_build.pictures.prepare import split_dataset
from oahega_build.runs.plan import Plan, as_text
from oahega_build.runs.recipes import load_recipe
from oahega_build.whole.everything import make_plan
from oahega_build.whole.options import Options
from oahega_build.whole.recipe import EverythingRecipe

pytestmark = [pytest.mark.training, pytest.mark.lengthy]
RECIPE = Path(tiny_all.__file__)
ENVIRONMENT = os.environ | {
    "PYTHONWARNINGS": "default",
    "PYTHONUNBUFFERED": "1",
    "SOURCE_DATE_EPOCH": "1700000000",  # without it bundles differ in the time at which they were made
}


def command(data: Path, out: Path, *more: str) -> list[str]:
    called = [sys.executable, "-m", "oahega_build", "all", "--dataset", str(data), "--out", str(out)]
    return [*called, "--recipe", str(RECIPE), *more]


def run_all(data: Path, out: Path, *more: str) -> str:
    done = subprocess.run(command(data, out, *more), capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_dataset(tmp_path_factory.mktemp("data") / "six", per_class=12)


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    from oahega_build.whole.signing import make_key

    private = tmp_path_factory.mktemp("key") / "private"
    return private, make_key(private)


@pytest.fixture(scope="module")
def out(six: Path, key: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one undisturbed run left."""
    folder = tmp_path_factory.mktemp("all") / "out"
    run_all(six, folder, "--key", str(key[0]))
    return folder


@pytest.fixture(scope="module")
def plan(six: Path, tmp_path_factory: pytest.TempPathFactory) -> Plan:
    options = Options(tmp_path_factory.mktemp("plan"), dataset=six)
    return make_plan(load_recipe(str(RECIPE), EverythingRecipe), options)


def test_the_plan_names_every_step_with_a_cost_and_makes_nothing(plan: Plan) -> None:
    stages = [step.stage for step in plan.steps]
    text = as_text(plan)

    assert list(dict.fromkeys(stages)) == [
        "split", "overview", "tune", "train-emotion", "distill", "compare-distillation", "project",
        "evaluate-emotion", "prune", "detector", "bundle", "bench", "deliver", "report",
    ]  # fmt: skip
    assert text.count("about") == len(stages) + 1
    assert not list(plan.out.iterdir())


def test_a_changed_picture_makes_the_plan_stale_and_a_changed_recipe_only_what_follows(
    plan: Plan, six: Path
) -> None:
    import dataclasses

    recipe = load_recipe(str(RECIPE), EverythingRecipe)
    other = dataclasses.replace(recipe, student=dataclasses.replace(recipe.student, epochs=3))

    changed = make_plan(other, Options(plan.out, dataset=six))

    same = {a.hash for a in plan.steps} & {b.hash for b in changed.steps}
    kept = {step.stage for step in plan.steps if step.hash in same}
    assert {"split", "overview", "tune", "detector", "project"} <= kept
    assert not {"distill", "bundle", "prune", "report"} & kept


def test_a_plan_is_made_without_loading_the_trainer(six: Path, tmp_path: Path) -> None:
    arguments = command(six, tmp_path / "out", "--dry-run")[3:]
    code = "import sys; from oahega_build import cli; cli.app(sys.argv[1:], standalone_mode=False)"
    code += "; print('tensorflow' in sys.modules)"

    said = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=ENVIRONMENT
    )

    assert said.stdout.splitlines()[-1] == "False", said.stdout + said.stderr


def test_either_pictures_or_videos_must_be_given(tmp_path: Path) -> None:
    recipe = load_recipe(str(RECIPE), EverythingRecipe)

    with pytest.raises(RecipeError, match="either a dataset"):
        make_plan(recipe, Options(tmp_path))
    with pytest.raises(DataError, match="no folder"):
        make_plan(recipe, Options(tmp_path, dataset=tmp_path / "absent"))


def test_the_split_keeps_groups_together_and_takes_votes_along(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    import cv2

    for label in ("happy", "sad"):
        (tmp_path / "data" / label).mkdir(parents=True)
        for person in range(6):
            for shot in range(3):
                face = draw_face(LOOKS[label], 40, rng)
                cv2.imwrite(str(tmp_path / "data" / label / f"p{person}-{shot}.png"), face)
    with (tmp_path / "data" / "votes.csv").open("w") as file:
        file.write("file,happy,sad\nhappy/p0-0.png,7,3\nsad/p1-1.png,1,9\n")

    made = split_dataset(tmp_path / "data", 0.34, r"/(p\d+)-", tmp_path / "out", "a")

    persons = {
        part: {p.name[:2] for p in (made / "data" / part).rglob("*.png")} for part in ("train", "valid")
    }
    with (made / "data" / "votes.csv").open(newline="") as file:
        votes = [row["file"] for row in csv.DictReader(file)]
    assert persons["valid"]
    assert not persons["train"] & persons["valid"]
    assert all((made / "data" / name).is_file() for name in votes)
    assert len(votes) == 2


def test_the_bundle_tells_the_six_classes_and_passes_the_devices_self_test(
    out: Path, key: tuple[Path, str]
) -> None:
    from oahega_edge.bundles.load import load_bundle, self_test
    from oahega_edge.runtimes import open_model

    bundle = load_bundle(out / "bundle", [key[1]])

    assert bundle.manifest.emotion.labels == OAHEGA_CLASSES
    for entry in (bundle.manifest.detector, bundle.manifest.emotion):
        model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
        assert self_test(entry, model) <= 1
        model.close()


def test_the_device_reads_a_face_with_the_new_bundle(out: Path) -> None:
    from oahega_edge.bundles.load import load_bundle
    from oahega_edge.chain.classifier import EmotionClassifier
    from oahega_edge.chain.geometry import Box
    from oahega_edge.runtimes import open_model
    from oahega_edge.stopwatch import Stopwatch

    bundle = load_bundle(out / "bundle")
    entry = bundle.manifest.emotion
    model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
    classify = EmotionClassifier(entry, model, Stopwatch())

    answer = classify(draw_face(LOOKS["surprise"], 120, np.random.default_rng(1)), Box(0.1, 0, 0.9, 1))

    assert answer.shape == (6,)
    assert answer.sum() == pytest.approx(1)


@pytest.mark.shared
def test_the_daemon_checks_the_signed_bundle_and_tells_its_six_classes(
    out: Path, key: tuple[Path, str], shared: Path
) -> None:
    settings = ["--set", f"bundle.path={out / 'bundle'}", "--set", f'bundle.public_keys=["{key[1]}"]']
    clip = shared / "data/media/intel/head-pose-face-detection-male.gif"

    checked = daemon("check", "--no-camera", "--set", "deployment.context=development", *settings)
    replayed = daemon("replay", str(clip), "--set", "trigger.threshold=0.1", *settings)

    events = [json.loads(line) for line in replayed.stdout.splitlines()]
    assert checked.returncode == 0, checked.stderr
    assert f"emotions: {', '.join(OAHEGA_CLASSES)}" in checked.stderr
    assert events, replayed.stderr
    assert all(set(event["scores"]) == set(OAHEGA_CLASSES) for event in events)
    assert {event["model"]["name"] for event in events} == {"oahega-own"}


def test_a_bundle_that_was_changed_after_signing_is_refused(
    out: Path, key: tuple[Path, str], tmp_path: Path
) -> None:
    bundle = shutil.copytree(out / "bundle", tmp_path / "bundle")
    model = bundle / "emotion.tflite"
    model.write_bytes(model.read_bytes()[:-1] + b"\x01")
    settings = ["--set", f"bundle.path={bundle}", "--set", f'bundle.public_keys=["{key[1]}"]']

    checked = daemon("check", "--no-camera", "--set", "deployment.context=development", *settings)

    assert checked.returncode != 0
    assert "emotion.tflite" in checked.stderr


def daemon(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oahega_edge", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT)


def test_the_report_is_one_page_with_the_searched_and_the_final_table(out: Path) -> None:
    text = (out / "report.html").read_text()

    assert "Table 1" in text
    assert {
        "Pictures", "Search", "Training", "Accuracy", "Distillation", "Size, time, pruning", "Detector",
        "The bundle", "Architecture", "Speed on devices",
    } <= set(re.findall(r"<h2>(.*?)</h2>", text))  # fmt: skip


def test_fewer_weights_stand_beside_quantization_and_distillation_in_one_table(out: Path) -> None:
    (run,) = (out / "artifacts" / "prune").iterdir()

    rows = json.loads((run / "metrics.json").read_text())["rows"]

    assert [row["name"] for row in rows] == [
        "float32", "int8", "without a teacher", "teacher", "zeros-50", "channels-50",
    ]  # fmt: skip
    assert all(row["milliseconds"] > 0 and row["packed_bytes"] > 0 for row in rows)


def test_what_somebody_removed_is_put_back_without_making_it_again(
    out: Path, six: Path, key: tuple[Path, str]
) -> None:
    before = contents(out / "bundle")
    shutil.rmtree(out / "bundle")
    (out / "report.html").unlink()

    said = run_all(six, out, "--key", str(key[0]))

    made = [line for line in said.splitlines() if line.startswith("[")]
    assert [line.split()[1] for line in made] == ["deliver:", "report:"]
    assert contents(out / "bundle") == before
    assert (out / "report.html").is_file()


def test_a_second_call_has_nothing_to_do(out: Path, six: Path, key: tuple[Path, str]) -> None:
    before = (out / "bundle" / "manifest.json").stat().st_mtime_ns

    said = run_all(six, out, "--key", str(key[0]))

    assert not [line for line in said.splitlines() if line.startswith("[")]
    assert "together              about 0 s" in said
    assert (out / "bundle" / "manifest.json").stat().st_mtime_ns == before


def test_a_bundle_is_fine_tuned_on_pictures_of_ones_own(out: Path, six: Path, tmp_path: Path) -> None:
    from oahega_edge.bundles.load import load_bundle

    said = run_all(six, tmp_path / "out", "--start", str(out / "bundle"), "--set", "start_epochs=1")

    tuned = load_bundle(tmp_path / "out" / "bundle").manifest
    before = load_bundle(out / "bundle").manifest
    assert "fine-tuned" in said
    assert tuned.detector.cpu.sha256 == before.detector.cpu.sha256
    assert tuned.emotion.cpu.sha256 != before.emotion.cpu.sha256


@pytest.mark.long
def test_killed_at_five_moments_and_resumed_it_gives_the_same_bundle(
    out: Path, six: Path, key: tuple[Path, str], tmp_path: Path
) -> None:
    moments = random.Random(8)
    for _ in range(5):
        before = marks(tmp_path / "out")
        process = subprocess.Popen(
            command(six, tmp_path / "out", "--key", str(key[0])),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        until = before + moments.randint(2, 9)
        while process.poll() is None and marks(tmp_path / "out") < until:
            time.sleep(0.05)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    run_all(six, tmp_path / "out", "--key", str(key[0]))

    assert contents(tmp_path / "out" / "bundle") == contents(out / "bundle")


def marks(out: Path) -> int:
    """How far a run is, the same on fast and slow machines: the number of run folders and epochs."""
    try:
        epochs = sum(path.read_text().count("\n") for path in out.rglob("log.jsonl"))
        return epochs + len(list(out.rglob("recipe.json")))
    except FileNotFoundError:  # a folder was renamed meanwhile
        return 0


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}

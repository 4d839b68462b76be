"""Two run folders become one folder that the device loads, or one clear sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mini_bundle import make_bundle as make_mini_bundle
from oahega_build.errors import RunError
from oahega_build.models.operators import multiply_adds
from oahega_build.scenes.video.decisions import Reliability, on_card
from oahega_build.whole.bundle import make_bundle
from oahega_edge.bundles.load import load_bundle

pytestmark = pytest.mark.training


@pytest.fixture
def runs(tmp_path: Path) -> dict[str, Path]:
    """A run folder per model, as the training stages leave them."""
    mini = make_mini_bundle(tmp_path / "mini")
    manifest = json.loads((mini / "manifest.json").read_text())
    folders = {}
    for kind in ("detector", "emotion"):
        folder = folders[kind] = tmp_path / "artifacts" / kind
        folder.mkdir(parents=True)
        entry = manifest[kind]
        entry["card"]["metrics"] = {"held_out_accuracy": 0.5}
        (folder / "entry.json").write_text(json.dumps(entry))
        shutil.copy(mini / entry["cpu"]["file"], folder)
    return folders


def test_the_device_loads_what_the_stage_wrote(runs: dict[str, Path], tmp_path: Path) -> None:
    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1.2")

    bundle = load_bundle(out)
    assert bundle.identity == "mine-1.2"
    assert bundle.manifest.emotion.labels == ("happy", "neutral", "sad")
    assert bundle.manifest.terms == ("drawn",)
    assert sorted(p.name for p in out.iterdir()) == [
        "MODEL_CARD.md", "SHA256SUMS", "detector.tflite", "emotion.tflite", "manifest.json",
    ]  # fmt: skip


def test_the_card_states_figures_terms_and_limits(runs: dict[str, Path], tmp_path: Path) -> None:
    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")

    card = (out / "MODEL_CARD.md").read_text()
    assert card.count("| held out accuracy | 0.5 |") == 2
    for text in ("happy, neutral, sad", "- drawn", "## Limits", str(1.0)):
        assert text in card


def test_figures_from_elsewhere_come_first_and_multiply_adds_are_counted_from_the_file(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    figures = {"held_out_accuracy": 0.9, "elsewhere_web_accuracy": "0.531 [0.51, 0.55]"}
    change_card(runs["emotion"], figures)

    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")

    card = (out / "MODEL_CARD.md").read_text()
    emotion = card.partition("## Emotion")[2]
    assert "| web accuracy | 0.531 [0.51, 0.55] |" in emotion.partition("| held out accuracy | 0.9 |")[0]
    counted = load_bundle(out).manifest.emotion.card.metrics["multiply_adds"]
    assert counted == multiply_adds(out / "emotion.tflite") > 0
    assert f"| multiply adds | {counted} |" in emotion


def test_a_card_without_a_figure_from_elsewhere_says_so(runs: dict[str, Path], tmp_path: Path) -> None:
    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")

    assert "There is no figure from elsewhere" in (out / "MODEL_CARD.md").read_text()


def test_the_reliability_of_decisions_has_a_paragraph_of_its_own(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    told = Reliability(471, 0.811, 0.784, 0.03)
    on_card(runs["emotion"], {"all": told, "first": None})

    card = (
        make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1") / "MODEL_CARD.md"
    ).read_text()

    assert "471 decisions, 0.811 right, mean confidence 0.784, calibration error 0.030" in card
    assert "decisions over time |" not in card


@pytest.mark.parametrize(
    ("metrics", "sentence"),
    [
        (
            {"covered_answered": "0.774 [0.702, 0.841] of 159"},
            "Of masked faces, 0.774 [0.702, 0.841] of 159",
        ),
        ({}, "How often a covered face gets an answer has not been measured"),
    ],
)
def test_the_limits_name_covered_faces(
    metrics: dict[str, str], sentence: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    change_card(runs["emotion"], metrics)

    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")

    assert sentence in (out / "MODEL_CARD.md").read_text().partition("## Limits")[2]


def change_card(run: Path, metrics: dict[str, Any]) -> None:
    file = run / "entry.json"
    entry = json.loads(file.read_text())
    entry["card"]["metrics"] = metrics
    file.write_text(json.dumps(entry))


def test_making_it_again_replaces_the_whole_folder(runs: dict[str, Path], tmp_path: Path) -> None:
    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")
    (out / "left_over.txt").write_text("old")

    make_bundle(runs["detector"], runs["emotion"], out, "mine", "2")

    assert load_bundle(out).manifest.version == "2"
    assert not (out / "left_over.txt").exists()


def test_a_model_that_its_entry_does_not_name_is_refused_and_the_old_bundle_stays(
    runs: dict[str, Path], tmp_path: Path
) -> None:
    out = make_bundle(runs["detector"], runs["emotion"], tmp_path / "out", "mine", "1")
    (runs["emotion"] / "emotion.tflite").write_bytes(b"another file")

    with pytest.raises(RunError, match=r"emotion\.tflite is not the file that entry\.json names"):
        make_bundle(runs["detector"], runs["emotion"], out, "mine", "2")

    assert load_bundle(out).manifest.version == "1"


def test_a_folder_that_is_no_run_is_refused_by_path(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"mini.entry\.json"):
        make_bundle(runs["detector"], tmp_path / "mini", tmp_path / "out", "mine", "1")


def test_the_two_runs_cannot_be_swapped(runs: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(RunError, match="DetectorEntry"):
        make_bundle(runs["emotion"], runs["detector"], tmp_path / "out", "mine", "1")


def test_the_verb_makes_the_bundle_and_needs_no_tensorflow(runs: dict[str, Path], tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv[0] = 'oahega_build'\n"
        "import oahega_build.cli as cli\n"
        "try:\n    cli.main()\nfinally:\n    print('tensorflow' in sys.modules)"
    )
    arguments = ["bundle", "--detector", str(runs["detector"]), "--emotion", str(runs["emotion"])]

    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", str(tmp_path / "out")],
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.splitlines() == [str(tmp_path / "out"), "False"]
    load_bundle(tmp_path / "out")


@pytest.mark.parametrize(
    "words",
    [
        ("overview", "--data", "nowhere"),
        ("relabel", "nowhere"),
        ("compile", "nowhere", "--check"),
        ("sign", "nowhere", "--key", "nowhere"),
        ("bundle", "--detector", "nowhere", "--emotion", "nowhere", "--out", "out"),
    ],
    ids=lambda words: words[0],
)
def test_a_path_that_is_not_there_is_one_sentence_and_exit_code_one(
    words: tuple[str, ...], tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "oahega_build", *words],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )

    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "nowhere" in done.stderr

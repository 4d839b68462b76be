"""`all` from its other beginnings: videos of real people, a detector's own pictures."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import draw_dataset

pytestmark = [pytest.mark.training, pytest.mark.long]
HERE = Path(__file__).resolve().parents[1]
ENVIRONMENT = os.environ | {
    "PYTHONWARNINGS": "default",
    "PYTHONPATH": os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")]),  # recipes of tests
}


def run_all(out: Path, recipe: str, *more: str) -> str:
    called = [sys.executable, "-m", "oahega_build", "all", "--out", str(out), "--recipe", str(HERE / recipe)]
    done = subprocess.run([*called, *more], capture_output=True, text=True, env=ENVIRONMENT)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def made_by(out: Path, stage: str) -> dict:  # type: ignore[type-arg]
    (run,) = (out / "artifacts" / stage).iterdir()
    return dict(json.loads((run / "metrics.json").read_text()))


def film(path: Path, faces: list[Path]) -> None:
    """A clip in which each face (48x48 grey) stays for four frames, large before a plain wall."""
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240))
    for face in faces:
        frame = np.full((240, 320, 3), 120, np.uint8)
        frame[24:216, 64:256] = cv2.resize(cv2.imread(str(face)), (192, 192), interpolation=cv2.INTER_CUBIC)
        for _ in range(4):
            clip.write(frame)
    clip.release()


@pytest.mark.shared
def test_from_videos_of_people_to_a_bundle(shared: Path, tmp_path: Path) -> None:
    from oahega_edge.bundles.load import load_bundle

    source = tmp_path / "clips"
    for label in ("happy", "neutral", "surprise"):
        (source / label).mkdir(parents=True)
        faces = sorted((shared / "data/emotion/ferplus/train" / label).iterdir())[:36]
        for number in range(12):
            film(source / label / f"person-{number}.avi", faces[3 * number : 3 * number + 3])

    said = run_all(
        tmp_path / "out", "tiny_videos.py", "--videos", str(source), "--detectors", str(shared / "data")
    )

    collected = made_by(tmp_path / "out", "collect")
    assert "[1/" in said
    assert all(collected["faces"][label] >= 18 for label in ("happy", "neutral", "surprise"))
    assert collected["groups"] == 36  # a clip never lies on both sides of a split
    assert load_bundle(tmp_path / "out" / "bundle").manifest.emotion.labels == (
        "happy",
        "neutral",
        "surprise",
    )
    assert "Collected faces" in (tmp_path / "out" / "report.html").read_text()


def draw_people(folder: Path, count: int, seed: int) -> None:
    """Scenes of a person (blue) with a face (yellow disc), and their annotations beside them."""
    folder.mkdir(parents=True)
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        pixels = rng.integers(60, 120, (96, 128, 3)).astype(np.uint8)
        high = int(rng.integers(40, 90))
        wide, radius = high // 2, high // 6
        left, top = int(rng.integers(0, 128 - wide)), int(rng.integers(0, 96 - high))
        middle = (left + wide // 2, top + high // 4)
        cv2.rectangle(pixels, (left, top), (left + wide, top + high), (220, 40, 20), -1)
        cv2.circle(pixels, middle, radius, (40, 220, 240), -1)
        cv2.imwrite(str(folder / f"{number:03}.png"), pixels)
        boxes = [
            ("person", left + wide / 2, top + high / 2, wide, high),
            ("face", *middle, 2 * radius, 2 * radius),
        ]
        lines = [f"{name} {x / 128} {y / 96} {w / 128} {h / 96}" for name, x, y, w, h in boxes]
        (folder / f"{number:03}.txt").write_text("\n".join(lines) + "\n")


def test_a_detector_of_ones_own_pictures_comes_into_the_bundle(tmp_path: Path) -> None:
    from oahega_edge.bundles.load import load_bundle, self_test
    from oahega_edge.runtimes import open_model

    six = draw_dataset(tmp_path / "six", per_class=12)
    draw_people(tmp_path / "scenes" / "people" / "train", 48, 1)
    draw_people(tmp_path / "scenes" / "people" / "valid", 12, 2)

    run_all(
        tmp_path / "out", "tiny_videos.py", "--dataset", str(six), "--detection", str(tmp_path / "scenes"),
        "--label-recipe", str(HERE / "tiny_label.py"), "--detector-recipe", str(HERE / "tiny_detector.py"),
    )  # fmt: skip

    bundle = load_bundle(tmp_path / "out" / "bundle")
    entry = bundle.manifest.detector
    model = open_model(bundle.file(entry.cpu), entry.outputs, entry.input)
    assert (entry.input.width, entry.input.height) == (128, 96)
    assert self_test(entry, model) <= 1
    assert "people: drawn by the tests" in bundle.manifest.terms
    assert made_by(tmp_path / "out", "label")["train"]["pictures"] > 20
    model.close()

"""`read` as a process: what it prints of which pictures."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from skimage import data

from terminals import on_a_terminal
from waiting import PATIENCE


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pictures") / "astronaut.png"
    cv2.imwrite(str(file), cv2.cvtColor(np.asarray(data.astronaut()), cv2.COLOR_RGB2BGR))
    return file


def read(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "oahega_edge", "read", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=options.pop("text", True), timeout=PATIENCE, check=False, **options
    )


def faces(done: subprocess.CompletedProcess[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_face_is_a_line_of_json_in_a_pipe(picture: Path, tmp_path: Path) -> None:
    empty = tmp_path / "wall.png"
    cv2.imwrite(str(empty), np.full((200, 300, 3), 128, np.uint8))

    done = read(picture, empty)

    (face,) = faces(done)
    assert done.returncode == 0
    assert face["picture"] == str(picture)
    assert (face["width"], face["height"], face["expression"]) == (512, 512, "happy")
    assert {"confidence", "scores", "box", "detection"} <= set(face)
    assert "2 pictures, 1 face, 1 without a face" in done.stderr


def test_people_get_a_table(picture: Path) -> None:
    done = on_a_terminal([sys.executable, "-m", "oahega_edge", "read", str(picture)])

    heading, row = done.stdout.splitlines()
    assert done.returncode == 0
    assert heading.split()[:3] == ["picture", "expression", "confidence"]
    assert row.split()[:2] == ["astronaut.png", "happy"]


def test_a_folder_and_standard_input_are_read(picture: Path) -> None:
    with picture.open("rb") as stream:
        done = read(picture.parent, "-", stdin=stream)

    assert [face["picture"] for face in faces(done)] == [str(picture), "-"]


def test_what_cannot_be_read_is_said_and_the_rest_is_read(picture: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(picture.read_bytes()[:500])

    done = read(broken, tmp_path / "gone.jpg", picture)

    complaints = [line for line in done.stderr.splitlines() if line.startswith("oahega-edge: ")]
    assert done.returncode == 1
    assert [face["expression"] for face in faces(done)] == ["happy"]
    assert len(complaints) == 2
    assert "broken.jpg cannot be decoded" in complaints[0]
    assert "gone.jpg cannot be read" in complaints[1]
    assert "1 picture, 1 face, 2 could not be read" in done.stderr


def test_annotated_copies_go_into_the_named_folder(picture: Path, tmp_path: Path) -> None:
    other = tmp_path / "astronaut.png"
    shutil.copy(picture, other)

    done = read(picture, other, "--annotate", tmp_path / "seen")

    drawn = sorted((tmp_path / "seen").iterdir())
    assert done.returncode == 0
    assert [file.name for file in drawn] == ["astronaut-2.jpg", "astronaut.jpg"]
    assert cv2.imread(str(drawn[0])).shape == (512, 512, 3)


def test_no_picture_is_overwritten_by_its_annotated_copy(picture: Path) -> None:
    before = picture.read_bytes()

    for given in (picture, picture.parent):
        done = read(given, "--annotate", picture.parent)

        assert done.returncode == 1
        assert "holds the pictures themselves" in done.stderr
    assert picture.read_bytes() == before
    assert [file.name for file in picture.parent.iterdir()] == ["astronaut.png"]


def test_a_name_that_is_not_utf_8_is_printed_with_escapes(picture: Path, tmp_path: Path) -> None:
    odd = os.path.join(os.fsencode(tmp_path), b"caf\xe9.png")
    shutil.copy(picture, odd)

    done = subprocess.run(
        [sys.executable, "-m", "oahega_edge", "read", odd], capture_output=True, timeout=PATIENCE, check=False
    )

    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["picture"].endswith("caf\\udce9.png")


@pytest.mark.lengthy
def test_replay_of_unrelated_pictures_names_read(picture: Path, tmp_path: Path) -> None:
    for name in ("anna.png", "bela.png"):
        shutil.copy(picture, tmp_path / name)
    small = cv2.resize(cv2.imread(str(picture)), None, fx=0.5, fy=0.5)
    cv2.imwrite(str(tmp_path / "carl.png"), small)
    command = [sys.executable, "-m", "oahega_edge", "replay"]

    for source in (picture, tmp_path):
        done = subprocess.run(
            [*command, str(source)], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

        events = [json.loads(line) for line in done.stdout.splitlines()]
        assert done.returncode == 0
        assert "`oahega-edge read` reads the faces" in done.stderr
        assert [event["emotion"] for event in events if event["phase"] == "new"] == ["happy"] * (
            1 if source == picture else 3
        )
        # What `read` says of this face, not a quarter of its evidence.
        assert events[0]["confidence"] == pytest.approx(faces(read(picture))[0]["confidence"], abs=1e-3)


def test_replay_of_numbered_frames_does_not_name_read(picture: Path, tmp_path: Path) -> None:
    for name in ("frame_1.png", "frame_2.png"):
        shutil.copy(picture, tmp_path / name)

    done = subprocess.run(
        [sys.executable, "-m", "oahega_edge", "replay", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )

    assert "oahega-edge read" not in done.stderr

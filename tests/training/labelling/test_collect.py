"""Faces from videos and pictures: what is taken, what is left, and that a kill or a shard changes nothing."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import LOOKS, draw_face, draw_scene
from oahega_build.errors import DataError
from oahega_build.labelling import collect as stage
from oahega_build.labelling.collect import CollectRecipe
from oahega_build.labelling.teachers import TEACHERS, Finding, TeacherSpec
from oahega_edge.chain.frame import Pixels
from oahega_edge.chain.geometry import Box

SHARED = Path(os.environ.get("OAHEGA_SHARED", Path(__file__).resolve().parents[4] / "shared"))


class FindsNonWall:
    """A detector of drawn faces: what differs from the wall is one."""

    name = "non-wall"

    def __init__(self, spec: TeacherSpec, files: list[Path]) -> None:
        self._least = spec.least

    def find(self, pixels: Pixels) -> list[Finding]:
        away = (np.abs(pixels.astype(int) - 200).max(axis=2) > 12).astype(np.uint8)
        away = cv2.morphologyEx(away, cv2.MORPH_CLOSE, np.ones((9, 9), np.uint8))
        count, _, stats, _ = cv2.connectedComponentsWithStats(away)
        height, width = pixels.shape[:2]
        return [
            Finding("face", Box(x / width, y / height, (x + w) / width, (y + h) / height), 0.9)
            for x, y, w, h, area in stats[1:count]
            if area > 200
        ]


@pytest.fixture
def recipe(monkeypatch: pytest.MonkeyPatch) -> CollectRecipe:
    monkeypatch.setitem(TEACHERS, "non-wall", FindsNonWall)
    return CollectRecipe(TeacherSpec("non-wall", ()), margin=0.0, every=2, min_sharpness=5.0)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Two classes: a clip whose face jumps from happy to sad, and pictures."""
    folder = tmp_path / "source"
    (folder / "happy").mkdir(parents=True)
    (folder / "surprise" / "deeper").mkdir(parents=True)
    clip = cv2.VideoWriter(
        str(folder / "happy" / "person-7.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 10, (320, 240)
    )
    for number in range(12):
        look = "happy" if number < 6 else "sad"
        frame = draw_scene([(look, 100, 60, 110)], (320, 240), seed=number // 6)
        clip.write(cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    clip.release()
    for number in range(3):
        frame = draw_scene([("surprise", 20, 30, 90), ("surprise", 180, 40, 100)], (320, 240), number)
        path = folder / "surprise" / "deeper" / f"photo {number}.png"
        cv2.imwrite(str(path), cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    return folder


def rows_of(run: Path) -> list[dict[str, str]]:
    with (run / stage.LIST).open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_face_lies_in_its_class_and_in_the_list(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    listed = sorted(row["file"] for row in rows_of(run))
    lying = sorted(p.relative_to(run / "faces").as_posix() for p in (run / "faces").rglob("*.png"))
    assert listed == lying
    assert json.loads((run / "metrics.json").read_text())["faces"] == {"happy": 2, "surprise": 6}


def test_near_copies_within_a_video_are_left_and_counted(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    assert json.loads((run / "metrics.json").read_text())["left_out"] == {"near-copy of one taken": 4}


def test_the_group_of_a_collected_name_is_its_source(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    for row in rows_of(run):
        found = re.search(stage.GROUP_PATTERN, row["file"])
        assert found is not None
        assert found.group(1) == row["group"]
    assert len({row["group"] for row in rows_of(run) if row["label"] == "surprise"}) == 3


def test_one_person_in_several_sources_is_one_group(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    import dataclasses

    by_person = dataclasses.replace(recipe, person_pattern=r"(photo)")

    run = stage.collect(by_person, source, tmp_path, tmp_path / "out", "a")

    groups = {
        re.search(stage.GROUP_PATTERN, r["file"]).group(1) for r in rows_of(run) if r["label"] == "surprise"
    }  # type: ignore[union-attr]
    assert groups == {"photo"}


def test_small_and_blurred_faces_are_left_with_the_reason(recipe: CollectRecipe) -> None:
    rng = np.random.default_rng(1)
    face = draw_face(LOOKS["happy"], 90, rng)
    blurred = cv2.GaussianBlur(face, (0, 0), 8)
    box = Box(0, 0, 1, 1)

    assert stage.why_not(face, box, 30, recipe, []) == "too small"
    assert stage.why_not(np.asarray(blurred, np.uint8), box, 90, recipe, []) == "blurred"
    assert stage.why_not(face, box, 90, recipe, []) is None


def test_a_face_at_the_edge_is_cut_whole_by_repeating_the_edge() -> None:
    pixels = np.zeros((100, 200, 3), np.uint8)
    pixels[:, 180:] = 255

    crop = stage.cut(pixels, Box(0.9, 0.2, 1.1, 0.6), margin=0.1)

    assert crop.shape[0] == crop.shape[1] == 48
    assert crop[:, -1].min() == 255


def test_a_unit_that_is_there_is_not_done_again(recipe: CollectRecipe, source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="shard 0/2 is done"):
        stage.collect(recipe, source, tmp_path, tmp_path / "out", "a", shard=(0, 2))
    reports = list((tmp_path / "out" / "collect" / "a.unfinished" / "units").glob("*.json"))
    before = [report.stat().st_mtime_ns for report in reports]

    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    assert [(run / "units" / report.name).stat().st_mtime_ns for report in reports] == before
    assert len(rows_of(run)) == 8


def test_shards_give_what_one_process_gives(recipe: CollectRecipe, source: Path, tmp_path: Path) -> None:
    alone = stage.collect(recipe, source, tmp_path, tmp_path / "alone", "a")
    with pytest.raises(DataError):
        stage.collect(recipe, source, tmp_path, tmp_path / "shared", "a", shard=(1, 2))

    together = stage.collect(recipe, source, tmp_path, tmp_path / "shared", "a")

    assert rows_of(together) == rows_of(alone)
    assert (together / "sheets" / "happy.png").read_bytes() == (alone / "sheets" / "happy.png").read_bytes()


def test_a_corrected_list_moves_and_leaves_out_faces(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")
    rows = rows_of(run)
    clip = [row for row in rows if row["label"] == "happy"]
    clip[1]["label"] = "sad"
    next(row for row in rows if row["label"] == "surprise")["label"] = ""
    stage.write_list(run / stage.LIST, rows)

    changes = stage.relabel(run)

    assert changes == {"happy -> sad": 1, "surprise left out": 1}
    assert len(list((run / "faces" / "sad").iterdir())) == 1
    assert len(rows_of(run)) == 7


def test_a_wrong_line_in_the_list_moves_nothing(recipe: CollectRecipe, source: Path, tmp_path: Path) -> None:
    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")
    rows = rows_of(run)
    rows[0]["label"] = "sad"
    rows[1]["label"] = "Very Sad"
    stage.write_list(run / stage.LIST, rows)

    with pytest.raises(DataError, match=r"line 3.*'Very Sad'"):
        stage.relabel(run)

    assert not (run / "faces" / "sad").exists()


def test_a_broken_video_and_a_text_called_png_are_named_and_skipped(
    recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    (source / "happy" / "broken.mp4").write_bytes(b"no video")
    (source / "happy" / "text.png").write_text("no picture")

    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    problems = json.loads((run / "metrics.json").read_text())["problems"]
    assert problems["picture that cannot be read"]["examples"] == ["text.png"]
    assert "broken.mp4" in problems["video that cannot be read to its end"]["examples"][0]


def test_a_folder_without_anything_to_look_at_is_refused(recipe: CollectRecipe, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match="no video and no picture"):
        stage.collect(recipe, tmp_path / "empty", tmp_path, tmp_path / "out", "a")


@pytest.mark.shared
def test_real_faces_are_found_in_a_real_clip(tmp_path: Path) -> None:
    from oahega_build.runs.recipes import load_recipe

    if not (SHARED / "data/media/intel").is_dir():
        pytest.skip("the folder `shared` is not beside the checkout")
    (tmp_path / "clips" / "talking").mkdir(parents=True)
    clip = SHARED / "data/media/intel/yes.mkv"
    (tmp_path / "clips" / "talking" / clip.name).symlink_to(clip)
    recipe = load_recipe("collect_default", CollectRecipe, ["every=30"])

    run = stage.collect(recipe, tmp_path / "clips", SHARED / "data", tmp_path / "out", "a")

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["faces"]["talking"] >= 1
    assert 0.5 < metrics["framing"]["box_height"] < 1.1  # of the picture: a box may reach past the crop

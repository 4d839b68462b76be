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
from oahega_build.pictures.dataset import UNREADABLE
from oahega_build.pictures.problems import Problems
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

    assert changes == {"happy -> sad, a new class": 1, "surprise left out": 1}
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
    assert problems[UNREADABLE]["examples"] == ["text.png"]
    assert "broken.mp4" in problems["video that cannot be read to its end"]["examples"][0]


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9.avi", b"\xff\xfe.jpg", b"caf\xe9/photo.png"])
def test_a_name_that_is_not_utf_8_is_counted_and_the_others_are_taken(
    name: bytes, recipe: CollectRecipe, source: Path, tmp_path: Path
) -> None:
    odd = Path(os.fsdecode(os.path.join(os.fsencode(source / "surprise"), name)))
    odd.parent.mkdir(exist_ok=True)
    odd.write_bytes((source / "surprise" / "deeper" / "photo 0.png").read_bytes())

    run = stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["faces"] == {"happy": 2, "surprise": 6}
    assert metrics["problems"]["file whose name is not UTF-8, passed over: rename it"]["count"] == 1


def test_a_folder_without_anything_to_look_at_is_refused(recipe: CollectRecipe, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()

    with pytest.raises(DataError, match="no video and no picture"):
        stage.collect(recipe, tmp_path / "empty", tmp_path, tmp_path / "out", "a")


def test_other_files_are_counted_and_said(
    recipe: CollectRecipe, source: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (source / "happy" / "clip.braw").write_bytes(b"x")
    (source / "happy" / "@eaDir").mkdir()
    (source / "happy" / "@eaDir" / "photo.png").write_bytes(b"x")
    (source / "happy" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"x")
    (source / "loose.mp4").write_bytes(b"x")

    stage.collect(recipe, source, tmp_path, tmp_path / "out", "a")

    for said in (
        "1 x file ending in .braw, passed over: clip.braw",
        "1 x folder of the system, not read: @eaDir",
        "1 x file whose name is not UTF-8, passed over: rename it: caf\\xe9.png",
        "1 x file outside of the classes' folders, passed over: loose.mp4",
    ):
        assert said in caplog.text


@pytest.mark.parametrize("name", ["camera.ts", "camera.wmv", "camera.MTS", "camera.h264", "photo.tif"])
def test_what_cameras_write_is_a_unit(name: str, tmp_path: Path) -> None:
    (tmp_path / "happy").mkdir()
    (tmp_path / "happy" / name).write_bytes(b"x")

    (unit,) = stage.plan(tmp_path, Problems())

    assert [path.name for path in unit.sources] == [name]


def test_folders_of_a_split_are_no_classes_to_collect(tmp_path: Path) -> None:
    for part in ("Train", "Test"):
        (tmp_path / part / "happy").mkdir(parents=True)

    with pytest.raises(DataError, match="name of a part"):
        stage.plan(tmp_path, Problems())


def collected(folder: Path, *names: str) -> Path:
    """A finished run with these faces, each with its line."""
    for name in names:
        path = folder / "faces" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((48, 48, 3), 90, np.uint8))
    rows = [dict.fromkeys(stage.COLUMNS, "") | {"file": n, "label": n.split("/")[0]} for n in names]
    stage.write_list(folder / stage.LIST, rows)
    return folder


def edited(run: Path, old: str, new: str) -> None:
    path = run / stage.LIST
    path.write_text(path.read_text().replace(old, new))


def test_a_face_in_no_line_is_an_error_and_nothing_moves(tmp_path: Path) -> None:
    run = collected(tmp_path, "happy/1.png", "happy/2.png", "sad/1.png")
    edited(run, "happy/2.png,happy,,,,,,\n", "")
    edited(run, "sad/1.png,sad", "sad/1.png,happy")

    with pytest.raises(DataError, match=r"1 faces are in no line of .*\(happy/2\.png\)"):
        stage.relabel(run)

    assert (run / "faces" / "sad" / "1.png").exists()


def test_two_lines_for_one_face_are_an_error(tmp_path: Path) -> None:
    run = collected(tmp_path, "happy/1.png", "sad/1.png")
    edited(run, "sad/1.png,sad", "happy/1.png,sad")

    with pytest.raises(DataError, match=r"line 3: happy/1\.png has a line already"):
        stage.relabel(run)


def test_a_shortened_line_is_an_error_and_no_face_is_deleted(tmp_path: Path) -> None:
    run = collected(tmp_path, "happy/1.png", "sad/1.png")
    edited(run, "sad/1.png,sad,,,,,,", "sad/1.png")

    with pytest.raises(DataError, match="line 3 has 1 cells, the first line has 8"):
        stage.relabel(run)

    assert (run / "faces" / "sad" / "1.png").exists()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_list_saved_by_a_spreadsheet_of_another_country_is_read(encoding: str, tmp_path: Path) -> None:
    run = collected(tmp_path, "happy/1.png", "sad/1.png")
    text = (run / stage.LIST).read_text().replace(",", ";").replace("sad/1.png;sad", "sad/1.png;überrascht")
    (run / stage.LIST).write_bytes((text.replace("\n", "\r\n") + ";;;;;;;\r\n\r\n").encode(encoding))

    changes = stage.relabel(run)

    assert changes == {"sad -> überrascht, a new class": 1}
    assert (run / "faces" / "überrascht" / "1.png").exists()


def test_names_of_people_stay_apart_in_any_script() -> None:
    names = {
        stage.group_of(f"happy/{name}/a.mp4", r"happy/([^/]+)/") for name in ("Müller", "Möller", "Миша")
    }

    assert len(names) == 3


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

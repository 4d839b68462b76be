from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.problems import Problems
from oahega_build.pictures.readers import read_coco, read_text_folder, read_wider_face


def write_picture(path: Path, width: int = 100, height: int = 50) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def test_text_boxes_are_centre_and_size_in_unit_coordinates(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    (tmp_path / "a.txt").write_text("person 0.5 0.5 0.2 0.4\n")

    (picture,) = read_text_folder(tmp_path, "set/train", frozenset({"person"}), Problems())

    (found,) = picture.boxes
    assert (picture.key, found.label, found.ignore) == ("set/train/a", "person", False)
    assert found.box.as_xywh() == pytest.approx((0.4, 0.3, 0.2, 0.4))


def test_what_is_wrong_in_text_files_is_named_and_counted(tmp_path: Path) -> None:
    for name in ("bad", "empty", "fine"):
        write_picture(tmp_path / f"{name}.jpg")
    (tmp_path / "bad.txt").write_text(
        "person 0.5 0.5 0.2 0\nperson 2.5 0.5 0.2 0.2\nperson 1.0 0.5 0.5 0.5\nperson 0.5 half 1 1\n"
    )
    (tmp_path / "empty.txt").write_text("")
    problems = Problems()

    pictures = list(read_text_folder(tmp_path, "set", frozenset(), problems))

    assert [len(picture.boxes) for picture in pictures] == [1, 0, 0]
    assert pictures[0].boxes[0].box.right == 1.0
    assert dict(problems.counts) == {
        "box without size": 1,
        "box outside the picture": 1,
        "box reaching out of the picture, cut": 1,
        "line that is not `label cx cy w h`": 1,
        "empty annotation file": 1,
    }
    assert problems.examples["box without size"] == ["bad.txt:1"]


def test_a_missing_folder_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder .*nowhere"):
        list(read_text_folder(tmp_path / "nowhere", "set", frozenset(), Problems()))


WIDER = """0--Parade/a.jpg
2
10 5 20 10 0 0 0 0 0 0
40 10 8 8 2 0 0 1 0 0
0--Parade/nobody.jpg
0
0 0 0 0 0 0 0 0 0 0
0--Parade/absent.jpg
1
1 1 5 5 0 0 0 0 0 0
"""


def test_wider_face_is_read_as_published(tmp_path: Path) -> None:
    write_picture(tmp_path / "images/0--Parade/a.jpg")
    write_picture(tmp_path / "images/0--Parade/nobody.jpg")
    (tmp_path / "gt.txt").write_text(WIDER)
    problems = Problems()

    first, nobody = read_wider_face(tmp_path / "gt.txt", tmp_path / "images", None, problems)

    assert first.boxes[0].box.as_xywh() == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert [face.ignore for face in first.boxes] == [False, True]
    assert nobody.boxes == ()
    assert first.complete == {"face"}
    assert problems.counts["picture missing or unreadable"] == 1


@pytest.mark.parametrize("text", ["", "a.jpg\nno number\n", "a.jpg\n3\n1 1 5 5 0 0 0 0 0 0\n"])
def test_a_file_that_is_not_wider_faces_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "gt.txt").write_text(text)

    with pytest.raises(DataError, match=r"gt\.txt"):
        list(read_wider_face(tmp_path / "gt.txt", tmp_path, {}, Problems()))


def write_coco(path: Path, **changes: object) -> Path:
    content = {
        "images": [{"id": 7, "file_name": "a.jpg", "width": 100, "height": 50}],
        "categories": [{"id": 1, "name": "person"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"image_id": 7, "category_id": 1, "bbox": [10, 5, 20, 10], "iscrowd": 0},
            {"image_id": 7, "category_id": 1, "bbox": [50, 5, 40, 40], "iscrowd": 1},
            {"image_id": 7, "category_id": 2, "bbox": [0, 0, 9, 9], "iscrowd": 0},
            {"image_id": 8, "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 0},
        ],
    }
    path.write_text(json.dumps(content | changes))
    return path


def test_coco_is_read_as_published(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    problems = Problems()

    (picture,) = read_coco(write_coco(tmp_path / "i.json"), tmp_path, {"person": "person"}, problems)

    assert [found.ignore for found in picture.boxes] == [False, True]
    assert picture.boxes[0].box.as_xywh() == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert problems.counts == {"annotation of an unknown picture": 1}


def test_coco_without_the_wanted_category_says_what_it_has(tmp_path: Path) -> None:
    file = write_coco(tmp_path / "i.json")

    with pytest.raises(DataError, match=r"none of the categories \['face'\]; it has \['dog', 'person'\]"):
        list(read_coco(file, tmp_path, {"face": "face"}, Problems()))


def test_json_that_is_not_coco_is_refused(tmp_path: Path) -> None:
    (tmp_path / "i.json").write_text("[]")

    with pytest.raises(DataError, match="instances_"):
        list(read_coco(tmp_path / "i.json", tmp_path, {"person": "person"}, Problems()))

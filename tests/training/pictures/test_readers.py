from __future__ import annotations

import json
from collections.abc import Callable
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
    for name in ("bad", "empty", "fine", "worse"):
        write_picture(tmp_path / f"{name}.jpg")
    (tmp_path / "bad.txt").write_text(
        "person 0.5 0.5 0.2 0\nperson 2.5 0.5 0.2 0.2\nperson 1.0 0.5 0.5 0.5\n"
    )
    (tmp_path / "worse.txt").write_text("person 0.5 0.5 0.2 0.2\nperson 0.5 half 1 1\n")
    (tmp_path / "empty.txt").write_text("")
    problems = Problems()

    pictures = list(read_text_folder(tmp_path, "set", frozenset(), problems))

    assert [len(picture.boxes) for picture in pictures] == [1, 0, 0]
    assert pictures[0].boxes[0].box.right == 1.0
    assert dict(problems.counts) == {
        "box without size": 1,
        "box outside the picture": 1,
        "box reaching out of the picture, cut": 1,
        "line that is not `label cx cy w h` in unit coordinates, picture left out": 1,
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


def text_folder(folder: Path, **notes: bytes) -> Path:
    for name, content in notes.items():
        write_picture(folder / f"{name}.jpg")
        (folder / f"{name}.txt").write_bytes(content)
    return folder


@pytest.mark.parametrize("label", ["0", "persn", "Person", "dog"])
def test_a_picture_with_an_unknown_label_is_left_out_and_named(label: str, tmp_path: Path) -> None:
    """In a complete set its boxes would be taught as background."""
    text_folder(tmp_path, a=f"person .5 .5 .4 .8\n{label} .5 .5 .4 .8\n".encode(), b=b"person .5 .5 .4 .8\n")
    problems = Problems()

    (picture,) = read_text_folder(tmp_path, "set", frozenset({"person"}), problems)

    assert picture.path.name == "b.jpg"
    assert problems.sentences() == [
        f"1 x label {label!r}, which is none of face, person, picture left out: a.txt:2"
    ]


def test_names_of_the_annotations_are_mapped(tmp_path: Path) -> None:
    text_folder(tmp_path, a=b"0 .5 .5 .4 .8\n1 .5 .5 .2 .2\n2 .1 .1 .1 .1\n")
    names = {"0": "person", "1": "face", "2": ""}

    (picture,) = read_text_folder(tmp_path, "set", frozenset({"person"}), Problems(), names)

    assert [box.label for box in picture.boxes] == ["person", "face"]


@pytest.mark.parametrize(
    "line",
    [
        b"person;.5;.5;.4;.8",
        b"person .5 .5 .4",
        b"person .5 .5 .4 .8 .9",
        b"person 50 40 30 20",
        b"person nan .5 .4 .8",
    ],
    ids=["semicolons", "short", "long", "pixels", "no number"],
)
def test_a_line_that_cannot_be_understood_leaves_its_picture_out(line: bytes, tmp_path: Path) -> None:
    text_folder(tmp_path, a=b"person .5 .5 .4 .8\n" + line + b"\n", b=b"")
    problems = Problems()

    pictures = list(read_text_folder(tmp_path, "set", frozenset(), problems))

    assert [picture.path.name for picture in pictures] == ["b.jpg"]
    assert any(
        "in unit coordinates" in sentence and "a.txt:2" in sentence for sentence in problems.sentences()
    )


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_text_from_windows_is_read(encoding: str, tmp_path: Path) -> None:
    text_folder(tmp_path, a="person .5 .5 .4 .8\r\n\r\n".encode(encoding))
    problems = Problems()

    (picture,) = read_text_folder(tmp_path, "set", frozenset(), problems)

    assert len(picture.boxes) == 1
    assert not problems.counts


def test_a_text_in_another_encoding_leaves_its_picture_out(tmp_path: Path) -> None:
    text_folder(tmp_path, a="größe .5 .5 .4 .8".encode("latin-1"))
    problems = Problems()

    assert not list(read_text_folder(tmp_path, "set", frozenset(), problems))
    assert problems.counts == {"annotation file that cannot be read, picture left out": 1}


def test_a_text_folder_goes_by_numbers_and_names_what_it_passes_over(tmp_path: Path) -> None:
    text_folder(tmp_path, frame10=b"", frame9=b"")
    for name in ("classes.txt", "clip.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "more").mkdir()
    problems = Problems()

    pictures = list(read_text_folder(tmp_path, "set", frozenset(), problems))

    assert [picture.path.stem for picture in pictures] == ["frame9", "frame10"]
    assert problems.counts == {
        "empty annotation file": 2,
        "file ending in .mp4, passed over": 1,
        "folder inside of a set, not read": 1,
        "text file without a picture": 1,
    }


FACE = "a.jpg\n1\n10 5 20 10 0 0 0 0 0 0\n"


@pytest.mark.parametrize(
    "content",
    [
        FACE.encode("utf-8-sig"),
        FACE.replace("\n", "\r\n").encode("utf-16"),
        (FACE + "\n\n").encode(),
        FACE.replace("10 5", "10.0 5.0").encode(),
        ("b.jpg\n0\n" + FACE).encode(),
        (FACE + "b.jpg\n0\n").encode(),
        FACE.replace("10 5 20 10 0 0 0 0 0 0", "10;5;20;10").encode(),
        FACE.replace("10 5 20 10 0 0 0 0 0 0", " 10  5 20 10 ").encode(),
    ],
    ids=[
        "mark",
        "utf-16",
        "empty lines",
        "decimals",
        "no zeros",
        "no zeros at the end",
        "semicolons",
        "spaces",
    ],
)
def test_wider_lists_of_other_tools_are_read(content: bytes, tmp_path: Path) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / name)
    (tmp_path / "gt.txt").write_bytes(content)
    problems = Problems()

    pictures = {p.path.name: p for p in read_wider_face(tmp_path / "gt.txt", tmp_path, None, problems)}

    assert pictures["a.jpg"].boxes[0].box.as_xywh() == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert not problems.counts


@pytest.mark.parametrize(
    "odd",
    [
        "x.jpg\n2\n1 1 5 5 0 0 0 0 0 0\n",
        "x.jpg\n1\n1 1 5\n",
        "x.jpg\nmany\n",
        "x.jpg\n",
        "x.jpg\n1\n1 1 nan 5\n",
    ],
)
def test_an_odd_entry_of_a_wider_list_is_counted_and_the_rest_read(odd: str, tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    (tmp_path / "gt.txt").write_text(odd + FACE)
    problems = Problems()

    (picture,) = read_wider_face(tmp_path / "gt.txt", tmp_path, None, problems)

    assert picture.path.name == "a.jpg"
    assert problems.examples == {
        "entry without a count and that many faces, picture left out": ["x.jpg (line 1)"]
    }


@pytest.mark.parametrize("size", [{}, {"width": 0, "height": 0}, {"width": None, "height": "tall"}])
def test_coco_without_sizes_takes_the_pictures_own(size: dict[str, object], tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    images = [{"id": 7, "file_name": "a.jpg"} | size]
    problems = Problems()

    (picture,) = read_coco(write_coco(tmp_path / "i.json", images=images), tmp_path, PERSON, problems)

    assert picture.boxes[0].box.as_xywh() == pytest.approx((0.1, 0.1, 0.2, 0.2))
    assert picture.stated_size is None


PERSON = {"person": "person"}


@pytest.mark.parametrize(
    ("odd", "said"),
    [
        ({"image_id": 8, "category_id": 1, "bbox": []}, "`bbox` of four numbers"),
        ({"image_id": 8, "category_id": 1, "bbox": None}, "`bbox` of four numbers"),
        ({"image_id": 8, "category_id": 1, "bbox": [1, 2, "x", 4]}, "`bbox` of four numbers"),
        ({"image_id": 8, "category_id": 1}, "`bbox` of four numbers"),
        ({"image_id": 8, "category_id": 9, "bbox": [1, 1, 5, 5]}, "category 9, which is not in the list"),
    ],
)
def test_an_odd_entry_of_coco_leaves_its_picture_out(
    odd: dict[str, object], said: str, tmp_path: Path
) -> None:
    for name in ("a.jpg", "b.jpg"):
        write_picture(tmp_path / name)
    images = [{"id": i, "file_name": f"{n}.jpg", "width": 100, "height": 50} for i, n in ((7, "a"), (8, "b"))]
    annotations = [odd, {"image_id": 7, "category_id": 1, "bbox": [10, 5, 20, 10]}]
    problems = Problems()

    (picture,) = read_coco(
        write_coco(tmp_path / "i.json", images=images, annotations=annotations), tmp_path, PERSON, problems
    )

    assert picture.path.name == "a.jpg"
    assert any(said in sentence and "b.jpg" in sentence for sentence in problems.sentences())


def test_odd_pictures_and_ids_as_text_do_not_end_the_reader(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    images = [
        {"id": "7", "file_name": "a.jpg", "width": 100, "height": 50},
        {"id": 7, "file_name": "again.jpg", "width": 100, "height": 50},
        {"file_name": "b.jpg"},
        {"id": 9, "file_name": "gone.jpg", "width": 100, "height": 50},
        "c.jpg",
    ]
    problems = Problems()

    (picture,) = read_coco(write_coco(tmp_path / "i.json", images=images), tmp_path, PERSON, problems)

    assert len(picture.boxes) == 2
    assert problems.counts == {
        "picture without id or file_name": 2,
        "second picture of one id, left out": 1,
        "annotation of an unknown picture": 1,
        "picture missing or unreadable": 1,
    }


def test_coco_from_windows_is_read(tmp_path: Path) -> None:
    write_picture(tmp_path / "a.jpg")
    path = write_coco(tmp_path / "i.json")
    path.write_bytes(path.read_text().encode("utf-8-sig"))

    assert len(list(read_coco(path, tmp_path, PERSON, Problems()))) == 1


@pytest.mark.parametrize("read", [read_coco, read_wider_face])
def test_an_annotation_file_that_is_not_there_is_one_sentence(
    read: Callable[..., object], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"absent cannot be read: No such file"):
        list(read(tmp_path / "absent", tmp_path, PERSON, Problems()))

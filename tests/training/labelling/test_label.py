from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from oahega_build.errors import DataError, RunError
from oahega_build.labelling.label import LabelRecipe, SourceSet, Trust, label, merge
from oahega_build.labelling.teachers import Finding, TeacherSpec
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.records import read_records, shards_of
from oahega_build.recipes.label_shared import YUNET
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

FACES = Trust(TeacherSpec("yunet", ()), sure=0.7, likely=0.3)
FIRST = Trust(TeacherSpec("darknet", ()), sure=0.6, likely=0.2)
SECOND = Trust(TeacherSpec("tflite", ()), sure=0.7, likely=0.4)
HERE = Box(0.1, 0.1, 0.4, 0.9)
NOBODY: frozenset[str] = frozenset()


def person(score: float, box: Box = HERE) -> Finding:
    return Finding("person", box, score)


def test_sure_findings_become_boxes_and_unsure_ones_ignore_regions() -> None:
    elsewhere, third = Box(0.5, 0.1, 0.7, 0.9), Box(0.8, 0.1, 0.9, 0.9)
    seen = [(FIRST, "a", person(0.9)), (FIRST, "a", person(0.3, elsewhere)), (FIRST, "a", person(0.1, third))]

    boxes = merge((), NOBODY, seen)

    assert [(b.box, b.ignore, b.score) for b in boxes] == [(HERE, False, 0.9), (elsewhere, True, 0.3)]


def test_two_unsure_teachers_that_agree_make_one_box() -> None:
    near = Box(0.11, 0.12, 0.41, 0.9)

    boxes = merge((), NOBODY, [(FIRST, "a", person(0.4)), (SECOND, "b", person(0.5, near))])

    assert [(b.source, b.ignore) for b in boxes] == [("b", False)]


def test_given_boxes_stay_and_their_parts_are_not_added() -> None:
    given = LabelledBox("person", HERE)
    upper_half = Box(0.12, 0.1, 0.38, 0.5)

    boxes = merge((given,), NOBODY, [(FIRST, "a", person(0.9, upper_half))])

    assert boxes == [given]


def test_nothing_is_added_to_a_complete_label() -> None:
    boxes = merge((), frozenset({"person"}), [(FIRST, "a", person(0.95))])

    assert boxes == []


def test_the_body_of_a_face_without_a_person_is_an_ignore_region() -> None:
    face = Finding("face", Box(0.4, 0.1, 0.5, 0.25), 0.9)
    seen = [(FACES, "yunet", face), (FIRST, "a", person(0.9, Box(0.8, 0.1, 0.95, 0.9)))]

    boxes = merge((), NOBODY, seen)

    (body,) = (b for b in boxes if b.source == "body of a face")
    assert (body.label, body.ignore) == ("person", True)
    assert body.box.top < face.box.top
    assert body.box.bottom > face.box.bottom


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Twelve pictures with a person each to train on, four to judge by; one that is no picture."""
    for split, count in (("train", 12), ("valid", 4)):
        folder = tmp_path / "data" / "people" / split
        folder.mkdir(parents=True)
        for i in range(count):
            cv2.imwrite(str(folder / f"{i:02}.jpg"), np.full((40, 60, 3), 20 * i, np.uint8))
            (folder / f"{i:02}.txt").write_text(f"person 0.5 0.5 0.{i % 5 + 1} 0.5\n")
    (tmp_path / "data/people/train/11.jpg").write_bytes(b"no picture")
    return tmp_path / "data"


RECIPE = LabelRecipe(
    sets=(SourceSet("people", "people", complete=("person",)),),
    teachers=(),
    shards=2,
    held_block=2,
    held_every=3,
)


def test_labelling_leaves_shards_counts_and_contact_sheets(data: Path, tmp_path: Path) -> None:
    run = label(RECIPE, data, tmp_path, "run")

    metrics = json.loads((run / "metrics.json").read_text())
    assert [metrics[split]["pictures"] for split in ("train", "held", "valid")] == [7, 4, 4]
    assert metrics["problems"]["picture missing or unreadable"] == {"count": 1, "examples": ["11.jpg"]}
    assert cv2.imread(str(run / "train.png")) is not None
    keys = [record.key for record in read_records(shards_of(run, "held"))]
    assert sorted(keys) == [f"people/train/{i:02}" for i in (2, 3, 8, 9)]


def test_a_truncated_and_a_missing_shard_are_made_again_and_no_other(data: Path, tmp_path: Path) -> None:
    run = label(RECIPE, data, tmp_path, "run")
    whole, truncated = shards_of(run, "train")
    missing = shards_of(run, "valid")[0]
    before = {path: path.read_bytes() for path in (whole, truncated, missing)}
    written = whole.stat().st_mtime_ns
    truncated.write_bytes(before[truncated][:-30])
    missing.unlink()

    label(RECIPE, data, tmp_path, "run")

    assert {path: path.read_bytes() for path in before} == before
    assert whole.stat().st_mtime_ns == written


@pytest.mark.lengthy
def test_several_processes_make_the_same_shards(data: Path, tmp_path: Path) -> None:
    alone = label(RECIPE, data, tmp_path, "alone", processes=1)
    together = label(RECIPE, data, tmp_path, "together", processes=2)

    for split in ("train", "held", "valid"):
        for a, b in zip(shards_of(alone, split), shards_of(together, split), strict=True):
            assert a.read_bytes() == b.read_bytes()


def test_a_finished_run_is_not_mixed_with_another_recipe(data: Path, tmp_path: Path) -> None:
    label(RECIPE, data, tmp_path, "run")

    with pytest.raises(RunError, match="another recipe"):
        label(dataclasses.replace(RECIPE, shards=3), data, tmp_path, "run")


def test_class_numbers_are_refused_with_the_known_labels(data: Path, tmp_path: Path) -> None:
    for notes in (data / "people").glob("*/*.txt"):
        notes.write_text(notes.read_text().replace("person", "0"))

    with pytest.raises(DataError, match=r"no picture can be used.*label '0', which is none of face, person"):
        label(RECIPE, data, tmp_path, "run")


def test_class_numbers_are_read_by_the_names_of_the_recipe(data: Path, tmp_path: Path) -> None:
    for notes in (data / "people").glob("*/*.txt"):
        notes.write_text(notes.read_text().replace("person", "0"))
    source = dataclasses.replace(RECIPE.sets[0], names={"0": "person"})

    run = label(dataclasses.replace(RECIPE, sets=(source,)), data, tmp_path, "run")

    assert json.loads((run / "metrics.json").read_text())["valid"]["boxes"] == {"person/given/box": 4}


def test_a_recipe_that_speaks_of_an_unknown_label_is_refused(data: Path, tmp_path: Path) -> None:
    source = dataclasses.replace(RECIPE.sets[0], complete=("persons",))

    with pytest.raises(DataError, match=r"\['persons'\]; the labels are"):
        label(dataclasses.replace(RECIPE, sets=(source,)), data, tmp_path, "run")


def test_a_set_split_by_other_names_is_read(data: Path, tmp_path: Path) -> None:
    (data / "people/train").rename(data / "people/Train")
    (data / "people/valid").rename(data / "people/val")

    run = label(RECIPE, data, tmp_path, "run")

    assert json.loads((run / "metrics.json").read_text())["train"]["pictures"] == 7


def photograph(folder: Path, orientation: int) -> None:
    """400x300 as its sensor saw it, with somebody white at (40, 210, 80, 60) there; EXIF turns it."""
    sensor = np.zeros((300, 400, 3), np.uint8)
    sensor[210:270, 40:120] = 255
    exif = Image.Exif()
    exif[0x112] = orientation
    folder.mkdir(exist_ok=True)
    Image.fromarray(sensor).save(folder / "a.jpg", exif=exif, quality=95)


def brightness_in_the_box(run: Path) -> float:
    record = next(iter(read_records(shards_of(run, "train"))))
    box, pixels = record.boxes[0].box, record.pixels()
    rows = slice(round(box.top * record.height), round(box.bottom * record.height))
    columns = slice(round(box.left * record.width), round(box.right * record.width))
    return float(pixels[rows, columns].mean())


def coco(folder: Path, size: tuple[int, int]) -> LabelRecipe:
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": size[0], "height": size[1]}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [40, 210, 80, 60]}],
        "categories": [{"id": 1, "name": "person"}],
    }
    (folder / "c.json").write_text(json.dumps(content))
    source = SourceSet("c", "c", kind="coco", annotations={"train": "c.json"}, pictures={"train": "pics"})
    return dataclasses.replace(RECIPE, sets=(source,), shards=1)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_boxes_of_an_unturned_photograph_are_turned_with_it(orientation: int, tmp_path: Path) -> None:
    """The stated size tells that they are of the picture as stored."""
    photograph(tmp_path / "pics", orientation)

    run = label(coco(tmp_path, (400, 300)), tmp_path, tmp_path, "run")

    metrics = json.loads((run / "metrics.json").read_text())
    assert brightness_in_the_box(run) > 240
    assert metrics["problems"]["picture that its EXIF turns: its boxes were turned like it"]["count"] == 1


@pytest.mark.parametrize("orientation", [2, 3, 4, 6])
def test_boxes_that_are_said_to_be_of_pictures_as_stored_are_turned(orientation: int, tmp_path: Path) -> None:
    photograph(tmp_path / "pics", orientation)
    recipe = coco(tmp_path, (400, 300))
    source = dataclasses.replace(recipe.sets[0], boxes_as_stored=True)

    run = label(dataclasses.replace(recipe, sets=(source,)), tmp_path, tmp_path, "run")

    assert brightness_in_the_box(run) > 240


def test_a_photograph_of_another_shape_than_both_is_left_out(tmp_path: Path) -> None:
    photograph(tmp_path / "pics", 6)

    run = label(coco(tmp_path, (400, 200)), tmp_path, tmp_path, "run")

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["pictures"] == 0
    assert metrics["problems"]["picture of another shape than its annotations state, left out"]["count"] == 1


def test_a_photograph_turned_upside_down_is_said(tmp_path: Path) -> None:
    """Its shape cannot tell whether the boxes are of the turned picture."""
    photograph(tmp_path / "pics", 3)

    run = label(coco(tmp_path, (400, 300)), tmp_path, tmp_path, "run")

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["pictures"] == 1
    assert (
        metrics["problems"]["picture that its EXIF turns: its boxes are taken as turned, too"]["count"] == 1
    )


@pytest.mark.parametrize("size", [(400, 300), (800, 600), (803, 600)])
def test_a_smaller_copy_keeps_its_boxes(size: tuple[int, int], tmp_path: Path) -> None:
    photograph(tmp_path / "pics", 1)

    run = label(coco(tmp_path, size), tmp_path, tmp_path, "run")

    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["train"]["boxes"] == {"person/given/box": 1}
    assert not metrics["problems"]


@pytest.mark.shared
def test_a_teacher_that_finds_nothing_at_all_is_named(
    data: Path, shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "teachers").symlink_to(shared / "data/teachers")
    recipe = dataclasses.replace(RECIPE, teachers=(Trust(YUNET, sure=0.7, likely=0.3),))

    label(recipe, data, tmp_path, "run")

    assert "1 x teacher that found nothing in any picture" in capsys.readouterr().out

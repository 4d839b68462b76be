"""Data sets as they are published and as systems leave them: which folder is a part, a class, or neither."""

from __future__ import annotations

import logging
import os
import unicodedata
from pathlib import Path

import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.folders import parts_of
from oahega_build.pictures.labels import label_of, label_problem
from oahega_build.pictures.problems import Problems
from training.pictures import write_dataset

pytestmark = pytest.mark.training

LABELS = ("angry", "happy", "sad")
TWO = ("happy", "sad")


def split(root: Path, *parts: str) -> Path:
    return write_dataset(root, {part: dict.fromkeys(LABELS, 2) for part in parts}, LABELS)


@pytest.mark.parametrize(
    ("train", "valid"),
    [
        ("Train", "Test"),
        ("train", "val"),
        ("training", "validation"),
        ("TRAIN", "VALID"),
        ("train_set", "val_set"),
        ("Training", "testing"),
        ("train", "test"),
    ],
)
def test_the_parts_of_published_sets_are_no_classes(train: str, valid: str, tmp_path: Path) -> None:
    dataset = read_dataset(split(tmp_path, train, valid))

    assert dataset.labels == LABELS
    assert (len(dataset.train), len(dataset.valid)) == (6, 6)
    assert not dataset.problems


def test_a_part_that_is_not_used_is_said(tmp_path: Path) -> None:
    dataset = read_dataset(split(tmp_path, "train", "val", "test"))

    assert all(sample.name.startswith("val/") for sample in dataset.valid)
    assert dataset.problems == ["1 x part not read, because val/ is there: test"]


def test_a_folder_beside_the_parts_is_said(tmp_path: Path) -> None:
    root = split(tmp_path, "train", "valid")
    (root / "more").mkdir()

    assert read_dataset(root).problems == ["1 x folder beside train/, not read: more"]


@pytest.mark.parametrize("parts", [("test", "val"), ("test",), ("train", "Training")])
def test_a_split_without_exactly_one_train_is_refused(parts: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(DataError, match="name exactly one of its folders train"):
        read_dataset(split(tmp_path, *parts))


def test_a_test_folder_among_classes_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": dict.fromkeys(TWO, 2)}, LABELS)
    (root / "test").mkdir()

    with pytest.raises(DataError, match="split into test"):
        read_dataset(root)


def test_a_data_set_one_folder_deeper_is_named(tmp_path: Path) -> None:
    split(tmp_path / "DATASET", "train", "test")

    with pytest.raises(DataError, match=r"DATASET holds train/ and test/: give this folder"):
        read_dataset(tmp_path)


def test_classes_that_are_split_in_themselves_are_refused(tmp_path: Path) -> None:
    for label in TWO:
        split(tmp_path / label, "train", "test")

    with pytest.raises(DataError, match="put it into each part"):
        read_dataset(tmp_path)


def test_a_root_without_parts_is_train(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": dict.fromkeys(TWO, 2)}, LABELS)

    assert parts_of(root, Problems()) == {"train": root}


@pytest.mark.parametrize("name", ["@eaDir", "__MACOSX", "lost+found", "$RECYCLE.BIN", "#recycle"])
def test_folders_of_systems_are_no_classes_at_any_depth(name: str, tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": dict.fromkeys(TWO, 2)}, LABELS)
    for place in (root, root / "happy"):
        (place / name).mkdir()
        (place / name / "0.png").write_bytes((root / "sad/0000.png").read_bytes())

    dataset = read_dataset(root)

    assert dataset.labels == TWO
    assert len(dataset.train) == 4
    assert dataset.problems == [f"2 x folder of the system, not read: {name}, {name}"]


def test_what_else_lies_in_a_class_is_counted_by_its_ending(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = write_dataset(tmp_path, {"": dict.fromkeys(TWO, 2)}, LABELS)
    for name in ("a.CR2", "b.cr2", "._0000.png", "README", os.fsdecode(b"caf\xe9.png"), "photo.HEIC"):
        (root / "happy" / name).write_bytes(b"x")
    (root / "loose.jpg").write_bytes(b"x")

    with caplog.at_level(logging.WARNING):
        dataset = read_dataset(root)

    assert len(dataset.train) == 4
    assert sorted(dataset.problems) == [
        "1 x file ending in nothing, passed over: README",
        "1 x file outside of the classes' folders, passed over: loose.jpg",
        "1 x file whose name is not UTF-8, passed over: rename it: caf\\xe9.png",
        "1 x hidden file, passed over: ._0000.png",
        "1 x picture that cannot be read, skipped (HEIC: convert it to JPEG): happy/photo.HEIC",
        "2 x file ending in .cr2, passed over: a.CR2, b.cr2",
    ]
    assert "2 x file ending in .cr2" in caplog.text


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("Happy", "happy"),
        ("Überrascht", "überrascht"),
        (unicodedata.normalize("NFD", "Überrascht"), "überrascht"),
        ("счастье", "счастье"),
        ("喜び", "喜び"),
        ("Very Happy", "very-happy"),
        ("anger_2", "anger_2"),
    ],
)
def test_a_label_is_a_word_of_any_script(name: str, label: str) -> None:
    assert label_of(name) == label
    assert label_problem(label) == ""


def test_a_label_that_is_not_quite_the_folders_name_is_said(tmp_path: Path) -> None:
    (tmp_path / "Very Happy").mkdir()
    write_dataset(tmp_path, {"": {"sad": 2}}, LABELS)
    (tmp_path / "Very Happy/a.png").write_bytes((tmp_path / "sad/0000.png").read_bytes())

    dataset = read_dataset(tmp_path)

    assert dataset.labels == ("sad", "very-happy")
    assert dataset.problems == ["1 x folder whose label is not quite its name: Very Happy -> very-happy"]


@pytest.mark.parametrize(
    ("name", "rule"),
    [
        ("1", "begins with a letter"),
        ("7_neutral", "begins with a letter"),
        ("!!", "begins with a letter"),
        ("Uncertain", "sure of no class"),
        (os.fsdecode(b"fr\xf6hlich"), "not text in UTF-8"),
    ],
)
def test_a_folder_that_can_be_no_class_is_refused_by_the_rule(name: str, rule: str, tmp_path: Path) -> None:
    for folder in ("happy", name):
        (tmp_path / folder).mkdir()

    with pytest.raises(DataError, match=rf"{rule}.*rename it to what it shows"):
        read_dataset(tmp_path)


def test_two_folders_of_one_label_are_refused(tmp_path: Path) -> None:
    for folder in ("happy", "Happy"):
        (tmp_path / folder).mkdir()

    with pytest.raises(DataError, match="give one label, 'happy'"):
        read_dataset(tmp_path)

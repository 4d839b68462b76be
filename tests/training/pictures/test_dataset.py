"""A folder per class becomes samples, or one clear sentence."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import (
    held_out,
    named_groups,
    near_duplicates,
    overview,
    read_dataset,
    split_groups,
    split_off,
    split_train,
)
from training.pictures import face, write_dataset, write_votes

pytestmark = pytest.mark.training

LABELS = ("angry", "happy", "sad")


def some(root: Path, count: int = 20, part: str = "") -> Path:
    return write_dataset(root, {part: dict.fromkeys(LABELS, count)}, LABELS)


def test_labels_are_the_folders_names_in_order(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": {"Sad": 2, "happy": 3}}, ("Sad", "happy"))

    dataset = read_dataset(root)

    assert dataset.labels == ("happy", "sad")
    assert Counter(sample.label for sample in dataset.train) == {0: 3, 1: 2}
    assert not dataset.valid


def test_a_split_that_is_given_is_kept(tmp_path: Path) -> None:
    root = write_dataset(
        tmp_path, {"train": dict.fromkeys(LABELS, 4), "valid": dict.fromkeys(LABELS, 2)}, LABELS
    )

    dataset = read_dataset(root)

    assert (len(dataset.train), len(dataset.valid)) == (12, 6)
    assert all(sample.name.startswith("valid/") for sample in dataset.valid)


def test_votes_become_shares_of_the_classes_that_exist(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    write_votes(root, {"happy/0000.png": {"angry": 1, "happy": 3, "sad": 0, "contempt": 6}})

    samples = {sample.name: sample for sample in read_dataset(root).train}

    assert samples["happy/0000.png"].target.tolist() == [0.25, 0.75, 0.0]
    assert samples["happy/0001.png"].target.tolist() == [0.0, 1.0, 0.0]


def test_votes_for_absent_files_are_said_and_change_nothing(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    write_votes(root, {"happy/9999.png": {"angry": 1, "happy": 3, "sad": 0}})

    dataset = read_dataset(root)

    assert len(dataset.train) == 6
    assert any("happy/9999.png" in problem for problem in dataset.problems)


def test_a_vote_without_any_class_leaves_the_folders_label(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    write_votes(root, {"sad/0000.png": {"angry": 0, "happy": 0, "sad": 0}})

    dataset = read_dataset(root)

    (sample,) = (s for s in dataset.train if s.name == "sad/0000.png")
    assert sample.target.tolist() == [0.0, 0.0, 1.0]
    assert any("sad/0000.png" in problem for problem in dataset.problems)


def test_a_file_that_is_no_picture_is_named_and_skipped(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    (root / "sad" / "broken.png").write_bytes(b"no picture")
    (root / "sad" / "empty.jpg").write_bytes(b"")

    dataset = read_dataset(root)

    assert len(dataset.train) == 6
    (problem,) = dataset.problems
    assert problem.startswith("2 x picture that cannot be read")
    assert "sad/broken.png, sad/empty.jpg" in problem


def test_an_empty_class_is_refused_by_name(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    (root / "tired").mkdir()

    with pytest.raises(DataError, match=r"tired.*no readable picture"):
        read_dataset(root)


def test_one_class_only_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": {"happy": 3}}, LABELS)

    with pytest.raises(DataError, match=r"1 class folders \(happy\).*at least two"):
        read_dataset(root)


def test_a_root_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_dataset(tmp_path / "nowhere")


def test_parts_with_different_classes_are_refused(tmp_path: Path) -> None:
    root = write_dataset(
        tmp_path, {"train": dict.fromkeys(LABELS, 2), "valid": {"happy": 1, "sad": 1}}, LABELS
    )

    with pytest.raises(DataError, match="angry"):
        read_dataset(root)


@pytest.mark.parametrize(("vote", "said"), [("many", "no number"), (-1, "negative"), ("nan", "negative")])
def test_a_vote_that_is_no_count_is_refused(tmp_path: Path, vote: object, said: str) -> None:
    root = some(tmp_path, 2)
    write_votes(root, {"sad/0000.png": {"angry": vote, "happy": 0, "sad": 1}})

    with pytest.raises(DataError, match=said):
        read_dataset(root)


def test_a_votes_file_without_a_classs_column_is_refused(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    write_votes(root, {"sad/0000.png": {"angry": 1, "happy": 0}})

    with pytest.raises(DataError, match="no column sad"):
        read_dataset(root)


def test_colour_pictures_are_read_in_the_networks_colour(tmp_path: Path) -> None:
    root = some(tmp_path, 2)
    picture = np.zeros((20, 30, 3), np.uint8)
    picture[..., 2] = 255  # red, in OpenCV's order
    cv2.imwrite(str(root / "sad" / "red.png"), picture)

    rgb = {s.name: s.pixels for s in read_dataset(root, "rgb").train}["sad/red.png"]
    grey = {s.name: s.pixels for s in read_dataset(root, "grey").train}["sad/red.png"]

    assert rgb[0, 0].tolist() == [255, 0, 0]
    assert grey.shape == (20, 30)
    assert grey[0, 0] == 76  # 0.299 * 255, Rec. 601


def test_near_copies_share_a_group_and_others_do_not(tmp_path: Path) -> None:
    root = some(tmp_path, 3)
    original = face(1, 0)
    cv2.imwrite(str(root / "happy" / "copy.jpg"), cv2.resize(original, (96, 96)))

    dataset = read_dataset(root)

    groups = dict(zip((s.name for s in dataset.train), near_duplicates(dataset.train), strict=True))
    assert groups["happy/copy.jpg"] == groups["happy/0000.png"]
    assert groups["happy/copy.jpg"] != groups["sad/0000.png"]


def test_the_held_out_part_is_stratified_and_the_same_again(tmp_path: Path) -> None:
    dataset = read_dataset(some(tmp_path, 40))

    rest, held = split_off(dataset.train, 0.2, seed=0)

    assert Counter(sample.label for sample in held) == {0: 8, 1: 8, 2: 8}
    assert not {s.name for s in rest} & {s.name for s in held}
    again = split_off(dataset.train, 0.2, seed=0)[1]
    assert [s.name for s in held] == [s.name for s in again]


def test_near_copies_never_cross_the_split(tmp_path: Path) -> None:
    root = some(tmp_path, 30)
    for i in range(30):
        cv2.imwrite(str(root / "happy" / f"copy{i}.png"), cv2.GaussianBlur(face(1, i), (0, 0), 0.4))

    dataset = read_dataset(root)
    rest, held = split_train(dataset, 0.2)

    hashes = dict(zip((s.name for s in dataset.train), near_duplicates(dataset.train), strict=True))
    assert not {hashes[s.name] for s in rest} & {hashes[s.name] for s in held}
    assert [s.name for s in held_out(dataset, 0.2)] == [s.name for s in held]


def test_a_pattern_keeps_a_persons_pictures_together(tmp_path: Path) -> None:
    dataset = read_dataset(some(tmp_path, 30))

    groups = named_groups([s.name for s in dataset.train], r"/(\d\d\d)\d\.png")

    rest, held = split_off(dataset.train, 0.4, seed=0, groups=groups)
    assert not {s.name.split("/")[1][:3] for s in rest} & {s.name.split("/")[1][:3] for s in held}


def test_near_copies_stay_together_where_a_pattern_is_given(tmp_path: Path) -> None:
    """Two cameras, or two accounts, of one person: the names differ, the pictures are the same."""
    root = some(tmp_path, 30)
    for i in range(30):
        cv2.imwrite(str(root / "happy" / f"copy{i}.png"), cv2.GaussianBlur(face(1, i), (0, 0), 0.4))
    dataset = read_dataset(root)

    rest, held = split_train(dataset, 0.2, r"/([a-z]*\d+)\.png")

    copies = dict(zip((s.name for s in dataset.train), near_duplicates(dataset.train), strict=True))
    assert held
    assert not {copies[s.name] for s in rest} & {copies[s.name] for s in held}


def test_groups_of_a_pattern_and_near_copies_are_joined(tmp_path: Path) -> None:
    root = some(tmp_path, 4)
    cv2.imwrite(str(root / "sad" / "a-1.png"), face(1, 0))
    cv2.imwrite(str(root / "sad" / "a-2.png"), face(2, 99))
    samples = read_dataset(root).train

    groups = dict(zip((s.name for s in samples), split_groups(samples, r"/(a)-\d"), strict=True))

    assert groups["happy/0000.png"] == groups["sad/a-1.png"] == groups["sad/a-2.png"]
    assert len(set(groups.values())) == len(samples) - 2


@pytest.mark.parametrize(
    ("pattern", "said"),
    [
        (r"/\d+\.png", "no group in any"),
        (r"(person\d)", "no group in any of 12 names"),
        ("(", "no regular expression"),
    ],
)
def test_a_pattern_that_groups_nothing_is_refused(pattern: str, said: str, tmp_path: Path) -> None:
    dataset = read_dataset(some(tmp_path, 4))

    with pytest.raises(DataError, match=said):
        split_train(dataset, 0.2, pattern)


def test_names_that_a_pattern_does_not_fit_are_counted(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = read_dataset(some(tmp_path, 4)).train

    groups = named_groups([s.name for s in samples], r"happy/(\d)")

    assert len(set(groups)) == 1 + 8
    assert "no group in 8 of 12 names" in caplog.text


def test_a_class_too_small_to_split_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {"": {"angry": 1, "happy": 9, "sad": 9}}, LABELS)

    with pytest.raises(DataError, match="too few pictures"):
        split_off(read_dataset(root).train, 0.2, seed=0)


def test_the_overview_counts_sizes_copies_and_problems(tmp_path: Path) -> None:
    root = write_dataset(
        tmp_path, {"train": dict.fromkeys(LABELS, 4), "valid": dict.fromkeys(LABELS, 2)}, LABELS
    )
    cv2.imwrite(str(root / "valid" / "happy" / "copy.png"), cv2.resize(face(1, 0), (64, 64)))
    (root / "train" / "sad" / "broken.png").write_bytes(b"x")

    figures = overview(read_dataset(root))

    assert figures.counts == {"train": [4, 4, 4], "valid": [2, 3, 2]}
    assert (figures.smallest, figures.largest) == ((48, 48), (64, 64))
    assert figures.crossing == 1
    assert "broken.png" in figures.problems[0]

"""Lists that went through a spreadsheet."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.tables import read_table
from training.pictures import write_dataset, write_votes

pytestmark = pytest.mark.training

LABELS = ("happy", "sad")
PLAIN = "file,happy,sad\nhappy/0000.png,3,1\nhappy/0001.png,4,0\nsad/0000.png,1,1\nsad/0001.png,0,2\n"


def data_with(root: Path, votes: bytes) -> Path:
    write_dataset(root, {"": dict.fromkeys(LABELS, 2)}, LABELS)
    (root / "votes.csv").write_bytes(votes)
    return root


@pytest.mark.parametrize(
    "votes",
    [
        PLAIN.encode(),
        PLAIN.encode("utf-8-sig"),
        PLAIN.replace("\n", "\r\n").encode("utf-16"),
        PLAIN.replace(",", ";").encode(),
        ("sep=;\n" + PLAIN.replace(",", ";").replace("3;1", "0,75;0,25")).encode(),
        PLAIN.replace(",", "\t").encode(),
        (PLAIN.replace("\n", ",,\n") + ",,,,\n\n").encode(),
        PLAIN.replace("/", "\\").encode(),
        PLAIN.replace("file,happy,sad", "file, happy , sad").encode(),
    ],
    ids=["plain", "mark", "utf-16", "semicolons", "excel", "tabs", "empty cells", "backslashes", "spaces"],
)
def test_votes_are_read_however_they_were_saved(votes: bytes, tmp_path: Path) -> None:
    dataset = read_dataset(data_with(tmp_path, votes))

    assert [sample.target.tolist() for sample in dataset.train] == [[0.75, 0.25], [1, 0], [0.5, 0.5], [0, 1]]
    assert not dataset.problems


def test_a_list_and_folders_that_came_apart_are_said(tmp_path: Path) -> None:
    text = PLAIN.replace("happy/0001.png", "happy/0000.png").replace("sad/0001.png", "sad/9.png")
    text = "\n".join(f"{line},{'contempt' if not number else 0}" for number, line in enumerate(text.split()))

    dataset = read_dataset(data_with(tmp_path, text.encode()))

    assert dataset.train[0].target.tolist() == [0.75, 0.25]
    assert sorted(dataset.problems) == [
        "1 x column of votes.csv that names no class: its votes are left out: contempt",
        "1 x line of votes.csv without a picture that can be read: ignored: sad/9.png",
        "1 x second line for one file in votes.csv: the first counts: happy/0000.png",
        "2 x picture without a line in votes.csv: its folder decides: happy/0001.png, sad/0001.png",
    ]


def test_votes_of_the_usual_split_keep_their_names(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, {part: dict.fromkeys(LABELS, 2) for part in ("Train", "Test")}, LABELS)
    write_votes(root, {"Train/happy/0000.png": {"happy": 1, "sad": 1}})

    dataset = read_dataset(root)

    assert dataset.train[0].target.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no column a; its columns are "),
        (b"\n\nb,c\n1,2\n", "no column a"),
        (b"a,b\n1\n", "line 2 has 1 cells, the first line has 2"),
        (b"a,b\n1,2,3\n", "line 2 has 3 cells"),
        ("a,b\nä,2\n".encode("latin-1"), "not UTF-8 at byte 4"),
        (b'a,b\n"1,2\n' + b"x" * 200_000, "line 3: field larger"),
    ],
)
def test_a_table_that_cannot_be_understood_is_refused_with_its_line(
    content: bytes, said: str, tmp_path: Path
) -> None:
    (tmp_path / "t.csv").write_bytes(content)

    with pytest.raises(DataError, match=said):
        read_table(tmp_path / "t.csv", {"a"})


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"absent\.csv cannot be read: No such file"):
        read_table(tmp_path / "absent.csv", ())

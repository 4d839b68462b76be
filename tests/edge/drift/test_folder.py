"""Records are written in the background: whole, the newest one, and nobody waits for the disk but a stop."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path

import pytest

from oahega_edge.drift.folder import MOST_RECORDS, RecordFolder
from oahega_edge.files import replace_file
from waiting import PATIENCE, wait_until

KEY = "a" * 64


class Disk:
    """One that answers when it is told to, and remembers what it was to write."""

    def __init__(self) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()
        self.texts: list[str] = []

    def replace(self, file: Path, text: str) -> None:
        self.texts.append(text)
        self.asked.set()
        assert self.answers.wait(PATIENCE)
        replace_file(file, text)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "drift")
    assert folder.read(KEY) is None

    folder.write(KEY, "one")

    assert folder.settle(PATIENCE)
    assert folder.read(KEY) == b"one"


def test_a_disk_that_does_not_answer_holds_up_nobody_and_the_newest_text_is_written_then(
    tmp_path: Path,
) -> None:
    disk = Disk()
    folder = RecordFolder(tmp_path / "drift", disk.replace)

    folder.write(KEY, "one")
    assert disk.asked.wait(PATIENCE)
    folder.write(KEY, "two")
    folder.write(KEY, "three")
    assert not folder.settle(0.01)
    disk.answers.set()

    assert folder.settle(PATIENCE)
    assert folder.read(KEY) == b"three"
    assert disk.texts == ["one", "three"]


def test_its_thread_ends_with_the_last_text(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "drift")
    before = threads()

    for number in range(20):
        folder.write(KEY, str(number))

    assert folder.settle(PATIENCE)
    wait_until(lambda: threads() <= before)


def threads() -> set[str]:
    """Of this process, as the kernel sees them."""
    return set(os.listdir("/proc/self/task"))


def test_a_folder_that_was_removed_is_made_again(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "drift")
    folder.write(KEY, "one")
    assert folder.settle(PATIENCE)
    shutil.rmtree(tmp_path / "drift")

    for text in ("two", "three"):
        folder.write(KEY, text)
        assert folder.settle(PATIENCE)

    assert folder.read(KEY) == b"three"


def test_many_records_at_once_are_all_written_and_the_newest_stay(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "drift")

    for number in range(MOST_RECORDS):
        folder.write(f"{number}" * 16, "text")

    assert folder.settle(PATIENCE)
    assert len(list((tmp_path / "drift").iterdir())) == MOST_RECORDS


def test_old_records_go_whenever_another_bundle_comes(tmp_path: Path) -> None:
    folder = RecordFolder(tmp_path / "drift")

    for number in range(MOST_RECORDS + 2):
        folder.write(f"{number}" * 16, "text")
        assert folder.settle(PATIENCE)

    assert len(list((tmp_path / "drift").iterdir())) == MOST_RECORDS


def test_where_no_thread_is_free_it_is_said_and_the_next_write_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def none_free(*_: object) -> int:
        raise RuntimeError("can't start new thread")

    folder = RecordFolder(tmp_path / "drift")
    with monkeypatch.context() as patched:
        patched.setattr("oahega_edge.drift.folder.start_new_thread", none_free)
        folder.write(KEY, "one")
        folder.write(KEY, "two")
    assert [record.levelname for record in caplog.records] == ["WARNING"]

    folder.write(KEY, "three")

    assert folder.settle(PATIENCE)
    assert folder.read(KEY) == b"three"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_fault_in_its_thread_stops_neither_a_stop_nor_the_next_write(tmp_path: Path) -> None:
    texts: list[str] = []

    def faulty(file: Path, text: str) -> None:
        texts.append(text)
        if text == "one":
            raise ValueError(text)
        replace_file(file, text)

    folder = RecordFolder(tmp_path / "drift", faulty)
    folder.write(KEY, "one")
    assert folder.settle(PATIENCE)

    folder.write(KEY, "two")

    assert folder.settle(PATIENCE)
    assert folder.read(KEY) == b"two"
    assert texts == ["one", "two"]


def test_without_a_folder_nothing_is_kept() -> None:
    folder = RecordFolder(None)

    folder.write(KEY, "one")

    assert folder.settle(0)
    assert folder.read(KEY) is None

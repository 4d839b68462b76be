"""The witness notices each kind of promise that is not kept."""

from __future__ import annotations

import time
from pathlib import Path

import psutil
import pytest
from witness import Arrival, Broken, Witness

CAMERA_PORT = 9
ME = psutil.Process()


class Notes:
    """What a daemon would write down."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "notes"
        self.file.touch()
        self.witness = Witness(self.file, CAMERA_PORT)

    def add(self, *lines: str) -> None:
        with self.file.open("a") as file:
            file.write("".join(f"{line}\n" for line in lines))

    def look(self) -> None:
        self.witness.look(ME, since_start=1.0, pings=1)


@pytest.fixture
def notes(tmp_path: Path) -> Notes:
    notes = Notes(tmp_path)
    notes.add(*(f"event {second} boot 1 {second} e{second} update" for second in (1, 2, 3)))
    notes.look()
    return notes


def came(*names: str, moment: float = 4.0) -> list[Arrival]:
    return [Arrival(name, moment + i / 10) for i, name in enumerate(names)]


def test_all_events_once_and_in_order_are_as_promised(notes: Notes) -> None:
    notes.witness.judge(came("e1", "e2", "e3"), [0.0])


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (("e1", "e3", "e2"), "arrived after a later one"),
        (("e1", "e2", "e3", "e9"), "nobody made"),
        (("e1", "e2", "e2", "e3"), "e2 arrived 2 times with nothing lost in between"),
    ],
)
def test_what_is_out_of_order_invented_or_doubled_is_noticed(
    names: tuple[str, ...], reason: str, notes: Notes
) -> None:
    with pytest.raises(Broken, match=reason):
        notes.witness.judge(came(*names), [0.0])


def test_a_copy_is_allowed_for_each_connection_since_the_event(notes: Notes) -> None:
    first = came("e1", "e2", "e3")
    again = came("e2", "e3", moment=6.0)

    notes.witness.judge([*first, *again], [0.0, 5.0])
    with pytest.raises(Broken, match="e2 arrived 3 times"):
        notes.witness.judge([*first, *again, *came("e2", moment=7.0)], [0.0, 5.0])
    with pytest.raises(Broken, match="e2 arrived 2 times"):
        notes.witness.judge([*first, *again], [0.0, 6.5])


@pytest.mark.parametrize("line", ["frame {}", "event {} boot 1 4 e4 update"])
def test_what_is_used_or_made_after_a_mute_is_noticed(line: str, notes: Notes) -> None:
    notes.witness.muted(ME)
    notes.add(line.format(time.monotonic() + 0.001))

    with pytest.raises(Broken, match="while muted"):
        notes.look()


def test_the_end_of_a_face_and_what_came_before_the_mute_are_no_fault(notes: Notes) -> None:
    before = time.monotonic() - 1
    notes.witness.muted(ME)
    notes.add(f"frame {before}", f"event {before} boot 1 4 e4 update")
    notes.add(f"event {time.monotonic() + 0.001} boot 1 5 e5 end")

    notes.look()

    assert notes.witness.figures.frames == 1


def test_after_an_unmute_frames_are_used(notes: Notes) -> None:
    notes.witness.muted(ME)
    notes.witness.unmuting()
    notes.add(f"frame {time.monotonic()}")

    notes.look()

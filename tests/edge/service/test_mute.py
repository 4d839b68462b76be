"""Mute: the camera is closed first; a disk that refuses is said and changes nothing about it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraStalled
from oahega_edge.service import mute
from oahega_edge.service.mute import MuteSwitch, Shutter
from waiting import PATIENCE, await_end, beside, wait_until

Damage = Callable[[Path], object]

DISKS: dict[str, Damage] = {
    "a link into nowhere": lambda state: (state / "muted").symlink_to("/nowhere/at/all"),
    "a file in the folder's place": lambda state: (state.rmdir(), state.write_text("")),
    "a link to itself in the folder's place": lambda state: (state.rmdir(), state.symlink_to(state)),
}
"""What refuses a write, for root as well."""


def camera(frames: int = 8) -> FakeCamera:
    return FakeCamera(list(frames_of([np.zeros((8, 8, 3), np.uint8)] * frames)), live=True)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    (tmp_path / "state").mkdir()
    return tmp_path / "state"


@pytest.mark.parametrize("damage", DISKS.values(), ids=DISKS)
def test_a_disk_that_refuses_neither_stops_a_mute_nor_is_kept_quiet(state: Path, damage: Damage) -> None:
    switch = MuteSwitch(state)
    film = camera()
    with Shutter(film, switch) as shutter:
        shutter.read(1)
        damage(state)

        switch.mute()

        assert not film.is_open
    answer = switch.answer()
    assert answer["muted"] is True
    assert "muted only until the next start" in str(answer["problem"])


def test_the_camera_is_closed_before_the_disk_is_asked(state: Path) -> None:
    switch = MuteSwitch(state)
    seen: list[bool] = []
    switch.close_camera = lambda: seen.append((state / "muted").exists())

    switch.mute()

    assert seen == [False]
    assert (state / "muted").exists()


def test_where_only_the_state_folder_refuses_a_restart_is_still_muted(state: Path, tmp_path: Path) -> None:
    runtime = tmp_path / "runtime"
    switch = MuteSwitch(state, runtime)
    DISKS["a link into nowhere"](state)

    switch.mute()

    assert "muted only until the next power cut" in str(switch.problem)
    assert MuteSwitch(state, runtime).muted


def test_unmute_works_where_the_flag_cannot_be_removed_and_says_what_the_next_start_does(state: Path) -> None:
    switch = MuteSwitch(state)
    (state / "muted").mkdir()  # unlink refuses a folder
    switch.mute()

    switch.unmute()

    assert not switch.muted
    assert "the next start will be muted" in str(switch.problem)
    assert MuteSwitch(state).muted


@pytest.mark.parametrize("damage", list(DISKS)[1:])
def test_a_start_that_cannot_read_whether_it_was_muted_begins_muted(state: Path, damage: str) -> None:
    DISKS[damage](state)

    switch = MuteSwitch(state)

    assert switch.muted
    assert "began muted, because" in str(switch.problem)
    switch.unmute()
    assert not switch.muted


def test_a_mute_is_remembered_as_soon_as_the_disk_is_well(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mute, "RETRY_S", 0.0)
    switch = MuteSwitch(state)
    DISKS["a file in the folder's place"](state)
    switch.mute()

    state.unlink()
    switch.look()

    assert switch.problem is None
    assert MuteSwitch(state).muted


def test_a_daemon_without_a_state_folder_says_that_it_forgets(tmp_path: Path) -> None:
    switch = MuteSwitch(None)

    switch.mute()

    assert "there is no state folder" in str(switch.answer()["problem"])


class Gated(Camera):
    """Hands its frame out only when told to; whoever closes it waits for that."""

    live = True

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        self.reading, self.go_on = threading.Event(), threading.Event()
        self.open = False

    def __enter__(self) -> Gated:
        self.open = True
        return self

    def __exit__(self, *details: object) -> None:
        self.open = False

    def read(self, timeout: float) -> Frame:
        self.reading.set()
        assert self.go_on.wait(60)
        return self.frame


def test_a_frame_that_was_being_read_when_the_mute_came_is_not_used(state: Path) -> None:
    switch = MuteSwitch(state)
    film = Gated(frames_of([np.zeros((8, 8, 3), np.uint8)])[0])
    used: list[Frame] = []

    def read() -> None:
        with Shutter(film, switch) as shutter, pytest.raises(CameraStalled):
            used.append(shutter.read(1))

    reader = beside(read)
    assert film.reading.wait(PATIENCE)
    muter = beside(switch.mute)
    wait_until(lambda: switch.muted)
    film.go_on.set()
    await_end(muter, reader)

    assert used == []
    assert not film.open


def test_a_mute_is_answered_when_what_was_seen_before_it_is_handed_on(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mute, "HANDED_ON_S", 60.0)
    switch = MuteSwitch(state)
    muter = threading.Thread(target=switch.mute, daemon=True)

    with switch.in_use() as allowed:
        assert allowed
        muter.start()
        wait_until(lambda: switch.muted)
        assert not (state / "muted").exists()
    await_end(muter)

    assert (state / "muted").exists()
    with switch.in_use() as allowed:
        assert not allowed


def test_who_hangs_while_handing_on_does_not_keep_a_mute_waiting(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mute, "HANDED_ON_S", 0.01)
    switch = MuteSwitch(state)
    film = camera()

    with Shutter(film, switch), switch.in_use():
        switch.mute()

        assert not film.is_open
        assert switch.answer() == {"muted": True}


def test_after_a_mute_and_an_unmute_between_two_frames_the_camera_is_opened_again(state: Path) -> None:
    switch = MuteSwitch(state)
    film = camera()
    with Shutter(film, switch) as shutter:
        shutter.read(1)

        switch.mute()
        switch.unmute()

        assert shutter.read(1) is not None
    assert film.opened == 2


def test_a_mute_during_an_unmute_wins(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    switch = MuteSwitch(state)
    switch.mute()
    muter = threading.Thread(target=switch.mute, daemon=True)
    sync = os.fsync

    def slow(descriptor: int) -> None:
        if muter.ident is None:
            muter.start()
            wait_until(lambda: switch._mutes == 2)
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", slow)
    switch.unmute()
    await_end(muter)

    assert switch.muted
    assert (state / "muted").exists()

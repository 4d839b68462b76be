"""What a run that was killed leaves behind goes with the next one."""

from __future__ import annotations

import subprocess
from pathlib import Path

from fleet import clear_control_sockets, control_sockets


def test_sockets_of_killed_runs_go_and_those_of_running_ones_stay(tmp_path: Path) -> None:
    killed = subprocess.Popen(["sleep", "60"])
    killed.kill()
    killed.wait()
    left, own = control_sockets(killed.pid, tmp_path), control_sockets(place=tmp_path)
    others = [tmp_path / "oahega-fleet-notes", tmp_path / "something-1"]
    for folder in (left, own, *others):
        folder.mkdir()
        (folder / "socket").touch()

    clear_control_sockets(tmp_path)

    assert sorted(tmp_path.iterdir()) == sorted([own, *others])

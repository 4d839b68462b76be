"""The service as it is put together."""

from __future__ import annotations

import threading
from pathlib import Path

from mini_bundle import make_bundle
from oahega_edge.control.folders import SOCKET
from oahega_edge.service.assembly import make_daemon, read_lasting_setup
from oahega_edge.service.settings import read_layers


def test_nothing_breaks_a_start_off_once_there_is_a_socket_that_would_stay_behind(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "tiny")
    chosen = [
        "deployment.context=development",
        "camera.source=0",
        f"bundle.path={bundle}",
        f"store.path={tmp_path}",
    ]
    socket = tmp_path / SOCKET
    there = []

    with make_daemon(
        read_lasting_setup(read_layers(None, {}, chosen), {}),
        {"RUNTIME_DIRECTORY": str(tmp_path)},
        threading.Event(),
        opened=lambda: there.append(socket.exists()),
    ):
        there.append(socket.exists())
    there.append(socket.exists())

    assert there == [False, True, False]

"""The page beside a real daemon: both as processes, started by their verbs."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from brokers import free_port
from mini_bundle import make_bundle
from noise_clip import make_clip
from oahega_edge.control.client import NobodyListens, ask
from oahega_edge.errors import EdgeError
from page.served import listens
from waiting import PATIENCE, wait_until

ANSWERED = "--set=deployment.context=development"


@contextmanager
def verb(folder: Path, *words: str) -> Iterator[subprocess.Popen[bytes]]:
    """A verb as a process with its own runtime folder."""
    environment = os.environ | {"RUNTIME_DIRECTORY": str(folder), "STATE_DIRECTORY": str(folder)}
    command = [sys.executable, "-m", "oahega_edge", *words, "--config=/dev/null"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(PATIENCE)


def post(port: int, path: str, body: object) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("POST", path, json.dumps(body), {"Origin": f"http://127.0.0.1:{port}"})
    status = connection.getresponse().status
    connection.close()
    return status


def picture(port: int) -> bytes:
    """The camera's picture, or nothing."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    connection.request("GET", "/picture")
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return body if answer.status == 200 else b""


@pytest.mark.parametrize("bundle", ["absent", "empty", "broken"])
def test_the_page_needs_no_bundle_because_its_user_may_not_look_where_it_lies(
    bundle: str, tmp_path: Path
) -> None:
    port = free_port()
    for name in ("empty", "broken"):
        (tmp_path / name).mkdir()
    (tmp_path / "broken/manifest.json").write_text("{}")

    with verb(
        tmp_path, "page", ANSWERED, f"--set=page.port={port}", f"--set=bundle.path={tmp_path / bundle}"
    ):
        wait_until(lambda: listens(port))


def test_settings_and_mute_reach_a_running_daemon_and_its_state_the_page(tmp_path: Path) -> None:
    port = free_port()
    bundle, clip = make_bundle(tmp_path / "tiny"), make_clip(tmp_path / "clip.avi")
    chosen = [
        f"--set=page.port={port}",
        "--set=deployment.context=development",
        f"--set=bundle.path={bundle}",
    ]

    def status(condition: Callable[[dict[str, Any]], object]) -> dict[str, Any] | None:
        try:
            said = ask(tmp_path / "control.sock", "status")
        except NobodyListens:
            return None
        return said if condition(said) else None

    with verb(tmp_path, "run", *chosen, f"--set=camera.source=loop:{clip}"), verb(tmp_path, "page", *chosen):
        wait_until(lambda: listens(port))
        wait_until(lambda: status(lambda said: True))
        wait_until(lambda: post(port, "/set", {"trigger.threshold": 0.9, "smoothing.frames": 2}) == 202)
        changed = {"trigger.threshold": 0.9, "smoothing.frames": 2}
        wait_until(lambda: status(lambda said: said["settings"] == changed))
        assert ask(tmp_path / "control.sock", "mount", 5) == {"done": True}
        wait_until(lambda: picture(port)[:2] == b"\xff\xd8")
        assert post(port, "/mute", {}) == 204
        wait_until(lambda: not picture(port))
        wait_until(lambda: status(lambda said: said["state"]["muted"]))
        with pytest.raises(EdgeError, match="the device is muted"):
            ask(tmp_path / "control.sock", "mount", 5)

        assert post(port, "/showing", {"content": "poster-7"}) == 204
        assert post(port, "/showing", {"content": "poster\n7"}) == 400
        assert ask(tmp_path / "control.sock", "showing", "poster-8") == {"done": True}

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
        connection.request("GET", "/events")
        stream = connection.getresponse()
        wait_until(lambda: b'"muted": true' in stream.readline())
        wait_until(lambda: b'"poster-8"' in stream.readline())
        connection.close()


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ([], "page.port = 0: the page is off"),
        (["page.port=8321", "page.host=0.0.0.0"], "name a file with a token"),
        (["page.port=8321", "page.host=::"], "name a file with a token"),
        (["page.port=8321", "page.host=192.0.2.1", "page.token_file={short}"], "fewer than 16 characters"),
        (["page.port=8321", "page.token_file=/nowhere"], "cannot be read"),
        (["page.port=8321", "page.folder=/nowhere"], "is no folder"),
    ],
)
def test_a_page_that_is_off_or_open_without_a_token_ends_with_78(
    settings: list[str], reason: str, tmp_path: Path
) -> None:
    (tmp_path / "short").write_text("secret\n")
    chosen = [f"--set={setting.format(short=tmp_path / 'short')}" for setting in settings]
    command = [sys.executable, "-m", "oahega_edge", "page", "--config=/dev/null"]

    done = subprocess.run(
        [*command, ANSWERED, *chosen],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 78
    assert reason in done.stderr

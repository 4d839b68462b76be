"""The demo as a process: while it runs, the device's own page shows what it sees."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator

import pytest

from oahega_edge.tools.demo import _port_of_page
from waiting import PATIENCE


def told(address: str) -> Iterator[str]:
    with urllib.request.urlopen(f"{address}events", timeout=PATIENCE) as stream:
        for line in stream:
            yield line.decode()


@pytest.mark.lengthy
def test_the_demo_prints_where_its_page_is_and_the_page_shows_its_faces() -> None:
    command = [sys.executable, "-m", "oahega_edge", "demo"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as demo:
        assert demo.stderr is not None
        said = next(line for line in demo.stderr if "own page" in line)
        address = re.search(r"http://\S+", said)
        assert address is not None
        try:
            next(line for line in demo.stderr if "loading the models" in line)
            next(line for line in told(address[0]) if '"phase": "new"' in line)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("setting", ["page.port=0", "page.port=8080", "page.host=192.0.2.1"])
def test_a_page_of_the_users_own_settings_is_left_to_them(setting: str) -> None:
    assert _port_of_page([setting]) == 0
    assert _port_of_page(["trigger.threshold=0.5"]) > 0

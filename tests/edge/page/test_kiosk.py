"""The program of the screen with Debian's chromium: the page is there again after whatever ended it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import pytest

from brokers import free_port
from node_packages import browser
from oahega_edge.page.kiosk import accepts_connections, is_unreachable
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.lengthy

HEADLESS = ("--headless=new", "--no-sandbox", "--ozone-platform=headless")
PAGE = b'<!doctype html><title>own</title><img src="shown.png">'
RELOADING = b"<!doctype html><title>own</title><script>setInterval(() => location.reload(), 500)</script>"
SHOWN = "/shown.png"
"""What only a page that is shown asks for."""


class Site:
    """A maker's server, which can be away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[str] = []
        self.page = PAGE
        self.answers = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.asked.append(self.path)
                if not site.answers:
                    return
                self.send_response(200)
                self.send_header("Content-Type", "text/html")
                self.end_headers()
                self.wfile.write(site.page)

            def log_message(self, *said: object) -> None: ...

        server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


Kiosk = subprocess.Popen[str]


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def kiosk(tmp_path: Path, site: Site) -> Iterator[Kiosk]:
    browser()
    command = [sys.executable, "-m", "oahega_edge.page.kiosk", site.url, *HEADLESS]
    environment = os.environ | {"RUNTIME_DIRECTORY": str(tmp_path), "HOME": str(tmp_path)}
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        yield process
    finally:
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in (*family, process):
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        process.communicate()


def processes(kiosk: Kiosk, chosen: Callable[[str], bool]) -> list[psutil.Process]:
    children = psutil.Process(kiosk.pid).children(recursive=True)
    return [child for child in children if chosen(" ".join(child.cmdline()))]


def wait_for_the_page(site: Site) -> None:
    site.asked.clear()
    wait_until(lambda: SHOWN in site.asked)


def test_the_page_is_shown_when_its_server_comes_later(kiosk: Kiosk, site: Site) -> None:
    wait_until(lambda: processes(kiosk, lambda line: "--type=renderer" in line))

    with site.open():
        wait_for_the_page(site)


def test_a_server_that_answers_nothing_is_asked_again(kiosk: Kiosk, site: Site) -> None:
    site.answers = False
    with site.open():
        wait_until(lambda: len(site.asked) > 3)
        site.answers = True
        wait_for_the_page(site)


def test_a_page_that_loads_itself_again_while_its_server_is_away_comes_back(kiosk: Kiosk, site: Site) -> None:
    site.page = RELOADING
    with site.open():
        wait_until(lambda: len(site.asked) > 2)
    wait_until(lambda: not accepts_connections(site.url))
    site.page = PAGE

    with site.open():
        wait_for_the_page(site)


@pytest.mark.parametrize("part", ["--type=renderer", "--kiosk"], ids=["the page's process", "the browser"])
def test_it_ends_with_a_reason_when_a_process_of_the_page_has_ended(
    kiosk: Kiosk, site: Site, part: str
) -> None:
    with site.open():
        wait_for_the_page(site)
        for process in processes(kiosk, lambda line: part in line):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)
        _, said = kiosk.communicate(timeout=PATIENCE)

    assert kiosk.returncode == 1
    assert "ended; the service starts it again" in said


def test_nothing_of_the_browser_is_left_when_it_ends(kiosk: Kiosk, site: Site) -> None:
    with site.open():
        wait_for_the_page(site)
        family = psutil.Process(kiosk.pid).children(recursive=True)
        kiosk.kill()
        gone, alive = psutil.wait_procs(family, timeout=PATIENCE)

    assert gone
    assert alive == []


@pytest.mark.parametrize("url", ["file:///srv/poster.html", "data:text/html,poster"])
def test_what_has_no_server_is_opened_at_once(url: str) -> None:
    assert accepts_connections(url)


def test_only_the_page_itself_counts_as_unreachable() -> None:
    address = {"unreachableUrl": "http://127.0.0.1/"}

    assert is_unreachable(address)
    assert not is_unreachable(address | {"parentId": "1"})
    assert not is_unreachable({"url": "http://127.0.0.1/"})

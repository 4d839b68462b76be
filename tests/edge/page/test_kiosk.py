"""The program of the screen with Debian's chromium: the page is there again after whatever ended it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from brokers import free_port
from node_packages import browser
from oahega_edge.page.kiosk import DARK, Screen, accepts_connections
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.lengthy

FLAGS = ("--headless=new", "--no-sandbox", "--ozone-platform=headless", "--disable-popup-blocking")
PAGE = b'<!doctype html><title>own</title><img src="shown.png">'
RELOADING = b"<!doctype html><title>own</title><script>setInterval(() => location.reload(), 500)</script>"
OPENING = b"""<!doctype html><title>own</title><script>
    const second = open("about:blank");
    setInterval(() => fetch(second.closed ? "/closed" : "/stays"), 200);
</script>"""
GOING_BACK = b"""<!doctype html><title>own</title><script>
    setInterval(() => fetch("/alive"), 200);
    setInterval(() => { fetch("/back"); history.back(); }, 1000);
</script>"""
PART_AWAY = b"""<!doctype html><title>own</title><iframe src="http://127.0.0.1:1/"></iframe><script>
    setInterval(() => fetch("/alive"), 200);
</script>"""
SHOWN = "/shown.png"
"""What only a page that is shown asks for."""


class Site:
    """A maker's server, which can be away."""

    def __init__(self) -> None:
        self.port = free_port()
        self.asked: list[str] = []
        self.page = PAGE
        self.answers = True
        self.status = 200

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
                self.send_response(site.status)
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


@contextlib.contextmanager
def started(url: str, folder: Path) -> Iterator[Kiosk]:
    """The program in a folder of its own, and its end with everything that it started."""
    browser()
    command = [sys.executable, "-m", "oahega_edge.page.kiosk", url, *FLAGS]
    environment = os.environ | {"RUNTIME_DIRECTORY": str(folder), "HOME": str(folder)}
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


@pytest.fixture
def site() -> Site:
    return Site()


@pytest.fixture
def kiosk(tmp_path: Path, site: Site) -> Iterator[Kiosk]:
    with started(site.url, tmp_path) as process:
        yield process


def processes(kiosk: Kiosk, part: str) -> list[psutil.Process]:
    """Of the browser, chosen by a part of their command lines."""
    found = []
    for child in psutil.Process(kiosk.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # it has ended meanwhile
            if part in " ".join(child.cmdline()):
                found.append(child)
    return found


def wait_for_the_page(site: Site) -> None:
    site.asked.clear()
    wait_until(lambda: SHOWN in site.asked)


def test_the_page_is_shown_when_its_server_comes_later(kiosk: Kiosk, site: Site) -> None:
    wait_until(lambda: processes(kiosk, "--type=renderer"))

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
        for process in processes(kiosk, part):
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


def test_a_part_of_a_page_that_is_away_counts_for_nothing(kiosk: Kiosk, site: Site) -> None:
    site.page = PART_AWAY

    with site.open():
        wait_until(lambda: site.asked.count("/alive") > 15)

    assert site.asked.count("/") == 1


def test_a_second_window_is_closed(kiosk: Kiosk, site: Site) -> None:
    site.page = OPENING

    with site.open():
        wait_until(lambda: "/closed" in site.asked)


def test_back_does_not_lead_to_the_dark_screen(kiosk: Kiosk, site: Site) -> None:
    site.page = GOING_BACK
    site.answers = False
    with site.open():
        wait_until(lambda: len(site.asked) > 1)
        site.answers = True

        wait_until(lambda: site.asked.count("/back") > 2)
        site.asked.clear()
        wait_until(lambda: "/alive" in site.asked)


class Told:
    """A browser that says these messages and keeps what it is told."""

    def __init__(self, *messages: Mapping[str, Any]) -> None:
        self._messages = messages
        self.methods: list[str] = []

    def tell(self, method: str, session: str | None = None, **parameters: object) -> int:
        self.methods.append(method)
        return len(self.methods)

    def messages(self) -> Iterator[Mapping[str, Any]]:
        return iter(self._messages)


def shows(url: str) -> Mapping[str, Any]:
    return {"method": "Page.frameNavigated", "params": {"frame": {"url": url}}}


ATTACHED = {"method": "Target.attachedToTarget", "params": {"sessionId": "1"}}
OPENED = ["Target.setDiscoverTargets", "Page.enable", "Page.navigate", "Page.resetNavigationHistory"]


def test_a_history_that_could_not_be_emptied_is_emptied_again() -> None:
    refused = {"id": 4, "error": {"message": "Not attached to an active page"}}
    browser = Told(ATTACHED, shows("file:///own"), refused, {"id": 5, "result": {}})

    Screen(browser, "file:///own").keep()

    assert browser.methods == [*OPENED, "Page.resetNavigationHistory"]


def test_a_page_that_went_back_to_the_dark_screen_is_opened_again() -> None:
    browser = Told(ATTACHED, shows("file:///own"), shows(DARK), shows("file:///own"))

    Screen(browser, "file:///own").keep()

    assert browser.methods == [*OPENED, "Page.navigate", "Page.resetNavigationHistory"]


@pytest.mark.parametrize("url", ["127.0.0.1:8321/own", "http://127.0.0.1:x/", "poster", ""])
def test_an_address_that_the_browser_refuses_is_named(url: str, tmp_path: Path) -> None:
    with started(url, tmp_path) as kiosk:
        _, said = kiosk.communicate(timeout=PATIENCE)

    assert f"the address {url!r} cannot be opened: " in said


def test_an_address_without_a_page_is_named(kiosk: Kiosk, site: Site) -> None:
    site.status = 204
    with site.open():
        _, said = kiosk.communicate(timeout=PATIENCE)

    assert f"at the address {site.url!r} is no page" in said

"""The page of docs/subscribing.md as a file in Debian's chromium, at the mosquitto of the same document."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, Playwright, expect, sync_playwright

from brokers import HOST
from documented_broker import DocumentedBroker
from documents import SUBSCRIBING, blocks
from edge.mqtt_samples import QUICK, options, state
from node_packages import INSTALLED, browser, certutil, node, tab
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.secret import Hidden
from oahega_edge.tools.broker import EmbeddedBroker
from waiting import PATIENCE

pytestmark = [pytest.mark.broker, pytest.mark.lengthy]

ACCOUNTS = {"kiosk-1": "a device", "dashboard": "a reader"}
MS = PATIENCE * 1000
SILENT = "does not answer"
Hello = Callable[..., str]


@pytest.fixture(scope="module")
def playwright() -> Iterator[Playwright]:
    with sync_playwright() as running:
        yield running


@contextlib.contextmanager
def started(playwright: Playwright, home: Path) -> Iterator[Browser]:
    """Chromium of a user with this home, where the certificates are."""
    chromium = playwright.chromium.launch(
        executable_path=browser(), args=["--no-sandbox"], env={**os.environ, "HOME": str(home)}
    )
    try:
        yield chromium
    finally:
        chromium.close()


@pytest.fixture(scope="module")
def chromium(playwright: Playwright, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with started(playwright, tmp_path_factory.mktemp("home")) as running:
        yield running


@pytest.fixture
def hello(tmp_path: Path) -> Hello:
    """Write the document's page with the address of a broker and a password typed into it."""
    node("mqtt")
    shutil.copy(INSTALLED / "mqtt/dist/mqtt.min.js", tmp_path)

    def write(broker: str, password: str = ACCOUNTS["dashboard"]) -> str:
        (page,) = blocks(SUBSCRIBING, "A page in a browser", "html")
        typed = page.replace("ws://localhost:9001", broker).replace("PASSWORD", password)
        (tmp_path / "hello.html").write_text(typed, encoding="utf-8")
        return (tmp_path / "hello.html").as_uri()

    return write


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    opened = tab(chromium, viewport={"width": 640, "height": 240})
    yield opened
    opened.context.close()


def shows(page: Page, text: str) -> None:
    expect(page.locator("#face")).to_contain_text(text, timeout=MS)


def device(broker: DocumentedBroker) -> MqttPublisher:
    """`kiosk-1` with its account."""
    account = {"username": "kiosk-1", "password": Hidden(ACCOUNTS["kiosk-1"])}
    secure = {"tls": "on", "ca_file": broker.ca_file}
    return MqttPublisher(options(broker.port, **account, **secure), pauses=QUICK)


def test_it_shows_what_the_device_says(tmp_path: Path, page: Page, hello: Hello) -> None:
    with DocumentedBroker(tmp_path, ACCOUNTS) as broker:
        page.goto(hello(f"ws://{HOST}:{broker.pages}"))
        shows(page, "Waiting for kiosk-1")

        with device(broker) as publisher:
            publisher.state(state(emotion="happy"))
            shows(page, "Nice to see you smile!")
            publisher.state(state(emotion="sad"))
            shows(page, "sad")


def test_it_shows_what_the_demos_broker_has_kept(page: Page, hello: Hello) -> None:
    with (
        EmbeddedBroker(websocket_port=0) as broker,
        MqttPublisher(options(broker.port), pauses=QUICK) as publisher,
    ):
        publisher.state(state(emotion="happy"))

        page.goto(hello(f"ws://{HOST}:{broker.websocket_port}"))
        shows(page, "Nice to see you smile!")


def test_over_tls_the_browser_trusts_whom_the_document_tells_it_to_trust(
    tmp_path: Path, playwright: Playwright, page: Page, hello: Hello
) -> None:
    certutil()
    (trust,) = blocks(SUBSCRIBING, "A page in a browser")
    with DocumentedBroker(tmp_path, ACCOUNTS, secure_pages=True) as broker, device(broker) as publisher:
        publisher.state(state(emotion="happy"))
        address = f"wss://{HOST}:{broker.pages}"
        page.goto(hello(address))
        shows(page, f"The broker at {address} {SILENT}")

        as_its_user = {**os.environ, "HOME": str(tmp_path)}
        subprocess.run(["bash", "-euc", trust], cwd=tmp_path, env=as_its_user, check=True)
        with started(playwright, tmp_path) as anew:
            page = tab(anew)
            page.goto(hello(address))
            shows(page, "Nice to see you smile!")


def test_a_wrong_password_stays_on_the_screen_until_the_account_is_mended(
    tmp_path: Path, page: Page, hello: Hello
) -> None:
    password = "A READER"  # like the right one, but for the case
    with DocumentedBroker(tmp_path, ACCOUNTS) as broker:
        page.goto(hello(f"ws://{HOST}:{broker.pages}", password))
        shows(page, "The broker refuses this page: ")
        page.wait_for_event("console", lambda said: "refuses" in said.text, timeout=MS)
        shows(page, "The broker refuses this page: ")

        mend = ["mosquitto_passwd", "-b", tmp_path / "passwords", "dashboard", password]
        subprocess.run(mend, check=True)
        os.kill(broker.pid, signal.SIGHUP)
        shows(page, "Waiting for kiosk-1")


def test_a_broker_that_is_away_is_named_and_found_when_it_comes(
    tmp_path: Path, page: Page, hello: Hello
) -> None:
    broker = DocumentedBroker(tmp_path, ACCOUNTS)
    page.goto(hello(f"ws://{HOST}:{broker.pages}"))
    shows(page, f"The broker at ws://{HOST}:{broker.pages} {SILENT}")

    with broker:
        shows(page, "Waiting for kiosk-1")
    shows(page, SILENT)

"""Giving a picture in Debian's chromium: seen, named, kept, taken back; by keyboard, in three languages."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, Page, expect

from edge.mqtt_samples import info
from node_packages import tab
from page.served import Served, served
from waiting import wait_until

pytestmark = pytest.mark.lengthy

PNG = cv2.imencode(".png", np.full((48, 48), 200, np.uint8))[1].tobytes()
ANSWERS: dict[str, dict[str, Any]] = {
    "sample": {"token": "t0", "picture": base64.b64encode(PNG).decode(), "labels": ["happy", "sad"]},
    "sample-keep": {"code": "7KQM-2XWD-90FA", "goes_on": "2026-03-31"},
    "sample-discard": {"done": True},
    "samples-withdraw": {"done": True},
}
THANKS = {"en": "Thank you", "de": "Danke", "uk": "Дякуємо"}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page"), "--samples", answers=ANSWERS) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(chromium: Browser, daemon: Served, complaints: list[str]) -> Iterator[Page]:
    opened = tab(chromium, locale="en-GB")
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    told = json.loads(info().to_json())
    told["settings"] = {**told["settings"], "samples": {"consent": "asked-at-the-device"}}
    daemon.feed.send("info", json.dumps(told))
    daemon.seen(camera="live", muted=False)
    daemon.asked.clear()
    opened.goto(daemon.url)
    expect(opened.locator("#sample")).to_be_visible()
    yield opened
    opened.context.close()


def painted(page: Page) -> int:
    """The brightest pixel of the canvas."""
    script = (
        "() => { const c = document.getElementById('face');"
        "return Math.max(...c.getContext('2d').getImageData(0, 0, c.width, c.height).data.slice(0, 3)); }"
    )
    return int(page.evaluate(script))


@pytest.mark.parametrize("language", THANKS)
def test_a_picture_is_seen_named_kept_and_taken_back_by_keyboard(
    page: Page, daemon: Served, complaints: list[str], language: str
) -> None:
    page.goto(f"{daemon.url}/?lang={language}")
    expect(page.locator("#sample")).to_be_visible()
    page.locator("#sample").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#shown")).to_be_focused()
    assert painted(page) == 200
    page.keyboard.press("ArrowDown")
    page.locator("#offer button[type=submit]").focus()
    page.keyboard.press("Enter")

    expect(page.locator("#sample-said")).to_contain_text(THANKS[language])
    expect(page.locator("#sample-said")).to_contain_text("7KQM-2XWD-90FA")
    assert painted(page) == 0
    page.locator("#code").fill("7KQM-2XWD-90FA")
    page.keyboard.press("Enter")
    wait_until(lambda: daemon.asked[-1:] == ["samples-withdraw {'code': '7KQM-2XWD-90FA'}"])
    assert daemon.asked[:2] == ["sample", "sample-keep {'token': 't0', 'label': 'happy'}"]
    assert complaints == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0


def test_a_picture_that_is_declined_is_gone(page: Page, daemon: Served) -> None:
    page.locator("#sample").click()
    page.locator("#discard").click()

    expect(page.locator("#sample-said")).to_contain_text("Nothing was kept")
    expect(page.locator("#offer")).to_be_hidden()
    assert daemon.asked == ["sample", "sample-discard {'token': 't0'}"]
    assert painted(page) == 0


def test_a_mute_takes_the_picture_away(page: Page, daemon: Served) -> None:
    page.locator("#sample").click()
    expect(page.locator("#offer")).to_be_visible()

    daemon.seen(camera="muted", muted=True)

    expect(page.locator("#offer")).to_be_hidden()
    assert painted(page) == 0


def test_everything_has_a_name_for_those_who_do_not_see(page: Page) -> None:
    page.locator("#sample").click()
    expect(page.locator("#offer")).to_be_visible()

    for role, name in [
        ("img", "The picture of your face"),
        ("combobox", "What does your face show?"),
        ("button", "Give this picture"),
        ("textbox", "Take a picture back: your code"),
    ]:
        expect(page.get_by_role(role, name=name)).to_be_visible()  # type: ignore[arg-type]
    expect(page.locator("#sample-said")).to_have_attribute("role", "status")
    expect(page.locator("#samples-notice")).to_be_visible()

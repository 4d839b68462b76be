"""Asking a person for expressions in Debian's chromium: by keyboard, in three languages, on any screen."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from edge.mqtt_samples import health
from oahega_edge.contract.messages import Asked, Drift
from page.served import Served, served
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.lengthy

MS = PATIENCE * 1000
TOKEN = "0123456789abcdef"
LABELS = {"angry": 6, "happy": 5, "neutral": 5, "sad": 5, "surprise": 5}
WORDS = {"angry", "happy", "neutral", "sad", "surprised"}
THANKS = {"en": "Thank you", "de": "Danke", "uk": "Дякуємо"}
FIT = {"tuned": True, "faces": 26, "before": 0.743, "after": 0.781, "interval": [-0.004, 0.082]}
ANSWERS: dict[str, dict[str, Any]] = {
    "tune": {"labels": LABELS, "faces": 26, "least": 25, "seconds": 3.0, "tuned": {"faces": 26}},
    "tune-face": {"kept": True, "frames": 40},
    "tune-fit": FIT,
    "tune-undo": {"undone": True},
    "tune-forget": {"done": True},
}


def drift(due: int) -> Drift:
    asked = Asked(faces=12, right=10, interval=(0.55, 0.95), due=due, before=0, before_right=0)
    return Drift(learning=True, learned=5, asked=asked)


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    return dict(ANSWERS)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory, answers: dict[str, dict[str, Any]]) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("page")
    (folder / "token").write_text(TOKEN)
    with served(folder, "--tuning", f"--token-file={folder / 'token'}", answers=answers) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    return []


@pytest.fixture
def page(
    chromium: Browser, daemon: Served, complaints: list[str], answers: dict[str, dict[str, Any]]
) -> Iterator[Page]:
    """The page from which whoever entered the token once goes on."""
    context = chromium.new_context(locale="en-GB", viewport={"width": 1200, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(MS)
    opened.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    answers.update(ANSWERS)
    daemon.feed.send("health", health(drift=drift(due=0)).to_json())
    opened.goto(daemon.url)
    opened.locator("#token").fill(TOKEN)
    opened.keyboard.press("Enter")
    expect(opened.locator("#tuning a")).to_be_visible(timeout=MS)
    yield opened
    context.close()


def unlocked(page: Page) -> None:
    page.locator("#tuning a").click()
    page.locator("#token").fill(TOKEN)
    page.keyboard.press("Enter")
    expect(page.locator("#agree")).to_be_focused(timeout=MS)


@pytest.mark.parametrize("language", THANKS)
def test_a_person_shows_every_expression_once_by_keyboard(
    page: Page, daemon: Served, complaints: list[str], language: str
) -> None:
    page.goto(f"{daemon.url}/?lang={language}")
    unlocked(page)
    daemon.asked.clear()

    page.keyboard.press("Enter")
    for left in range(len(LABELS) - 1, -1, -1):
        expect(page.locator("#ready")).to_be_focused(timeout=MS)
        page.keyboard.press("Enter")
        wait_until(lambda left=left: sum("tune-face" in one for one in daemon.asked) == len(LABELS) - left)
    expect(page.locator("#said")).to_contain_text(THANKS[language], timeout=MS)

    shown = {one for one in daemon.asked if one.startswith("tune-face")}
    assert shown == {f"tune-face {{'label': '{label}'}}" for label in LABELS}
    assert complaints == []
    assert page.evaluate("localStorage.length + sessionStorage.length") == 0
    assert TOKEN not in page.content()


def test_the_gain_is_said_with_its_interval_and_taken_back(page: Page, daemon: Served) -> None:
    unlocked(page)

    page.locator("#fit").click()
    expect(page.locator("#result")).to_contain_text("74.3 % before, 78.1 % after", timeout=MS)
    expect(page.locator("#result")).to_contain_text("gain 3.8 points, 95 % interval -0.4 to 8.2")
    page.locator("#undo").click()
    expect(page.locator("#result")).to_contain_text("own answers again", timeout=MS)
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.locator("#forget").click()
    page.once("dialog", lambda dialog: dialog.accept())
    page.locator("#forget").click()
    expect(page.locator("#result")).to_contain_text("deleted", timeout=MS)

    assert sum(one.startswith("tune-forget") for one in daemon.asked) == 1


def test_a_refusal_is_said_and_the_same_expression_asked_again(
    page: Page, answers: dict[str, dict[str, Any]]
) -> None:
    unlocked(page)
    answers["tune-face"] = {"error": "several faces", "reason": "several"}
    page.locator("#agree").click()
    wanted = page.locator("#wanted").text_content()

    page.locator("#ready").click()

    expect(page.locator("#said")).to_contain_text("Several people were in view", timeout=MS)
    expect(page.locator("#ready")).to_be_focused()
    expect(page.locator("#wanted")).to_have_text(wanted or "")


def test_a_months_dozen_is_offered_and_asked_evenly(page: Page, daemon: Served) -> None:
    daemon.feed.send("health", health(drift=drift(due=12)).to_json())
    expect(page.locator("#due")).to_contain_text("how well the device reads: 12", timeout=MS)
    unlocked(page)
    expect(page.locator("#due")).to_contain_text("12")
    expect(page.locator("#round")).to_contain_text("10 of 12 asked expressions were read right")
    expect(page.locator("#round")).to_contain_text("(95 % interval 55 to 95 %)")
    daemon.asked.clear()

    page.locator("#agree").click()
    for left in range(11, -1, -1):
        page.locator("#ready").click()
        wait_until(lambda left=left: sum("tune-face" in one for one in daemon.asked) == 12 - left)
    expect(page.locator("#said")).to_contain_text("Thank you", timeout=MS)

    shown = Counter(one for one in daemon.asked if one.startswith("tune-face"))
    assert sorted(shown.values()) == [2, 2, 2, 3, 3]
    expect(page.locator("#due")).to_be_empty()


def test_another_person_is_told_first_what_is_kept(page: Page) -> None:
    unlocked(page)
    page.locator("#agree").click()

    page.locator("#person").click()

    expect(page.locator("#consent")).to_contain_text("no picture")
    expect(page.locator("#ready")).to_be_hidden()


def test_with_the_cookie_and_a_wrong_token_nothing_is_shown(page: Page, daemon: Served) -> None:
    page.locator("#tuning a").click()
    page.locator("#token").fill("wrong")
    daemon.asked.clear()
    page.keyboard.press("Enter")

    expect(page.locator("#locked")).to_contain_text("not the token", timeout=MS)
    expect(page.locator("#asking")).to_be_hidden()
    assert daemon.asked == []


def test_with_too_few_faces_there_is_nothing_to_fit(page: Page, answers: dict[str, dict[str, Any]]) -> None:
    answers["tune"] = {**ANSWERS["tune"], "faces": 24, "tuned": None}
    unlocked(page)

    expect(page.locator("#total")).to_have_text("24 of at least 25")
    expect(page.locator("#fit")).to_be_disabled()
    expect(page.locator("#undo")).to_be_disabled()


@pytest.mark.parametrize("width", [320, 360, 1200, 3840])
def test_nothing_sticks_out_of_the_screen(page: Page, width: int, tmp_path: Path) -> None:
    page.set_viewport_size({"width": width, "height": 900})
    unlocked(page)
    page.screenshot(path=tmp_path / f"{width}-consent.png", full_page=True)
    page.locator("#agree").click()
    page.screenshot(path=tmp_path / f"{width}-asked.png", full_page=True)

    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for name in ("#ready", "#skip", "#person", "#end"):
        expect(page.locator(name)).to_be_in_viewport(ratio=1)


def test_everything_has_a_name_for_those_who_do_not_see(page: Page) -> None:
    unlocked(page)
    page.locator("#agree").click()

    for name in ("Ready", "Skip", "Another person", "End", "Fit the answers", "Delete the kept faces"):
        expect(page.get_by_role("button", name=name)).to_be_visible()
    assert page.locator("#wanted").text_content() in WORDS
    expect(page.locator("#ready")).to_have_attribute("aria-describedby", "wanted")
    expect(page.locator("#said")).to_have_attribute("role", "status")
    expect(page.locator("#result")).to_have_attribute("role", "status")

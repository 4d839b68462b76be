"""The page in Debian's chromium: what people see and can do."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from edge.mqtt_samples import info
from node_packages import tab
from page.served import Served, served
from waiting import wait_until

pytestmark = pytest.mark.lengthy

LANGUAGES = {"en": ("happy", "nobody"), "de": ("fröhlich", "niemand"), "uk": ("радість", "нікого")}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("page")) as running:
        yield running


@pytest.fixture
def complaints() -> list[str]:
    """Console errors and requests to elsewhere."""
    return []


def is_complaint(said: ConsoleMessage) -> bool:
    """An error; but the page forgets a picture within a second, which a busy browser may ask for later."""
    return said.type == "error" and "/picture?" not in said.location["url"]


@pytest.fixture
def page(chromium: Browser, daemon: Served, complaints: list[str]) -> Iterator[Page]:
    opened = tab(chromium, locale="en-GB", viewport={"width": 1280, "height": 900})
    opened.on("console", lambda said: complaints.append(said.text) if is_complaint(said) else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "request",
        lambda request: None if request.url.startswith(daemon.url) else complaints.append(request.url),
    )
    daemon.seen(emotion="none", faces=0, people=0, confidence=0, camera="live", muted=False)
    opened.goto(daemon.url)
    expect(opened.locator("#emotion")).to_have_text("nobody")
    yield opened
    opened.context.close()


def test_a_smile_is_shown_without_a_complaint(page: Page, daemon: Served, complaints: list[str]) -> None:
    daemon.seen(emotion="happy", faces=2, people=3, confidence=0.91, camera="live", muted=False)

    expect(page.locator("#emotion")).to_have_text("happy")
    expect(page.locator("#faces")).to_have_text("2")
    expect(page.locator("#people")).to_have_text("3")
    expect(page.locator("#percent")).to_have_text("91 %")
    assert complaints == []


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_speaks(page: Page, daemon: Served, language: str) -> None:
    happy, nobody = LANGUAGES[language]

    page.goto(f"{daemon.url}/?lang={language}")
    expect(page.locator("#emotion")).to_have_text(nobody)
    daemon.seen(emotion="happy", camera="live", muted=False)

    expect(page.locator("#emotion")).to_have_text(happy)
    assert page.locator("html").get_attribute("lang") == language


def test_mute_and_unmute_by_keyboard(page: Page, daemon: Served) -> None:
    daemon.asked.clear()
    page.locator("#mute").focus()
    page.keyboard.press("Enter")
    wait_until(lambda: daemon.asked == ["mute"])
    daemon.seen(emotion="none", faces=0, camera="muted", muted=True)

    expect(page.locator("#emotion")).to_have_text("muted")
    expect(page.locator("#mute")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Space")
    wait_until(lambda: daemon.asked == ["mute", "unmute"])


def test_the_sliders_set_the_two_settings(page: Page, daemon: Served) -> None:
    daemon.feed.requests()
    page.locator("#frames").focus()
    page.keyboard.press("Home")

    (request,) = wait_until(daemon.feed.requests)
    assert request == {"set": {"smoothing.frames": 1}}
    changed = json.loads(info().to_json())
    changed["adjustable"] = {"smoothing.frames": 7, "trigger.threshold": 0.62}
    daemon.feed.send("info", json.dumps(changed))
    expect(page.locator("#frames-value")).to_have_text("7")
    expect(page.locator("#threshold-value")).to_have_text("62 %")


def test_the_mounter_sees_boxes_and_advice(page: Page, daemon: Served) -> None:
    face = {"box": [0.1, 0.2, 0.3, 0.4], "height_px": 99, "emotion": "sad"}
    sight = {
        "width": 640,
        "height": 480,
        "faces": [face],
        "people": 1,
        "brightness": 12.3,
        "sharpness": 700.0,
    }

    daemon.feed.send("sight", json.dumps(sight | {"advice": ["dark"]}))

    expect(page.locator("#sight text")).to_have_text("99 px, sad")
    expect(page.locator("#advice")).to_have_text("Too dark: add light.")


def test_the_mounter_sees_the_picture_while_it_is_sent(
    page: Page, daemon: Served, complaints: list[str]
) -> None:
    jpeg = cv2.imencode(".jpg", np.full((480, 640, 3), 128, np.uint8))[1].tobytes()
    sight = {
        "width": 640,
        "height": 480,
        "faces": [],
        "people": 0,
        "brightness": 99,
        "sharpness": 99,
        "advice": [],
    }

    def is_shown() -> bool:
        daemon.feed.send("picture", json.dumps(base64.b64encode(jpeg).decode()))
        daemon.feed.send("sight", json.dumps(sight | {"picture": True}))
        return bool(page.evaluate("document.getElementById('picture').naturalWidth") == 640)

    wait_until(is_shown)
    assert complaints == []
    daemon.feed.send("sight", json.dumps(sight | {"picture": False}))
    expect(page.locator("#picture")).to_be_hidden()
    expect(page.locator("#drawing")).to_contain_text("No picture is sent")


def test_the_last_hour_is_a_chart_and_a_table(page: Page, daemon: Served) -> None:
    daemon.seen(emotion="happy", faces=2, camera="live", muted=False)
    expect(page.locator("#emotion")).to_have_text("happy")
    page.reload()

    page.locator("#chart rect").first.wait_for(state="attached")
    page.locator("summary").click()
    expect(page.locator("#table thead")).to_contain_text("happy")
    assert page.locator("#table tbody tr").count() >= 1


def test_a_label_is_text_and_never_markup(page: Page, daemon: Served, complaints: list[str]) -> None:
    daemon.seen(emotion="<img src=x onerror=alert(1)>", camera="live", muted=False)

    expect(page.locator("#emotion")).to_have_text("<img src=x onerror=alert(1)>")
    assert page.locator("#emotion img").count() == 0
    assert complaints == []


@pytest.mark.parametrize(("width", "height"), [(320, 480), (480, 320), (1080, 1920), (3840, 2160)])
def test_nothing_is_cut_off_at_the_side(page: Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})

    for language in LANGUAGES:
        page.goto(page.url.partition("?")[0] + f"?lang={language}")

        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_lost_connection_is_said_and_comes_back_by_itself(chromium: Browser, tmp_path: Path) -> None:
    page = tab(chromium, locale="en-GB")
    with served(tmp_path) as first:
        page.goto(first.url)
        expect(page.locator("#away")).to_be_hidden()
    expect(page.locator("#away")).to_be_visible()

    with served(tmp_path, port=first.port) as second:
        second.seen(emotion="happy", camera="live", muted=False)
        expect(page.locator("#emotion")).to_have_text("happy")
        expect(page.locator("#away")).to_be_hidden()
    page.context.close()


def test_tabs_share_one_stream_and_a_page_of_ones_own_reacts(page: Page, daemon: Served) -> None:
    page.evaluate(
        """async () => {
            const { faces } = await import("/oahega.js");
            window.heard = [];
            faces.on("happy", ({ confidence }) => window.heard.push(confidence));
            faces.on("nobody", () => window.heard.push("nobody"));
        }"""
    )
    other = page.context.new_page()
    other.goto(daemon.url)
    expect(other.locator("#emotion")).to_have_text("nobody")

    for phase, delayed, confidence in (("new", False, 0.8), ("update", True, 0.7), ("end", False, 0.6)):
        told = {"emotion": "happy", "phase": phase, "delayed": delayed, "confidence": confidence}
        daemon.feed.send("event", json.dumps(told))
    daemon.seen(emotion="happy", camera="live", muted=False)
    daemon.seen(emotion="none", camera="live", muted=False)

    wait_until(lambda: page.evaluate("window.heard.length") == 2)
    assert page.evaluate("window.heard") == [0.8, "nobody"]


def test_what_the_screen_shows_is_said_and_said_again_to_a_new_daemon(
    chromium: Browser, tmp_path: Path
) -> None:
    page = tab(chromium)
    with served(tmp_path) as first:
        page.goto(first.url)
        page.evaluate('import("/oahega.js").then(({ showing }) => showing("poster-7"))')
        assert "showing poster-7" in first.asked
        refusal = page.evaluate(
            'import("/oahega.js").then(({ showing }) => showing("what no daemon takes")).catch(String)'
        )
        assert "expected a name" in refusal
        page.evaluate('import("/oahega.js").then(({ showing }) => showing("poster-8"))')

    with served(tmp_path, port=first.port) as second:
        wait_until(lambda: "showing poster-8" in second.asked)
    page.context.close()


def test_the_examples_react(chromium: Browser, tmp_path: Path) -> None:
    examples = Path(__file__).parents[3] / "docs" / "examples"
    told = {"emotion": "happy", "phase": "new", "confidence": 0.8}
    smile = tab(chromium)
    pages = {"smile": smile, **{name: smile.context.new_page() for name in ("slideshow", "counter")}}
    with served(tmp_path, f"--folder={examples}") as device:
        for name, page in pages.items():
            page.goto(f"{device.url}/own/{name}/")

        def happy() -> bool:
            """Said again until every page has begun to listen."""
            device.feed.send("event", json.dumps(told))
            smiles = pages["smile"].inner_text("#sign") == ":)"
            return smiles and "happy: " in pages["counter"].inner_text("#counts")

        wait_until(happy)
        expect(pages["slideshow"].locator("#slide")).to_have_text("2")
        device.seen(emotion="none", faces=0, camera="live", muted=False)
        expect(pages["smile"].locator("#sign")).to_have_text(":|")
    smile.context.close()


def test_without_scripts_the_page_says_so(chromium: Browser, daemon: Served) -> None:
    page = tab(chromium, java_script_enabled=False)
    page.goto(daemon.url)

    assert "needs JavaScript" in page.inner_text("noscript")
    page.context.close()


def test_the_token_is_entered_once(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "token").write_text("0123456789abcdef")
    page = tab(chromium)
    with served(tmp_path, f"--token-file={tmp_path / 'token'}") as closed:
        page.goto(closed.url)
        page.fill("#token", "0123456789abcdef")
        page.keyboard.press("Enter")
        page.locator("#emotion").wait_for()
        page.goto(closed.url)

        assert page.locator("#emotion").count() == 1
    page.context.close()

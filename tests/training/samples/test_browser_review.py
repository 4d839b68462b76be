"""Looking at samples in Debian's chromium: what is pressed there is so in the folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, expect

from oahega_build.samples.book import Book
from training.samples.reviewing import LABELS, NAMES, reviewing
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.lengthy

MS = PATIENCE * 1000


def test_one_is_confirmed_one_corrected_one_thrown_away_and_the_rest_stays(
    chromium: Browser, tmp_path: Path
) -> None:
    complaints: list[str] = []
    with reviewing(tmp_path) as review:
        page = chromium.new_page(locale="en-GB")
        page.set_default_timeout(MS)
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(review.url + review.entrance)
        expect(page.locator("#said")).to_have_text("6 samples.")

        def card(name: str) -> Locator:
            return page.locator("li", has=page.locator(f"#label-{name}"))

        confirmed, corrected, thrown = NAMES[:3]
        shown = "all => all.every(one => one.complete && one.naturalWidth > 0)"
        wait_until(lambda: page.locator("img").evaluate_all(shown))

        card(confirmed).get_by_role("button", name="Confirm").press("Enter")
        expect(page.locator("#said")).to_have_text("Kept as happy.")
        card(corrected).get_by_role("combobox", name="It shows").select_option("sad")
        card(corrected).get_by_role("button", name="Correct").click()
        expect(page.locator("#said")).to_have_text("Kept as sad.")
        card(thrown).get_by_role("button", name="Throw away").click()
        expect(page.locator("#said")).to_have_text("Thrown away.")

        expect(card(thrown)).to_have_count(0)
        page.reload()
        expect(page.locator("#said")).to_have_text("5 samples.")
        expect(page.locator("li.done")).to_have_count(2)
        page.close()

    found = {str(file.relative_to(review.folder)) for file in review.folder.rglob("*.png")}
    untouched = {f"{LABELS[i % 3]}/{NAMES[i]}.png" for i in (3, 4, 5)}
    assert found == {f"happy/{confirmed}.png", f"sad/{corrected}.png", *untouched}
    kept = Book(review.folder).present
    assert {name for name, one in kept.items() if one.reviewed} == {confirmed, corrected}
    assert (kept[corrected].told, kept[corrected].label) == (LABELS[1], "sad")
    assert complaints == []

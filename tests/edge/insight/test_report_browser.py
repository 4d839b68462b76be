"""The page of `oahega-edge insight` in Debian's chromium: on a phone, on a desk and on paper."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from edge.mqtt_samples import Tally, health, summary, summary_stamp
from node_packages import tab
from oahega_edge.archive.address import connect
from oahega_edge.archive.records import read_record
from oahega_edge.archive.store import Batch, Store
from oahega_edge.insight.report import write_report

pytest.importorskip("duckdb")
from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.lengthy
PAPER = (718, 1047)
"""A4 without its margins of a centimetre, in CSS pixels."""
CONTENTS = (
    "poster-a",
    "a film whose name is longer than a column of a phone is wide",
    "poster_in_whose_name_no_space_is_at_all_so_that_it_cannot_break",
)


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two sites, three weeks, nine hours a day; the devices have been silent since."""
    folder = tmp_path_factory.mktemp("insight")
    address, first = f"duckdb:{folder / 'archive.duckdb'}", datetime(2026, 11, 1, 9, tzinfo=UTC)
    records = []
    for device in ("kiosk-1", "entrance-of-the-museum-of-long-names"):
        for hour in (first + timedelta(hours=24 * day + hour) for day in range(21) for hour in range(9)):
            counts = Tally(40, {"happy": 20, "sad": 20})
            told = summary(
                summary_stamp(device, str(hour)), start=hour, end=hour + timedelta(minutes=50), all=counts,
                lengths=(10, 5, 5, 5, 5, 5, 5), shown=dict.fromkeys(CONTENTS, counts),
            )  # fmt: skip
            topic = f"oahega/v1/{device}/summary"
            records.append(read_record("oahega/v1", topic, told.to_json().encode(), hour))
        known = health().model_copy(update={"device": device})
        records.append(
            read_record("oahega/v1", f"oahega/v1/{device}/health", known.to_json().encode(), first)
        )
    with contextlib.closing(Store(connect(address))) as store:
        store.write(Batch(records))
    return write_report(address, folder / "out", "Europe/Berlin")


@pytest.fixture
def page(chromium: Browser, report: Path) -> Iterator[Page]:
    opened = tab(chromium)
    opened.goto(report.as_uri())
    yield opened
    opened.context.close()


def cut_off(page: Page) -> list[str]:
    """The first words of each table of which a part is hidden."""
    found: list[str] = page.locator(".scroll").evaluate_all(
        "all => all.filter(one => one.scrollWidth > one.clientWidth).map(one => one.innerText.slice(0, 40))"
    )
    return found


@pytest.mark.parametrize("size", [(320, 568), (390, 844), (1280, 900)], ids=str)
def test_nothing_is_cut_off_at_the_side(page: Page, size: tuple[int, int]) -> None:
    page.set_viewport_size({"width": size[0], "height": size[1]})

    assert page.locator("h2").count() > 3
    assert page.evaluate("document.documentElement.scrollWidth") <= size[0]
    assert cut_off(page) == []


def test_a_row_of_a_narrow_table_names_each_of_its_values(page: Page) -> None:
    page.set_viewport_size({"width": 320, "height": 568})
    bare = page.locator("td:visible").evaluate_all(
        "all => all.filter(one => getComputedStyle(one, '::before').content.length < 3)"
        ".map(one => one.innerText)"
    )

    assert page.locator("td:visible").count() > 20
    assert bare == []


def test_paper_has_all_of_it_with_its_colours(page: Page) -> None:
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER[0], "height": PAPER[1]})
    painted = page.locator(".heat i").evaluate_all(
        "cells => cells.filter(cell => getComputedStyle(cell).printColorAdjust == 'exact').length"
    )

    assert page.evaluate("document.documentElement.scrollWidth") <= PAPER[0]
    assert cut_off(page) == []
    assert painted >= 7 * 24
    assert page.pdf(format="A4").startswith(b"%PDF")

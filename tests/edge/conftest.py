from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

from brokers import mosquitto
from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

__all__ = ["mosquitto"]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The distribution's browser."""
    from playwright.sync_api import expect, sync_playwright

    from node_packages import browser

    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=browser(), args=["--no-sandbox"])
        yield started
        started.close()

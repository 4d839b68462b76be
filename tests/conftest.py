"""What all rooms of tests share: the data beside the checkout, a browser, and who pays for a leak."""

from __future__ import annotations

import gc
import getpass
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("OAHEGA_SHARED", ROOT / "../shared"))

LONGEST_BASE = 33
"""Bytes of the folder around those of all tests: some have a socket there, and its address at most 107."""

# A busy machine may be slow at any example.
hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("patient")


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Make a shorter folder where TMPDIR or the user's name is too long for the address of a socket."""
    usual = Path(tempfile.gettempdir()) / f"pytest-of-{getpass.getuser()}" / "pytest-999"
    if config.option.basetemp is None and len(os.fsencode(usual)) > LONGEST_BASE:
        config.option.basetemp = tempfile.mkdtemp(prefix="oahega-", dir="/tmp")
        config.add_cleanup(lambda: shutil.rmtree(config.option.basetemp, ignore_errors=True))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """In several processes the modules that train come first: at the end, one of them would run alone."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("training") is None)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is imported by now stays: the collections after each module need not look at it again."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Tests of real data skip without it, but not where it was promised (`.ci/run`)."""
    if item.get_closest_marker("shared") is None or SHARED.is_dir():
        return
    if os.environ.get("OAHEGA_REQUIRE_SHARED"):
        pytest.fail(f"{SHARED} is absent although OAHEGA_REQUIRE_SHARED is set", pytrace=False)
    pytest.skip(f"{SHARED} is absent")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The data beside the checkout; for tests with the marker `shared`."""
    return SHARED


@pytest.fixture(scope="module", autouse=True)
def leaks_are_charged_here() -> Iterator[None]:
    """What a module leaves open warns as it is collected: at the module's own last test, not in another's."""
    yield
    gc.collect()


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

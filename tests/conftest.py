"""What all rooms of tests share: where the data beside the checkout lies, and what its absence means."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = Path(os.environ.get("OAHEGA_SHARED", ROOT / "../shared"))


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

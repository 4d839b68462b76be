from __future__ import annotations

import os

import pytest

from portability import Margins, use_kernels

use_kernels(os.environ.get("OAHEGA_TEST_KERNELS", "own"))


@pytest.fixture
def margins(request: pytest.FixtureRequest) -> Margins:
    """Asserts what a trained network must do."""
    return Margins(request.node.name)


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that asks for `margins` is `seeded`."""
    for item in items:
        if "margins" in getattr(item, "fixturenames", ()):
            item.add_marker("seeded")

"""What the contract's tests need beside Python: Node with the packages of tests/node, and a browser.

`make node` installs the packages; where OAHEGA_REQUIRE_NODE is set (`.ci/run`), nothing of it may be absent.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from waiting import PATIENCE

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

INSTALLED = Path(__file__).parents[1] / ".cache" / "node" / "node_modules"
os.environ.setdefault("NODE_PATH", str(INSTALLED))


def node(*packages: str) -> str:
    """Node's path, if it finds these packages; else the test is skipped."""
    found = shutil.which("node")
    if found is None:
        _absent("node is not installed (Debian's package nodejs)")
    for package in packages:
        if subprocess.run([str(found), "-e", f"require('{package}')"], capture_output=True).returncode:
            _absent(f"node does not find the package {package} (`make node`)")
    return str(found)


def browser() -> str:
    """Chromium's path, else the test is skipped."""
    return _tool("chromium", "chromium")


def tab(browser: Browser, **wishes: Any) -> Page:
    """A page of a context of its own, which waits for as long as everything in tests does."""
    context = browser.new_context(**wishes)
    context.set_default_timeout(PATIENCE * 1000)
    return context.new_page()


def certutil() -> str:
    """The tool for the browser's certificates, else the test is skipped."""
    return _tool("certutil", "libnss3-tools")


def _tool(name: str, package: str) -> str:
    found = shutil.which(name)
    if found is None:
        _absent(f"{name} is not installed (Debian's package {package})")
    return str(found)


def _absent(what: str) -> None:
    if os.environ.get("OAHEGA_REQUIRE_NODE"):
        pytest.fail(f"{what} although OAHEGA_REQUIRE_NODE is set", pytrace=False)
    pytest.skip(what)

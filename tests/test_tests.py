"""What holds for every test."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parent
OTHER_TEST = re.compile(r"^\s*(?:from|import) [\w.]*\btest_\w+", re.MULTILINE)


def test_no_test_imports_from_another() -> None:
    """What two of them share is a helper module, so that each module can move and run alone."""
    found = {path.name: OTHER_TEST.findall(path.read_text()) for path in TESTS.rglob("*.py")}

    assert {name: lines for name, lines in found.items() if lines} == {}

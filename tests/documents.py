"""The blocks of the documents, for tests that run what the documents say."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SUBSCRIBING = "docs/subscribing.md"


def chapter(page: str, heading: str) -> str:
    """The text below a heading of the second level; with an empty one, what stands before the first."""
    head, *chapters = re.split(r"^## ", (ROOT / page).read_text(encoding="utf-8"), flags=re.MULTILINE)
    bodies = dict(text.split("\n", 1) for text in chapters) | {"": head}
    assert heading in bodies, f"{page} has no chapter {heading}, but {', '.join(bodies)}"
    return bodies[heading]


def blocks(page: str, heading: str, language: str = "sh") -> list[str]:
    """The blocks of a chapter in this language, in their order."""
    text = chapter(page, heading)
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)

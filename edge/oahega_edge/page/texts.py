"""The page in one language: `page.html` with the texts of one file in `texts/`."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

STATIC = Path(__file__).parent / "static"
TEXTS = Path(__file__).parent / "texts"
USUAL = "en"


@cache
def languages() -> Mapping[str, Mapping[str, str]]:
    """Code of the language -> its texts."""
    files = sorted(TEXTS.glob("*.json"))
    return {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in files}


def chosen(wish: str | None, accepted: str) -> str:
    """The language of the link that was followed, else the first known one of an Accept-Language header."""
    if wish in languages():
        return str(wish)
    for part in accepted.split(","):
        code = part.split(";")[0].strip().lower().split("-")[0]
        if code in languages():
            return code
    return USUAL


def filled(template: str, language: str, values: Mapping[str, str]) -> str:
    """The template with `{{key}}` replaced by the language's text or the value, both escaped."""
    texts = {**languages()[language], **values, "language": language}
    own = html.escape(json.dumps(languages()[language], ensure_ascii=False), quote=True)

    def text(match: re.Match[str]) -> str:
        return own if match[1] == "texts" else html.escape(texts[match[1]], quote=True)

    return re.sub(r"\{\{(\w+)\}\}", text, template)

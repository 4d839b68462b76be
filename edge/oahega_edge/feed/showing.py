"""What the screen beside the device shows now, as its page or a program says."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

LONGEST = 64
"""Characters of a content's name."""
EXPECTED = f"expected up to {LONGEST} printable characters without a space at either end, e.g. poster-7"


class Screen:
    """Holds the name of the content. Any thread may read and set it."""

    def __init__(self, wall: Callable[[], datetime]) -> None:
        self._wall = wall
        self._now: tuple[str | None, datetime] = None, wall()

    @property
    def now(self) -> tuple[str | None, datetime]:
        """The name and since when it holds, UTC."""
        return self._now

    @property
    def current(self) -> str | None:
        """The name; None while nothing is known."""
        return self._now[0]

    def show(self, content: object) -> None:
        """This is shown from now on; None or an empty text: nothing. ValueError for what is no name."""
        name = checked(content)
        if name != self.current:
            self._now = name, self._wall()


def checked(content: object) -> str | None:
    """The name of a content, None for nothing; ValueError for what is no name."""
    if content is None or content == "":
        return None
    if not isinstance(content, str) or len(content) > LONGEST:
        raise ValueError(EXPECTED)
    if not content.isprintable() or content != content.strip():
        raise ValueError(EXPECTED)
    return content

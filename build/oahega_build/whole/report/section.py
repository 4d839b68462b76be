"""What a section of the page is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from oahega_build.whole.report.runs import Run, Runs


@dataclass(frozen=True, slots=True)
class Section:
    """One heading of the page."""

    title: str
    template: str
    """Its name; it gets `parts`."""
    parts: Callable[[Runs], Sequence[Any]]
    """What the template shows, mostly one thing per run; nothing leaves the section out."""

    @property
    def anchor(self) -> str:
        """For links inside the page."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass(frozen=True, slots=True)
class Part:
    """One run in a section; enough for most of them."""

    run: Run
    figures: Any
    """Of its `metrics.json`."""
    rows: Sequence[Sequence[object]]
    """Of its table."""
    panels: Sequence[Markup] = ()

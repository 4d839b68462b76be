"""Values as the page's tables and sentences show them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

DASH = "–"
"""For what was not measured, or cannot be."""


@dataclass(frozen=True, slots=True)
class Noted:
    """A figure with a smaller note below it."""

    value: float
    note: str

    def __html__(self) -> Markup:
        return Markup("{}<small>{}</small>").format(number(self.value), self.note)


@dataclass(frozen=True, slots=True)
class Keyed:
    """A name with the colour that it has in the figures beside the table."""

    name: str
    colour: str

    def __html__(self) -> Markup:
        return Markup('<i class="key" style="background:{}"></i>{}').format(self.colour, self.name)


def interval(figure: Any) -> Noted:
    """A figure with its confidence interval, from {value, low, high} or [value, low, high]."""
    value, low, high = figure.values() if isinstance(figure, Mapping) else figure
    return Noted(value, f"{low:.2f}–{high:.2f}")


def cell(value: object) -> Markup:
    """A value as it stands in a table."""
    return escape(number(value) if value is None or isinstance(value, float) else value)


def number(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None or not math.isfinite(value) else f"{value:.3f}"


def short(value: object) -> str:
    """Three significant digits."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def size(count: float) -> str:
    """Bytes for people."""
    for least, text in (
        (1e6, f"{count / 1e6:.2f} MB"),
        (1e4, f"{count / 1e3:.0f} kB"),
        (1e3, f"{count / 1e3:.1f} kB"),
    ):
        if count >= least:
            return text
    return f"{count:.0f} B"


def counted(count: int, noun: str) -> str:
    """`1 problem`, `2 problems`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def text_columns(rows: Sequence[Sequence[object]]) -> list[bool]:
    """Which columns hold words, which are aligned left, unlike figures and sizes."""
    return [all(_is_words(value) for value in column) for column in zip(*rows, strict=True)]


def _is_words(value: object) -> bool:
    return isinstance(value, Keyed) or (isinstance(value, str) and value[:1].isalpha())

"""Words drawn onto pictures.

OpenCV's own letters are ASCII. For others, Pillow and a font of the system are used if they are there.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np

from oahega_edge.chain.frame import Pixels

FONTS = (
    "DejaVuSans.ttf",
    "NotoSans-Regular.ttf",
    "NotoSansCJK-Regular.ttc",
    "FreeSans.ttf",
    "Arial Unicode.ttf",
    "arial.ttf",
)
"""Looked for in this order where the system keeps its fonts."""
INK, PAPER = (255, 255, 255), (24, 24, 27)
_PLAIN = cv2.FONT_HERSHEY_SIMPLEX
_HEIGHT = 31
"""Pixels of a font's size that look like OpenCV's letters at the scale 1."""


def width_of(text: str, scale: float) -> int:
    """Pixels of a text as `write` draws it."""
    font = _font_for(text, round(_HEIGHT * scale))
    if font is not None:
        return int(font.getlength(text)) + 3
    (width, _), _ = cv2.getTextSize(spelled(text), _PLAIN, scale, _thickness(scale) + 2)
    return width


def write(canvas: Pixels, text: str, at: tuple[int, int], scale: float) -> None:
    """Draw a text with its base line's left end at (x, y)."""
    font = _font_for(text, round(_HEIGHT * scale))
    if font is not None:
        _write_with(font, canvas, text, at)
        return
    for colour, more in ((PAPER, 2), (INK, 0)):
        thickness = _thickness(scale) + more
        cv2.putText(canvas, spelled(text), at, _PLAIN, scale, colour, thickness, cv2.LINE_AA)


def _thickness(scale: float) -> int:
    return max(1, round(1.95 * scale))


def _write_with(font: Any, canvas: Pixels, text: str, at: tuple[int, int]) -> None:
    from PIL import Image, ImageDraw

    picture = Image.fromarray(canvas)
    ImageDraw.Draw(picture).text(
        at, text, fill=INK, font=font, anchor="ls", stroke_width=1, stroke_fill=PAPER
    )
    canvas[:] = np.asarray(picture)


def _font_for(text: str, size: int) -> Any:
    """A font that has all letters of a text; None for ASCII, and where there is none."""
    return None if text.isascii() else _found(frozenset(text), max(size, 1))


@cache
def _found(letters: frozenset[str], size: int) -> Any:
    try:
        from PIL import ImageFont
    except ImportError:
        return None
    for name in FONTS:
        try:
            font = ImageFont.truetype(name, size)
        except OSError:
            continue
        if _has(font, sorted(letters)):
            return font
    return None


def _has(font: Any, letters: Sequence[str]) -> bool:
    """A letter that a font lacks is drawn like one that no font has."""
    absent = bytes(font.getmask("\U0010ffff"))
    return all(letter.isspace() or bytes(font.getmask(letter)) != absent for letter in letters)


def spelled(text: str) -> str:
    """In ASCII: letters without their marks; of other scripts, the number of each letter in Unicode."""
    plain = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    letters = [letter for letter in plain if not unicodedata.combining(letter)]
    return "".join(letter if letter.isascii() else f"<{ord(letter):x}>" for letter in letters)

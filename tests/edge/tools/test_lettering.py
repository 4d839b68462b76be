"""Labels may be words of any script, and annotated pictures show them."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from oahega_edge.tools.lettering import FONTS, spelled, width_of, write


def ink_of(text: str) -> np.ndarray:
    canvas = np.full((60, 400, 3), 128, np.uint8)
    write(canvas, text, (10, 40), 1.0)
    return (canvas != 128).any(axis=2)


def has_font() -> bool:
    for name in FONTS:
        try:
            ImageFont.truetype(name, 20)
        except OSError:
            continue
        return True
    return False


@pytest.mark.parametrize("text", ["happy", "überrascht", "радість"])
def test_a_text_is_drawn_at_its_base_line_and_as_wide_as_said(text: str) -> None:
    ink = ink_of(text)

    columns = np.flatnonzero(ink.any(axis=0))
    rows = np.flatnonzero(ink.any(axis=1))
    assert 5 <= columns[0] <= 15
    assert abs(int(columns[-1]) - 10 - width_of(text, 1.0)) <= 8
    assert rows[-1] < 55


@pytest.mark.skipif(not has_font(), reason="no font on this machine")
@pytest.mark.parametrize(("one", "other"), [("радість", "смуток!"), ("χαρά", "λύπη"), ("größe", "große")])
def test_words_of_another_script_are_told_apart(one: str, other: str) -> None:
    assert (ink_of(one) != ink_of(other)).any()
    assert width_of(one, 1.0) < 200, "letters, no question marks and no numbers"


def test_without_a_font_letters_lose_their_marks_and_others_are_given_by_number() -> None:
    assert spelled("überrascht") == "uberrascht"
    assert spelled("größe") == "grosse"
    assert spelled("сум") == "<441><443><43c>"
    assert "?" not in spelled("喜び")

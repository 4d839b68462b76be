"""What the screen shows, as the page and programs beside it say."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from oahega_edge.feed.showing import LONGEST, Screen


def screen() -> Screen:
    return Screen(lambda: datetime(2026, 11, 24, tzinfo=UTC))


@pytest.mark.parametrize("content", ["poster-7", "Winter sale: -20 %", "плакат 7", "x" * LONGEST])
def test_a_name_of_any_script_is_kept(content: str) -> None:
    shown = screen()
    shown.show(content)

    assert shown.current == content


@pytest.mark.parametrize("nothing", ["", None])
def test_nothing_is_shown_at_first_and_may_be_said(nothing: str | None) -> None:
    shown = screen()
    assert shown.current is None
    shown.show("poster-7")
    shown.show(nothing)

    assert shown.current is None


@pytest.mark.parametrize(
    "content",
    [
        *(
            "x" * (LONGEST + 1),
            " poster",
            "poster ",
            " ",
            "a\nb",
            "a\0b",
            "\x1b[2J",
            "\u202eretsop",
            "\ud800",
        ),
        *(7, True, ["poster-7"], {"content": "poster-7"}, b"poster-7"),
    ],
)
def test_what_is_no_name_is_refused_and_changes_nothing(content: object) -> None:
    shown = screen()
    shown.show("poster-7")

    with pytest.raises(ValueError, match="expected up to 64 printable characters"):
        shown.show(content)
    assert shown.current == "poster-7"


def test_the_same_again_is_no_change() -> None:
    moments = iter([datetime(2026, 11, 24, hour, tzinfo=UTC) for hour in range(9)])
    shown = Screen(lambda: next(moments))
    shown.show("poster-7")
    before = shown.now
    shown.show("poster-7")

    assert shown.now == before

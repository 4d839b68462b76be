"""The page on which the operator looks at samples."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from edge.samples.giving import png
from mini_bundle import make_bundle
from oahega_build.samples.review import THROWN
from oahega_build.samples.suspicion import suspect, suspects
from training.samples.reviewing import NAMES, Review, entry, new_book, reviewing


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    with reviewing(tmp_path_factory.mktemp("review")) as page:
        page.enter()
        yield page


def test_the_greatest_doubt_comes_first_and_what_was_looked_at_last(tmp_path: Path) -> None:
    book = new_book(tmp_path / "opened")
    book.judge(NAMES[0], "happy")

    found = suspects(book, make_bundle(tmp_path / "tiny"))

    assert found[-1].name == NAMES[0]
    doubts = [one.doubt for one in found[:-1]]
    assert doubts == sorted(doubts, reverse=True)


def test_doubt_is_how_much_surer_the_bundle_is_of_another_label() -> None:
    shares = {"happy": 0.7, "neutral": 0.2, "sad": 0.1}

    assert suspect("a", entry("happy"), shares).doubt == pytest.approx(-0.5)
    assert suspect("a", entry("sad"), shares).doubt == pytest.approx(0.6)
    assert suspect("a", entry("bored"), shares).doubt == pytest.approx(0.7)
    assert suspect("a", entry("sad"), shares).answer == "happy"


def test_a_sample_is_confirmed_corrected_and_thrown_away(review: Review) -> None:
    confirmed, corrected, thrown = NAMES[:3]

    assert review.judge(confirmed, "happy") == 204
    assert review.judge(corrected, "sad") == 204
    assert review.judge(thrown, THROWN) == 204

    files = {str(file.relative_to(review.folder)) for file in review.folder.rglob("*.png")}
    assert files >= {f"happy/{confirmed}.png", f"sad/{corrected}.png"}
    assert not any(thrown in file for file in files)
    listed = json.loads(review.request("GET", "/samples")[2])["samples"]
    reviewed = {row["name"] for row in listed if row["reviewed"]}
    assert reviewed >= {confirmed, corrected}
    assert thrown not in {row["name"] for row in listed}
    assert review.request("GET", f"/picture/{thrown}")[0] == 404
    assert review.request("GET", f"/picture/{corrected}")[2] == png(1)


@pytest.mark.parametrize(
    ("name", "label", "status"),
    [
        (NAMES[3], "../evil", 400),
        (NAMES[3], None, 400),
        (NAMES[3], [], 400),
        ("../../etc/passwd", "sad", 404),
        (["a"], "sad", 404),
        (None, "sad", 404),
    ],
)
def test_what_makes_no_sense_changes_nothing(
    name: object, label: object, status: int, review: Review
) -> None:
    before = sorted(review.folder.rglob("*.png"))

    assert review.judge(name, label) == status

    assert sorted(review.folder.rglob("*.png")) == before


def test_nobody_else_sees_or_changes_anything(review: Review) -> None:
    stranger = Review(review.folder, review.port)
    for path in ("/", "/samples", f"/picture/{NAMES[3]}", "/enter", "/enter?token=wrong"):
        assert stranger.request("GET", path)[0] in (303, 401, 403)
    assert review.request("POST", "/judge", {}, Origin="http://evil.example")[0] == 403
    assert review.request("GET", "/samples", Host="evil.example")[0] == 421


def test_no_browser_keeps_a_picture_and_nothing_foreign_is_loaded(review: Review) -> None:
    for path in (f"/picture/{NAMES[3]}", "/", "/review.js", "/review.css"):
        status, headers, content = review.request("GET", path)

        assert status == 200
        assert headers["Cache-Control"] == "no-store"
        assert b"https://" not in content

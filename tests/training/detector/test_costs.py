from __future__ import annotations

import numpy as np
import pytest

from oahega_build.detector.costs import Cost, Looked, as_cheap, choose, look, share_right, tracks, views_of
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

FACE, WALL = Box(0.1, 0.1, 0.3, 0.4), Box(0.6, 0.5, 0.8, 0.9)


def seen(box: Box, *scores: float) -> list[list[Detection]]:
    """One view for each score, slightly moved."""
    return [
        [Detection("face", Box(box.left + 0.01 * i, box.top, box.right + 0.01 * i, box.bottom), score)]
        for i, score in enumerate(scores)
    ]


def both(*views: list[list[Detection]]) -> list[list[Detection]]:
    return [[d for view in of for d in view] for of in zip(*views, strict=True)]


def test_what_one_view_alone_shows_is_no_track() -> None:
    assert tracks(seen(FACE, 0.9, 0.2, 0.3), 0.5) == []
    assert len(tracks(seen(FACE, 0.9, 0.2, 0.6), 0.5)) == 1
    assert len(tracks(both(seen(FACE, 0.9, 0.9, 0.9), seen(WALL, 0.8, 0.8, 0.8)), 0.5)) == 2


def test_the_cheapest_score_weighs_missed_faces_against_false_ones() -> None:
    """A face at .45, another at .8 beside a false one at .5: who minds false ones takes a higher score."""
    people = [
        Looked([FACE], [], seen(FACE, 0.45, 0.45, 0.45)),
        Looked([FACE], [], both(seen(FACE, 0.8, 0.8, 0.8), seen(WALL, 0.5, 0.5, 0.5))),
    ]

    careless = choose(people, [], (0.4, 0.6), Cost(false=0.5))
    careful = choose(people, [], (0.4, 0.6), Cost(false=2.0))

    assert careless[0].score == 0.4
    assert careless[0].recall == 1.0
    assert careless[0].precision == pytest.approx(2 / 3)
    assert careful[0].score == 0.6
    assert careful[0].cost == pytest.approx(0.5)


def test_a_track_where_nobody_is_costs_most() -> None:
    people = [Looked([FACE], [], seen(FACE, 0.5, 0.5, 0.5))]
    nobody = [Looked([], [], seen(WALL, 0.55, 0.55, 0.55)), Looked([], [], [[], [], []])]

    best, other = choose(people, nobody, (0.4, 0.6), Cost())

    assert (best.score, best.false_alone) == (0.6, 0.0)
    assert (other.score, other.false_alone) == (0.4, 0.5)


def test_what_is_too_small_to_ask_for_is_neither_missed_nor_false() -> None:
    picture = Looked([FACE], [WALL], both(seen(FACE, 0.9, 0.9, 0.9), seen(WALL, 0.9, 0.9, 0.9)))

    (choice,) = choose([picture], [], (0.5,), Cost())

    assert (choice.recall, choice.precision, choice.cost) == (1.0, 1.0, 0.0)


def test_views_are_the_picture_and_small_changes_of_it() -> None:
    pixels = np.full((60, 80, 3), 120, np.uint8)

    made = list(views_of(pixels, np.random.default_rng(1)))
    looked = look([(pixels, [FACE], [])], lambda view: [Detection("face", FACE, 0.7)], "face")

    assert np.array_equal(made[0], pixels)
    assert all(view.shape == pixels.shape and abs(float(view.mean()) - 120) < 12 for view in made)
    assert len(looked[0].views) == 3
    assert looked[0].views[2] == [Detection("face", FACE, 0.7)]


def test_of_scores_that_cost_the_same_within_their_error_the_middle_one_is_taken() -> None:
    """At .4 two of 20 faces more are found beside one false track; at .2 there are many false ones."""
    plain = [Looked([FACE], [], both(seen(FACE, 0.9, 0.9, 0.9), seen(WALL, 0.3, 0.3, 0.3)))] * 17
    late = [Looked([FACE], [], seen(FACE, 0.45, 0.45, 0.45))] * 2
    false = [Looked([FACE], [], both(seen(FACE, 0.9, 0.9, 0.9), seen(WALL, 0.5, 0.5, 0.5)))]

    choices = choose([*plain, *late, *false], [], (0.2, 0.4, 0.6), Cost(false=3.0))
    more = choose([*plain, *late, *false], [], (0.2, 0.4, 0.42, 0.44, 0.6), Cost(false=3.0))

    assert [choice.score for choice in choices] == [0.6, 0.4, 0.2]
    assert [choice.cost for choice in choices] == pytest.approx([0.1, 0.15, 2.7])
    assert choices[0].error == 0
    assert choices[1].error == pytest.approx(np.sqrt(20 * np.var([0] * 17 + [-1, -1, 3])) / 20)
    assert as_cheap(choices).score == 0.4
    assert as_cheap(more).score == 0.42
    assert as_cheap(more, before=0.5).score == 0.44
    assert as_cheap(more, before=0.1).score == 0.4
    assert as_cheap(choices[:1]).score == 0.6


def test_the_share_that_is_right_is_of_single_pictures_at_half_overlap() -> None:
    there = [Box(0.1, 0.1, 0.3, 0.5), Box(0.6, 0.1, 0.8, 0.5)]
    ignored = [Box(0.4, 0.8, 0.5, 0.9)]
    found = [
        Detection("face", there[0], 0.9),
        Detection("face", there[0], 0.8),  # a second one of the same thing
        Detection("face", ignored[0], 0.7),
        Detection("face", Box(0.6, 0.1, 0.8, 0.25), 0.6),  # less than half of it
        Detection("face", there[1], 0.5),
    ]
    picture = Looked(there, ignored, [found, [], []])

    assert share_right([picture], "face", 0.85) == 1
    assert share_right([picture], "face", 0.65) == 1 / 2
    assert share_right([picture], "face", 0.55) == 1 / 3
    assert share_right([picture], "face", 0.45) == 2 / 4
    assert share_right([picture], "face", 0.95) == 1

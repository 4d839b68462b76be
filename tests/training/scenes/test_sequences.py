"""Sequences whose truth is known: the same from the same seed, and as their kind promises."""

from itertools import islice, pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from oahega_build.errors import DataError
from oahega_build.pictures.dataset import Sample
from oahega_build.scenes.render import face_box, render, truths_at
from oahega_build.scenes.sequences import (
    FPS,
    HEIGHT,
    KINDS,
    LEVELS,
    WIDTH,
    Scenery,
    make_scenery,
    plan_scenario,
    plan_scenarios,
)

LABELS = ("happy", "neutral", "sad")
LOW, _, HIGH = LEVELS


def drawn(label: int, number: int) -> Sample:
    rng = np.random.default_rng([label, number])
    pixels = rng.integers(0, 256, (48, 48), np.uint8)
    return Sample(f"train/{LABELS[label]}/{number}.png", label, np.eye(3, dtype=np.float32)[label], pixels)


@pytest.fixture
def scenery(tmp_path: Path) -> Scenery:
    for i in range(3):
        cv2.imwrite(str(tmp_path / f"{i}.png"), np.full((300, 400, 3), 60 * (i + 1), np.uint8))
    return make_scenery([drawn(label, i) for label in range(3) for i in range(9)], LABELS, tmp_path)


def test_a_seed_gives_the_same_sequence_twice(scenery: Scenery) -> None:
    once, again = (
        list(islice(render(plan_scenario(scenery, 7, 2, 4.0), scenery, HIGH), 10)) for _ in range(2)
    )

    assert all(np.array_equal(a.frame.pixels, b.frame.pixels) for a, b in zip(once, again, strict=True))
    assert [frame.truths for frame in once] == [frame.truths for frame in again]


def test_another_seed_gives_another_sequence(scenery: Scenery) -> None:
    assert plan_scenario(scenery, 7, 0, 10.0).people != plan_scenario(scenery, 8, 0, 10.0).people


def test_noise_levels_show_the_same_people_and_expressions(scenery: Scenery) -> None:
    scenario = plan_scenario(scenery, 7, 1, 2.0)

    low, high = list(render(scenario, scenery, LOW)), list(render(scenario, scenery, HIGH))

    assert [frame.truths for frame in low] == [frame.truths for frame in high]
    assert not np.array_equal(low[0].frame.pixels, high[0].frame.pixels)


def test_frames_are_what_a_camera_gives(scenery: Scenery) -> None:
    frames = [labelled.frame for labelled in render(plan_scenario(scenery, 7, 0, 2.0), scenery, LOW)]

    assert {(frame.width, frame.height) for frame in frames} == {(WIDTH, HEIGHT)}
    assert [frame.sequence for frame in frames] == list(range(2 * FPS))
    assert np.allclose(np.diff([frame.captured_at for frame in frames]), 1 / FPS)


def test_an_expression_lasts_two_to_five_seconds_and_is_made_of_several_stills(scenery: Scenery) -> None:
    shots = [person.shots for plan in plan_scenarios(scenery, 7, 12, 60.0) for person in plan.people]
    for of_person in shots:
        starts = [s.start for i, s in enumerate(of_person) if i == 0 or s.label != of_person[i - 1].label]
        lengths = np.diff(starts)
        assert lengths.min() >= 2
        assert lengths.max() <= 5
    stills_per_expression = len([s for p in shots for s in p]) / sum(
        1 + sum(a.label != b.label for a, b in pairwise(p)) for p in shots
    )
    assert stills_per_expression > 3


def test_faces_are_40_to_200_pixels_high(scenery: Scenery) -> None:
    heights = [
        person.place(t)[2]
        for plan in plan_scenarios(scenery, 7, 30, 10.0)
        for person in plan.people
        for t in np.arange(0, 10, 0.25)
    ]

    assert min(heights) >= 40
    assert max(heights) <= 200


def test_two_who_cross_change_sides(scenery: Scenery) -> None:
    plan = plan_scenario(scenery, 7, KINDS.index("cross"), 12.0)
    first, second = plan.people

    order = {first.place(t)[0] < second.place(t)[0] for t in np.arange(0, 12, 0.1)}

    assert order == {True, False}


def test_whoever_leaves_is_away_and_comes_back(scenery: Scenery) -> None:
    plan = plan_scenario(scenery, 7, KINDS.index("leave"), 20.0)

    present = [any(t.person == 0 for t in truths_at(plan, i / FPS)) for i in range(20 * FPS)]

    changes = np.flatnonzero(np.diff(present)).tolist()
    assert present[0]
    assert present[-1]
    assert len(changes) == 2


def test_whoever_swaps_stands_where_the_other_stood(scenery: Scenery) -> None:
    plan = plan_scenario(scenery, 7, KINDS.index("swap"), 20.0)

    begin, middle = truths_at(plan, 2.0), truths_at(plan, 12.0)

    assert [t.person for t in begin] == [0]
    assert [t.person for t in middle] == [1]
    assert begin[0].box.iou(middle[0].box) > 0.3


def test_a_covered_face_is_not_visible_and_a_bare_one_is(scenery: Scenery) -> None:
    person = next(p for i in range(20) for p in plan_scenario(scenery, 7, 6 * i, 20.0).people if p.hidden)
    plan = next(s for i in range(20) if person in (s := plan_scenario(scenery, 7, 6 * i, 20.0)).people)
    start, end = person.hidden[0]

    before, during = truths_at(plan, start - 0.1), truths_at(plan, (start + end) / 2)

    assert before[0].visible
    assert not during[0].visible
    assert 0.3 <= end - start <= 0.8


def test_the_drawn_face_lies_where_the_truth_says(scenery: Scenery) -> None:
    plan = plan_scenario(scenery, 7, 0, 2.0)
    labelled = next(iter(render(plan, scenery, LOW)))
    background = float(labelled.frame.pixels[:5].mean())

    strange = np.abs(labelled.frame.pixels.astype(float).mean(axis=2) - background) > 25

    ys, xs = np.nonzero(strange)
    box = face_box(plan.people[0], 0.0)
    assert xs.mean() / WIDTH == pytest.approx(box.center[0], abs=0.02)
    assert ys.mean() / HEIGHT == pytest.approx(box.center[1], abs=0.02)


def test_a_class_without_pictures_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sad"):
        make_scenery([drawn(0, 0), drawn(1, 0)], LABELS, tmp_path)

"""Reported visits beside true ones, on sequences whose truth is known."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from oahega_build.scenes.chain import device_settings
from oahega_build.scenes.sequences import Truth
from oahega_build.scenes.video.methods import Device
from oahega_build.scenes.video.records import Face, Moment, Recording
from oahega_build.scenes.video.visits import (
    Compared,
    Visited,
    VisitFigures,
    as_lines,
    by_level,
    visit_figures,
    visited,
)
from oahega_edge.bundles.load import DEFAULT_BUNDLE
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box
from oahega_edge.visits.visit import Visit

LABELS = ("happy", "sad")
FPS = 10
LEFT, RIGHT = Box(0.1, 0.2, 0.3, 0.5), Box(0.6, 0.2, 0.8, 0.5)
SCORES = (np.array([0.95, 0.05]), np.array([0.05, 0.95]))
UNCLEAR = np.array([0.5, 0.5])


@dataclass(frozen=True, slots=True)
class Spell:
    """A face in one place for some seconds; `person` None: the detector is wrong."""

    start: float
    end: float
    box: Box = LEFT
    person: int | None = 0
    label: int = 0
    visible: bool = True
    found: bool = True
    scores: np.ndarray | None = None


def film(*spells: Spell, level: str = "low") -> Recording:
    """One moment per frame until the last spell ends and two seconds more."""
    frames = round((max(spell.end for spell in spells) + 2) * FPS)
    return Recording("film", level, LABELS, tuple(_moment(i / FPS, spells) for i in range(frames)))


def _moment(time: float, spells: Sequence[Spell]) -> Moment:
    now = [spell for spell in spells if spell.start <= time < spell.end]
    faces = tuple(
        Face(
            Detection("face", spell.box, 0.9),
            100.0,
            50.0,
            (SCORES[spell.label] if spell.scores is None else spell.scores,) * 2,
        )
        for spell in now
        if spell.found
    )
    truths = tuple(
        Truth(spell.person, spell.box, spell.label, spell.visible)
        for spell in now
        if spell.person is not None
    )
    return Moment(time, faces, truths)


@pytest.fixture(scope="module")
def device() -> Device:
    settings = device_settings(DEFAULT_BUNDLE, ("smoothing.frames=1", "smoothing.lapse=0.0"))
    return Device(settings, LABELS)


def figures(device: Device, *spells: Spell) -> VisitFigures:
    return visit_figures([visited(film(*spells), device)], LABELS)


def test_a_person_who_is_always_found_is_one_visit_of_the_true_length(device: Device) -> None:
    made = figures(device, Spell(0, 10), Spell(10, 20, label=1))

    assert (made.true, made.reported, made.missed, made.broken, made.of_nobody) == (1, 1, 0, 0, 0)
    assert made.mean_s == pytest.approx(19.9)
    assert made.error_s == pytest.approx(-0.1)  # a face counts from its second detection
    assert made.absolute_error_s == made.absolute_error_p90_s == pytest.approx(0.1)
    assert made.shares == pytest.approx({"happy": 0.5, "sad": 0.5}, abs=0.01)
    assert made.share_error < 0.05


def test_the_expression_that_was_shown_longest_is_compared(device: Device) -> None:
    right = figures(device, Spell(0, 12), Spell(12, 15, label=1))
    wrong = figures(device, Spell(0, 12, label=1, scores=SCORES[0]), Spell(12, 15, label=1))

    assert (right.dominant_right, wrong.dominant_right) == (1, 0)
    assert right.share_error < 0.05
    assert wrong.share_error == pytest.approx(0.8, abs=0.05)  # 12 of 15 seconds, of either label


def test_people_at_the_same_time_are_a_visit_each(device: Device) -> None:
    one = visited(film(Spell(0, 12), Spell(3, 8, RIGHT, person=1, label=1)), device)

    assert [len(each.reported) for each in one.compared] == [1, 1]
    assert [each.true.seen for each in one.compared] == pytest.approx([11.9, 4.9])
    assert [each.reported[0].seen for each in one.compared] == pytest.approx([11.8, 4.8])
    assert [each.reported[0].dominant for each in one.compared] == ["happy", "sad"]


def test_who_leaves_and_comes_back_is_two_visits(device: Device) -> None:
    made = figures(device, Spell(0, 5), Spell(9, 15, label=1))

    assert (made.true, made.reported, made.broken) == (2, 2, 0)
    assert made.mean_s == pytest.approx((4.9 + 5.9) / 2)


@pytest.mark.parametrize("gap", [0.3, 0.8])
def test_who_is_covered_for_a_moment_is_one_visit(device: Device, gap: float) -> None:
    made = figures(device, Spell(0, 5), Spell(5, 5 + gap, visible=False, found=False), Spell(5 + gap, 10))

    assert (made.true, made.reported) == (1, 1)
    assert made.error_s == pytest.approx(-0.1)


def test_a_visit_whose_face_is_not_found_for_a_while_is_broken(device: Device) -> None:
    made = figures(device, Spell(0, 4), Spell(4, 7, found=False), Spell(7, 17))

    assert (made.true, made.reported, made.broken, made.per_visit) == (1, 2, 1, 2)
    assert made.error_s == pytest.approx(9.8 - 16.9)


def test_what_the_detector_takes_for_a_face_is_a_visit_of_nobody(device: Device) -> None:
    made = figures(device, Spell(0, 10), Spell(2, 5, RIGHT, person=None))

    assert (made.true, made.reported, made.of_nobody, made.per_visit) == (1, 2, 1, 1)
    assert made.reported_mean_s == pytest.approx((9.8 + 2.8) / 2)


def test_a_person_who_is_never_found_is_missed(device: Device) -> None:
    made = figures(device, Spell(0, 10, found=False))

    assert (made.true, made.reported, made.missed, made.per_visit) == (1, 0, 1, 0)
    assert math.isnan(made.error_s)
    assert made.reported_shares == {}


def test_nobody_at_all_is_no_visit(device: Device) -> None:
    empty = Recording("film", "low", LABELS, tuple(Moment(i / FPS, (), ()) for i in range(20)))

    made = visit_figures([visited(empty, device)], LABELS)

    assert (made.true, made.reported) == (0, 0)
    assert math.isnan(made.per_visit)


def test_a_visit_without_an_expression_has_a_length_and_no_shares(device: Device) -> None:
    made = figures(device, Spell(0, 10, scores=UNCLEAR))

    assert made.error_s == pytest.approx(-0.1)
    assert math.isnan(made.share_error)


def test_errors_are_of_the_longest_reported_visit_and_shares_weigh_by_time() -> None:
    def visit(seen: float, **shares: float) -> Visit:
        return Visit(seen, seen if shares else 0.0, shares, 0.3)

    sequence = Visited(
        [
            Compared(visit(10, happy=1.0), [visit(2, sad=1.0), visit(9, happy=1.0)]),
            Compared(visit(20, happy=0.5, sad=0.5), [visit(23, happy=0.7, sad=0.3)]),
            Compared(visit(5, sad=1.0), [visit(5)]),
            Compared(visit(5, sad=1.0), []),
        ],
        [visit(1, happy=1.0)],
    )

    made = visit_figures([sequence], LABELS)

    assert (made.true, made.reported, made.missed, made.broken, made.of_nobody) == (4, 5, 1, 1, 1)
    assert (made.error_s, made.absolute_error_s) == (0.0, 1.0)  # -1, 3 and 0
    assert made.absolute_error_p90_s == pytest.approx(2.6)
    assert made.share_error == pytest.approx((0 + 0.2) / 2)
    assert made.shares == pytest.approx({"happy": 20 / 40, "sad": 20 / 40})
    assert made.reported_shares == pytest.approx({"happy": (9 + 16.1 + 1) / 35, "sad": (2 + 6.9) / 35})


def test_the_table_has_a_line_for_all_noise_levels_together_and_for_each(device: Device) -> None:
    records = [film(Spell(0, 6), level="low"), film(Spell(0, 6), level="high")]

    levels = by_level(records, device)

    assert {name: made.true for name, made in levels.items()} == {"all": 2, "low": 1, "high": 1}
    lines = as_lines(levels)
    assert [line.split()[0] for line in lines[2:5]] == ["all", "low", "high"]
    assert lines[-1] == "share of time by expression, reported (true): happy 1.000 (1.000), sad 0.000 (0.000)"

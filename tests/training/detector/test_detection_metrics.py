from __future__ import annotations

import math

import pytest

from oahega_build.detector.metrics import MatchCollector
from oahega_build.pictures.readers import LabelledBox
from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box

LEFT, RIGHT, FAR = Box(0.0, 0.0, 0.2, 0.2), Box(0.5, 0.0, 0.7, 0.2), Box(0.5, 0.5, 0.9, 0.95)


def face(box: Box, ignore: bool = False) -> LabelledBox:
    return LabelledBox("face", box, ignore)


def found(box: Box, score: float, label: str = "face") -> Detection:
    return Detection(label, box, score)


def test_average_precision_is_the_area_under_the_monotonous_curve() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9), found(FAR, 0.8), found(RIGHT, 0.7)], [face(LEFT), face(RIGHT)])

    matches = matching.matches()

    # Precision 1, 1/2, 2/3 at recall 1/2, 1/2, 1; made monotonous: 1 then 2/3.
    assert matches.average_precision() == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert matches.precision == pytest.approx(2 / 3)
    assert matches.at(0.85).recall == pytest.approx(0.5)


def test_a_second_detection_of_one_face_is_a_false_alarm() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9), found(LEFT, 0.8)], [face(LEFT)])

    matches = matching.matches()

    assert matches.right.tolist() == [True, False]
    assert matches.false_alarms == 1


def test_other_labels_do_not_enter() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9, "person")], [face(LEFT), LabelledBox("person", RIGHT)])

    matches = matching.matches()

    assert (len(matches.scores), len(matches.truth_heights)) == (0, 1)


@pytest.mark.parametrize(("use_ignore", "alarms"), [(True, 0), (False, 1)])
def test_what_is_found_in_an_ignore_region_counts_only_when_asked(use_ignore: bool, alarms: int) -> None:
    matching = MatchCollector("face", use_ignore=use_ignore)
    matching.add([found(LEFT, 0.9)], [face(LEFT, ignore=True)])

    matches = matching.matches()

    assert int((~matches.right).sum()) == alarms
    assert len(matches.truth_heights) == 0


def test_recall_is_told_by_height() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9)], [face(LEFT), face(FAR)])

    matches = matching.matches()

    assert matches.recall_of_size(0.1, 0.25) == (1.0, 1)
    assert matches.recall_of_size(0.25, 9) == (0.0, 1)
    assert math.isnan(matches.recall_of_size(0.0, 0.1)[0])


def test_recall_at_false_alarms_stops_before_one_too_many() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9), found(FAR, 0.8)], [face(LEFT)])
    matching.add([found(RIGHT, 0.7), found(FAR, 0.6)], [face(RIGHT)])

    matches = matching.matches()

    assert matches.recall_at_false_alarms(0.1) == 0.5
    assert matches.recall_at_false_alarms(0.5) == 1.0


def test_the_lowest_score_of_a_precision_is_found() -> None:
    matching = MatchCollector("face")
    matching.add([found(LEFT, 0.9), found(RIGHT, 0.8), found(FAR, 0.7)], [face(LEFT), face(RIGHT)])

    matches = matching.matches()

    assert matches.score_for_precision(0.9) == 0.8
    assert matches.score_for_precision(0.6) == 0.7

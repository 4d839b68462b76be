import math

import numpy as np
import pytest

from mini_bundle import detector_entry
from oahega_edge.chain.detection import (
    HEAD_ODDS,
    Decoder,
    Detection,
    anchor_boxes,
    anchor_labels,
    boost_faces_on_shoulders,
    decode_boxes,
    encode_boxes,
    non_maximum_suppression,
    with_covers,
    without_nested,
)
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Placement
from oahega_edge.manifest import DetectorEntry, output_of

ENTRY = DetectorEntry.model_validate(detector_entry())
WHOLE = Placement(1.0, 1.0)


def stored(role: str, real: np.ndarray) -> np.ndarray:
    quantization = output_of(ENTRY, role).quantization
    assert quantization is not None
    return np.clip(np.round(real / quantization.scale) + quantization.zero_point, -128, 127).astype(np.int8)


def quiet() -> dict[str, np.ndarray]:
    """Every anchor on its place and nearly sure to be nothing."""
    return {"boxes": np.zeros((1, 128, 4), np.int8), "scores": np.full((1, 128, 1), -128, np.int8)}


def test_anchors_run_over_rows_columns_and_shapes_and_know_their_label() -> None:
    anchors = anchor_boxes(ENTRY.input, ENTRY.decoder)
    labels = anchor_labels(ENTRY.input, ENTRY.decoder)

    assert anchors.shape == (128, 4)
    assert anchors[0] * 64 == pytest.approx([4, 4, 12, 14])
    assert anchors[3] * 64 == pytest.approx([12, 4, 12, 30])
    assert anchors[16] * 64 == pytest.approx([4, 12, 12, 14])
    assert labels[:3] == ["face", "person", "face"]


def test_decoding_undoes_encoding() -> None:
    anchors = anchor_boxes(ENTRY.input, ENTRY.decoder)
    random = np.random.default_rng(0)
    low = random.uniform(0, 0.5, (128, 2))
    boxes = np.concatenate([low, low + random.uniform(0.05, 0.5, (128, 2))], axis=1)

    assert decode_boxes(encode_boxes(boxes, anchors, ENTRY.decoder), anchors, ENTRY.decoder) == pytest.approx(
        boxes
    )


def test_a_box_is_decoded_by_hand() -> None:
    """dy, dx, dh, dw on an anchor of 0.2 x 0.4 at (0.5, 0.5), variances 0.1 and 0.2."""
    anchor = np.array([[0.5, 0.5, 0.2, 0.4]])
    offsets = np.array([[1.0, -1.0, math.log(2) / 0.2, 0.0]])

    (box,) = decode_boxes(offsets, anchor, ENTRY.decoder)

    assert box == pytest.approx([0.38, 0.14, 0.58, 0.94])


def test_suppression_keeps_the_best_of_each_heap() -> None:
    boxes = np.array([[0, 0, 10, 10], [1, 0, 11, 10], [20, 0, 30, 10], [0, 0, 10, 9]], float)

    kept = non_maximum_suppression(boxes, np.array([0.6, 0.9, 0.5, 0.4]), 0.5)

    assert kept.tolist() == [1, 2]


def test_a_quiet_picture_gives_nothing() -> None:
    assert Decoder(ENTRY, {"face": 0.9, "person": 0.9}, 0.5)(quiet(), WHOLE) == []


def test_a_face_and_a_person_at_one_place_are_both_found() -> None:
    outputs = quiet()
    outputs["scores"][0, [40, 41]] = 127

    found = Decoder(ENTRY, {"face": 0.501, "person": 0.501}, 0.5)(outputs, WHOLE)

    assert [d.label for d in found] == ["face", "person"]


def test_each_label_has_its_own_least_score() -> None:
    outputs = quiet()
    outputs["scores"][0, [40, 41]] = 127

    found = Decoder(ENTRY, {"face": 0.99, "person": 0.501}, 0.5)(outputs, WHOLE)

    assert [d.label for d in found] == ["person"]


def test_a_letterboxed_box_comes_back_in_units_of_the_picture() -> None:
    outputs = quiet()
    outputs["scores"][0, 40] = 127
    decode = Decoder(ENTRY, {"face": 0.501, "person": 0.501}, 0.5)

    (whole,), (boxed,) = decode(outputs, WHOLE), decode(outputs, Placement(1.0, 0.5))

    assert boxed.box.top == pytest.approx(whole.box.top * 2)
    assert boxed.box.left == pytest.approx(whole.box.left)


def test_what_lies_in_the_letterbox_alone_is_dropped() -> None:
    outputs = quiet()
    outputs["scores"][0, 7 * 16] = 127

    assert Decoder(ENTRY, {"face": 0.501, "person": 0.501}, 0.5)(outputs, Placement(1.0, 0.5)) == []


def test_a_face_inside_a_face_is_the_same_face() -> None:
    whole = Detection("face", Box(0.2, 0.2, 0.4, 0.5), 0.8)
    inner = Detection("face", Box(0.25, 0.25, 0.36, 0.4), 0.6)
    beside = Detection("face", Box(0.35, 0.2, 0.55, 0.5), 0.7)

    assert without_nested([inner, whole, beside]) == [whole, beside]


def test_of_nested_faces_the_surer_one_stays_also_when_it_is_the_inner() -> None:
    whole = Detection("face", Box(0.2, 0.2, 0.4, 0.5), 0.5)
    inner = Detection("face", Box(0.25, 0.25, 0.36, 0.4), 0.6)

    assert without_nested([whole, inner]) == [inner]


PERSON = Detection("person", Box(0.3, 0.2, 0.7, 1.0), 0.7)


def at_head(score: float, dx: float = 0.0, dy: float = 0.0, size: float = 1.0) -> Detection:
    """A face on the person's shoulders, or moved from there."""
    width, height = 0.16 * size, 0.2 * size
    return Detection("face", Box(0.42 + dx, 0.25 + dy, 0.42 + dx + width, 0.25 + dy + height), score)


def test_a_face_on_a_persons_shoulders_has_better_odds() -> None:
    face, person = boost_faces_on_shoulders([at_head(0.5), PERSON])

    assert face.score == pytest.approx(HEAD_ODDS / (1 + HEAD_ODDS))
    assert face.box == at_head(0.5).box
    assert person == PERSON


@pytest.mark.parametrize(
    "elsewhere",
    [
        at_head(0.5, dy=0.25),  # a print on a shirt
        at_head(0.5, dx=0.16),  # a hand
        at_head(0.5, dx=0.5),  # a wall
        at_head(0.5, size=0.2),  # a button
        at_head(0.5, dx=-0.1, dy=-0.1, size=2.2),  # all of the person
    ],
)
def test_a_face_that_is_not_where_the_head_is_stays_as_it_was(elsewhere: Detection) -> None:
    assert boost_faces_on_shoulders([elsewhere, PERSON]) == [elsewhere, PERSON]


def test_a_person_who_is_not_sure_enough_changes_nothing() -> None:
    assert boost_faces_on_shoulders([at_head(0.5), PERSON], person_score=0.71) == [at_head(0.5), PERSON]


@pytest.mark.parametrize("score", [0.0, 1e-9, 0.999999, 1.0])
def test_raised_scores_stay_shares_of_one_and_in_order(score: float) -> None:
    face, _ = boost_faces_on_shoulders([at_head(score), PERSON])

    assert score <= face.score <= 1.0


def test_a_face_with_a_covered_face_at_its_place_is_covered() -> None:
    covered, other = Box(0.1, 0.1, 0.3, 0.4), Box(0.6, 0.1, 0.8, 0.4)
    shifted = Box(0.12, 0.13, 0.32, 0.42)
    found = [
        Detection("face", covered, 0.9),
        Detection("face", other, 0.8),
        Detection("person", covered, 0.7),
        Detection("covered_face", shifted, 0.6),
    ]

    assert with_covers(found) == [
        Detection("face", covered, 0.9, covered=True),
        Detection("face", other, 0.8),
        Detection("person", covered, 0.7),
    ]

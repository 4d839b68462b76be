import math

import numpy as np
import pytest

from oahega_edge.chain.geometry import Box, iou_matrix


@pytest.mark.parametrize(
    "edges", [(0.5, 0.1, 0.5, 0.9), (0.6, 0.1, 0.5, 0.9), (0, math.nan, 1, 1), (0, 0, math.inf, 1)]
)
def test_an_empty_or_endless_box_cannot_exist(edges: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="box"):
        Box(*edges)


def test_iou_is_shared_area_over_joint_area() -> None:
    a, b = Box(0, 0, 0.4, 0.4), Box(0.2, 0, 0.6, 0.4)

    assert a.iou(b) == pytest.approx(1 / 3)
    assert a.iou(Box(0.5, 0.5, 0.6, 0.6)) == 0


def test_iou_matrix_agrees_with_the_boxes() -> None:
    boxes = [Box(0, 0, 0.4, 0.4), Box(0.2, 0, 0.6, 0.4), Box(0.1, 0.1, 0.2, 0.9)]
    rows = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes])

    matrix = iou_matrix(rows, rows)

    assert matrix == pytest.approx(np.array([[a.iou(b) for b in boxes] for a in boxes]))


def test_a_box_outside_the_picture_has_no_clipped_part() -> None:
    assert Box(1.1, 0, 1.2, 1).clipped() is None
    assert Box(-0.1, 0.2, 0.5, 1.2).clipped() == Box(0, 0.2, 0.5, 1)

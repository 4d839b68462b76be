"""A face counts as it was when it was nearest, and its light is measured seldom."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from oahega_edge.chain.decider import DOUBLED, NEARER, UNREAD, Nearest
from oahega_edge.chain.geometry import Box
from oahega_edge.drift.look import Light

PIXELS = 480
INPUT = 48
"""Pixels of the classifier's picture."""


class Gauge:
    """Measures a brightness that is the height in pixels, and counts how often it is asked."""

    def __init__(self) -> None:
        self.lit = self.compared = 0

    def read(self, box: Box, lit: bool, second: bool) -> tuple[NDArray[np.float64], Light | None]:
        self.lit += lit
        height = box.height * PIXELS
        light: Light = (height, height, 0.5, height < INPUT)
        return np.array([box.height, 1 - box.height]), light if lit else None

    def beside(self, box: Box) -> NDArray[np.float64]:
        self.compared += 1
        return np.array([box.height * PIXELS])


def followed(heights: Sequence[float]) -> tuple[Nearest, Gauge]:
    nearest, gauge = Nearest(UNREAD, wait=0.5), Gauge()
    for height in heights:
        if height > nearest.anew:
            box = Box(0.1, 0.0, 0.1 + height, height)
            found = nearest.read(box, height, gauge.read, gauge.beside)
            assert found is not None
            assert found[0][0] == height
    return nearest, gauge


def test_it_counts_as_it_was_when_it_was_nearest() -> None:
    look, _ = followed([0.1, 0.2, 0.25, 0.15, 0.24])

    assert (look.scores[0], look.score, look.wait) == (0.25, 0.25, 0.5)
    assert look.height == pytest.approx(0.25 * PIXELS)
    assert look.beside == pytest.approx(0.25 * PIXELS)


def test_a_face_that_stays_is_measured_once() -> None:
    rng = np.random.default_rng(0)

    _, gauge = followed((0.2 * np.exp(rng.normal(0, 0.01, 500))).tolist())

    assert gauge.lit == 1
    assert gauge.compared <= 3


def test_a_face_that_needs_no_enlargement_is_measured_once_however_near_it_comes() -> None:
    heights = np.geomspace(0.11, 0.9, 60)

    look, gauge = followed(heights.tolist())

    assert gauge.lit == 1
    assert look.brightness == pytest.approx(0.11 * PIXELS)
    assert look.height >= 0.9 * PIXELS / NEARER


def test_a_face_from_afar_is_measured_again_until_it_needs_no_enlargement() -> None:
    heights = np.geomspace(0.06, 0.9, 100)

    look, gauge = followed(heights.tolist())

    assert INPUT <= look.brightness <= DOUBLED * NEARER * INPUT
    assert gauge.lit <= np.log(INPUT / PIXELS / 0.06) / np.log(DOUBLED) + 2


def test_a_face_that_was_never_read_counts_nothing() -> None:
    nearest = Nearest(UNREAD)

    found = nearest.read(Box(0.1, 0.0, 0.2, 0.1), 0.9, lambda box, lit, second: None, None)

    assert found is None
    assert not nearest.frame

"""Rotation, mirror and region of interest, on pixels and overview alike."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_edge.cameras import open_camera
from oahega_edge.cameras.memory import EPOCH, FakeCamera, frames_of
from oahega_edge.cameras.orientation import Orientation, Oriented, orient, oriented
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.errors import CameraError

# A picture of four pixels: 1 2
#                           3 4
CORNERS = np.array([[1, 2], [3, 4]], np.uint8)[:, :, None].repeat(3, axis=2)


@pytest.mark.parametrize(
    ("rotate", "mirror", "expected"),
    [
        (0, False, [[1, 2], [3, 4]]),
        (90, False, [[3, 1], [4, 2]]),
        (180, False, [[4, 3], [2, 1]]),
        (270, False, [[2, 4], [1, 3]]),
        (0, True, [[2, 1], [4, 3]]),
        (90, True, [[1, 3], [2, 4]]),
        (180, True, [[3, 4], [1, 2]]),
        (270, True, [[4, 2], [3, 1]]),
    ],
)
def test_pixels_turn_clockwise_and_are_mirrored_afterwards(rotate, mirror, expected):
    result = orient(CORNERS, Orientation(rotate, mirror))

    assert result[:, :, 0].tolist() == expected


def test_roi_is_cut_from_the_turned_picture():
    wide = np.zeros((100, 200, 3), np.uint8)
    wide[:50, 150:] = 255  # top right; a quarter turn clockwise brings it to the bottom right
    bottom_right = Box(0.5, 0.75, 1.0, 1.0)

    result = orient(wide, Orientation(rotate=90, roi=bottom_right))

    assert result.shape == (50, 50, 3)
    assert result.min() == 255
    assert result.flags.c_contiguous


def test_a_tiny_roi_keeps_a_pixel():
    result = orient(CORNERS, Orientation(roi=Box(0.9999, 0.9999, 1.0, 1.0)))

    assert result[:, :, 0].tolist() == [[4]]


def test_the_overview_keeps_the_same_view_as_the_pixels():
    picture = np.random.default_rng(0).integers(0, 256, (40, 80, 3), np.uint8)
    frame = Frame(picture.repeat(2, axis=0).repeat(2, axis=1), 0.0, EPOCH, 0, overview=picture)
    orientation = Orientation(rotate=270, mirror=True, roi=Box(0.25, 0.5, 0.75, 1.0))

    result = orientation(frame)

    np.testing.assert_array_equal(result.overview.repeat(2, axis=0).repeat(2, axis=1), result.pixels)
    assert (result.captured_at, result.taken_at, result.sequence) == (0.0, EPOCH, 0)


def test_nothing_to_do_copies_nothing():
    frame = frames_of([CORNERS])[0]

    assert Orientation()(frame) is frame


def test_a_camera_that_hangs_straight_is_not_wrapped():
    camera = FakeCamera([])

    assert oriented(camera, rotate=0, mirror=False, roi=None) is camera
    assert oriented(camera, rotate=0, mirror=False, roi=Box(0, 0, 1, 1)) is camera


@pytest.mark.parametrize("rotate", [45, -90, 360, 1])
def test_impossible_angles_are_refused(rotate):
    with pytest.raises(
        CameraError, match=rf"0, 90, 180 or 270 degrees, got {rotate}; correct camera\.rotate"
    ):
        oriented(FakeCamera([]), rotate=rotate, mirror=False, roi=None)


def test_a_roi_outside_the_picture_is_refused():
    with pytest.raises(CameraError, match="roi must lie inside"):
        oriented(FakeCamera([]), rotate=0, mirror=False, roi=Box(0.5, 0.5, 1.2, 1.0))


def test_open_camera_applies_all_three(tmp_path):
    import cv2

    cv2.imwrite(str(tmp_path / "a.png"), np.kron(CORNERS, np.full((8, 8, 1), 60, np.uint8)))

    with open_camera(str(tmp_path / "a.png"), rotate=90, mirror=True, roi=Box(0, 0, 0.5, 1)) as camera:
        frame = camera.read(1)

    assert frame.pixels[::8, ::8, 0].tolist() == [[60], [120]]


def test_the_reset_of_the_camera_inside_is_reached():
    class WithReset(FakeCamera):
        resets = 0

        def reset(self) -> None:
            self.resets += 1

    inner = WithReset([])

    Oriented(inner, Orientation(180)).reset()
    Oriented(FakeCamera([]), Orientation(180)).reset()

    assert inner.resets == 1

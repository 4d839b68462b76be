"""Brightness, sharpness, and what is wrong with a frame."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from filmed import read_all
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.memory import frames_of
from oahega_edge.cameras.picture_quality import (
    TORN_AT_MOST,
    FrameWatch,
    Problem,
    brightness,
    filled_rows,
    is_black,
    sharpness,
)

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("OAHEGA_SHARED", ROOT / "../shared"))
SIZE = (240, 320, 3)


def flat(colour) -> np.ndarray:
    return np.full(SIZE, colour, np.uint8)


def noisy(level: float = 120, spread: float = 6, seed: int = 0) -> np.ndarray:
    """An evenly lit wall as a sensor sees it."""
    noise = np.random.default_rng(seed).normal(level, spread, SIZE)
    return np.clip(noise, 0, 255).astype(np.uint8)


def room(seed: int = 0) -> np.ndarray:
    """Shapes, shades and noise."""
    picture = noisy(90, 3, seed).astype(np.int16)
    picture += np.linspace(0, 60, SIZE[1], dtype=np.int16)[None, :, None]
    picture[60:180, 100:200] += 60
    return np.clip(picture, 0, 255).astype(np.uint8)


def with_bottom(share: float, fill) -> np.ndarray:
    """The room, its lower `share` replaced by `fill`: a colour, or a function of the rows above."""
    picture = room()
    rows = round(SIZE[0] * share)
    if rows:
        picture[-rows:] = fill(picture[: SIZE[0] - rows]) if callable(fill) else fill
    return picture


@pytest.mark.parametrize(
    ("colour", "expected"),
    [
        ((0, 0, 0), 0),
        ((255, 255, 255), 255),
        ((100, 100, 100), 100),
        ((255, 0, 0), 76.2),
        ((0, 255, 0), 149.7),
        ((0, 0, 255), 29.1),
    ],
)
def test_brightness_is_mean_luma(colour, expected):
    assert brightness(flat(colour)) == pytest.approx(expected, abs=0.1)


def test_sharpness_falls_with_every_step_of_blur():
    picture = room()

    figures = [sharpness(picture)]
    for sigma in (1, 2, 4):
        figures.append(sharpness(np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma))))

    assert figures == sorted(figures, reverse=True)
    assert figures[-1] < figures[0] / 10


def test_sharpness_compares_between_resolutions():
    picture = room()
    larger = np.asarray(cv2.resize(picture, (1280, 960), interpolation=cv2.INTER_NEAREST))

    assert sharpness(larger) == pytest.approx(sharpness(picture), rel=0.1)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (flat(0), True),
        (noisy(2, 1.5), True),
        (flat((5, 7, 4)), True),
        (noisy(20, 6), False),
        (room(), False),
        (flat((0, 0, 60)), False),
    ],
    ids=["dead", "covered", "nearly black", "dark room", "room", "dark blue"],
)
def test_black(picture, expected):
    assert is_black(picture) is expected


def test_a_lamp_in_the_dark_is_not_black():
    picture = flat(0)
    picture[100:140, 100:180] = 200

    assert not is_black(picture)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (with_bottom(0.5, (128, 128, 128)), True),
        (with_bottom(0.1, (128, 128, 128)), True),
        (with_bottom(0.3, (0, 135, 0)), True),
        (with_bottom(0.3, lambda above: above[-1]), True),
        (with_bottom(0.04, (128, 128, 128)), False),
        (with_bottom(0.0, 0), False),
        (with_bottom(0.2, (0, 0, 0)), False),
        (with_bottom(0.2, (255, 255, 255)), False),
        (with_bottom(0.2, (0x30, 0x34, 0x38)), False),
        (with_bottom(0.3, (225, 222, 215)), False),
        (with_bottom(0.1, (180, 20, 30)), False),
        (flat((128, 128, 128)), False),
        (noisy(), False),
        (noisy(20, 2), False),
    ],
    ids=[
        "half grey",
        "a tenth grey",
        "green",
        "last row drawn out",
        "thin stripe",
        "whole",
        "letterbox",
        "overexposed table",
        "dark bezel",
        "white desk",
        "caption bar",
        "test card",
        "wall",
        "dark wall",
    ],
)
def test_rows_as_a_decoder_leaves_them(picture, expected):
    assert bool(filled_rows(picture)) is expected


def test_a_real_jpeg_that_was_cut_is_torn():
    data = cv2.imencode(".jpg", room())[1].tobytes()
    whole = np.asarray(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR))
    lost_in_the_middle = data[: len(data) // 2] + data[-2:]
    broken = np.asarray(cv2.imdecode(np.frombuffer(lost_in_the_middle, np.uint8), cv2.IMREAD_COLOR))

    watch = FrameWatch()
    before, after = frames_of([whole, broken])

    assert watch.see(before, 0.0) == frozenset()
    assert watch.see(after, 0.1) == {Problem.TORN}


def test_a_tiny_picture_is_looked_at_without_harm():
    for size in ((1, 1, 3), (2, 3, 3), (8, 8, 3)):
        assert not filled_rows(np.full(size, 90, np.uint8))
        assert not is_black(np.full(size, 90, np.uint8))


def test_a_picture_that_stays_exactly_the_same_for_long_is_frozen():
    watch = FrameWatch(frozen_after=10)
    frame = frames_of([room()])[0]

    seen = [watch.see(frame, now) for now in (0.0, 5.0, 10.0, 10.1, 60.0)]

    assert seen == [frozenset()] * 3 + [frozenset({Problem.FROZEN})] * 2


def test_noise_of_one_pixel_row_is_life():
    watch = FrameWatch(frozen_after=10)
    for second in range(60):
        assert not watch.see(frames_of([room(seed=second)])[0], float(second))


def test_a_picture_that_moves_again_is_no_longer_frozen():
    watch = FrameWatch(frozen_after=1)
    still, moved = frames_of([room(seed=1), room(seed=2)])
    watch.see(still, 0)
    assert watch.see(still, 5) == {Problem.FROZEN}

    assert watch.see(moved, 6) == frozenset()
    assert watch.see(moved, 6.5) == frozenset()


def test_a_covered_camera_is_black_and_not_frozen():
    watch = FrameWatch(frozen_after=1)
    frame = frames_of([flat(0)])[0]

    seen = [watch.see(frame, now) for now in (0, 5, 50)]

    assert seen == [frozenset({Problem.BLACK})] * 3


def test_time_in_the_dark_does_not_count_as_frozen():
    watch = FrameWatch(frozen_after=10)
    bright, dark = frames_of([room(), flat(0)])
    watch.see(bright, 0)
    watch.see(dark, 20)

    assert watch.see(bright, 40) == frozenset()


GREY, GREEN = (128, 128, 128), (0, 135, 0)


def drawn_out(above):
    return above[-1]


def seen_over_time(pictures, seconds=0.1) -> list[frozenset[Problem]]:
    watch = FrameWatch()
    return [watch.see(frame, i * seconds) for i, frame in enumerate(frames_of(pictures))]


@pytest.mark.parametrize("fill", [GREY, GREEN, drawn_out], ids=["grey", "green", "drawn out"])
def test_a_part_that_was_just_lost_is_torn_until_the_picture_is_whole_again(fill):
    pictures = [room(0), with_bottom(0.3, fill), with_bottom(0.6, fill), room(1)]

    assert seen_over_time(pictures) == [frozenset(), {Problem.TORN}, {Problem.TORN}, frozenset()]


@pytest.mark.parametrize("fill", [GREY, GREEN, drawn_out], ids=["grey", "green", "drawn out"])
def test_a_surface_that_is_there_from_the_beginning_belongs_to_the_scene(fill):
    assert seen_over_time([with_bottom(0.2, fill)] * 50) == [frozenset()] * 50


@pytest.mark.parametrize("seconds", [0.07, 0.5, 5.0])
def test_a_surface_that_comes_and_stays_is_distrusted_for_a_moment_only(seconds):
    """As a grey caption that is switched on, with the flicker of a compressed picture at its edge."""
    pictures = [room(0), *(with_bottom(0.2 + 0.01 * (i % 3), GREY) for i in range(60))]

    seen = seen_over_time(pictures, seconds)

    torn = [i for i, problems in enumerate(seen) if Problem.TORN in problems]
    assert torn == list(range(1, 1 + len(torn)))
    assert seconds * (len(torn) - 1) <= TORN_AT_MOST


def test_a_stream_whose_every_picture_breaks_elsewhere_stays_torn():
    shares = np.random.default_rng(0).uniform(0.1, 0.9, 100)

    seen = seen_over_time([room(), *(with_bottom(share, GREY) for share in shares)])

    assert sum(Problem.TORN in problems for problems in seen) > 90


def test_problems_add_up():
    watch = FrameWatch(frozen_after=0.5)
    whole, torn = frames_of([room(), with_bottom(0.5, GREY)])
    watch.see(whole, 0.0)
    watch.see(torn, 0.1)

    assert watch.see(torn, 0.9) == {Problem.FROZEN, Problem.TORN}


def test_a_frame_of_another_size_is_a_new_picture():
    watch = FrameWatch(frozen_after=1)
    large, small = frames_of([room(), room()[:120, :160]])
    watch.see(large, 0)

    assert watch.see(small, 5) == frozenset()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.exists(), reason="no data beside the checkout")
@pytest.mark.parametrize(
    "name", ["walk.mkv", "eat.mkv", "classroom.gif", "head-pose-face-detection-female-and-male.gif"]
)
def test_real_clips_are_neither_black_nor_torn(name):
    watch = FrameWatch()
    with open_camera(str(SHARED / "data/media/intel" / name)) as camera:
        frames = read_all(camera)

    problems = [watch.see(frame, frame.captured_at) for frame in frames]

    assert len(problems) > 40
    assert set().union(*problems) <= {Problem.FROZEN}

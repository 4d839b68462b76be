"""Faces drawn into scenes: where they are said to be, apart from each other, the same from one seed."""

import numpy as np
import pytest

from oahega_build.detector.examples.pasting import FacePaster, Pasting, People
from oahega_edge.chain.geometry import Box

pytestmark = pytest.mark.training

NOBODY = np.zeros((0, 4))
WHITE = np.full((48, 48), 255, np.uint8)
BLACK = np.zeros((240, 320, 3), np.uint8)


def paster(**changes: object) -> FacePaster:
    return FacePaster([WHITE], Pasting(**changes))  # type: ignore[arg-type]


def middle(pixels: np.ndarray, box: Box) -> np.ndarray:
    x, y = box.center
    return pixels[int(y), int(x)]


@pytest.mark.parametrize("seed", range(12))
def test_a_face_is_drawn_where_its_box_says_and_inside_the_picture(seed: int) -> None:
    pixels, boxes = paster()(BLACK, NOBODY, np.random.default_rng(seed))

    drawn = pixels.max(axis=2) > 0

    assert boxes
    for box in boxes:
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= 320
        assert box.bottom <= 240
        assert middle(pixels, box).max() > 100
        drawn[int(box.top) : int(box.bottom) + 1, int(box.left) : int(box.right) + 1] = False
    # What is drawn outside of the boxes are the stills' margins.
    assert drawn.mean() < 0.5 * sum(box.area for box in boxes) / drawn.size


@pytest.mark.parametrize("seed", range(12))
def test_pasted_faces_leave_the_others_visible(seed: int) -> None:
    there = np.array([[40.0, 30.0, 140.0, 160.0]])

    _, boxes = paster()(BLACK, there, np.random.default_rng(seed))

    faces = [Box(*there[0]), *boxes]
    for i, face in enumerate(faces):
        for other in faces[:i]:
            width = min(face.right, other.right) - max(face.left, other.left)
            height = min(face.bottom, other.bottom) - max(face.top, other.top)
            common = max(0.0, width) * max(0.0, height)
            assert common <= 0.1 * min(face.area, other.area) + 1e-6


def test_where_there_is_no_room_nothing_is_drawn() -> None:
    whole = np.array([[0.0, 0.0, 320.0, 240.0]])

    pixels, boxes = paster()(BLACK, whole, np.random.default_rng(1))

    assert boxes == []
    assert np.array_equal(pixels, BLACK)


def test_the_picture_that_was_given_stays_as_it_is() -> None:
    scene = BLACK.copy()

    paster()(scene, NOBODY, np.random.default_rng(2))

    assert np.array_equal(scene, BLACK)


def test_one_seed_gives_the_same_faces() -> None:
    once, again = (paster()(BLACK, NOBODY, np.random.default_rng(3)) for _ in range(2))

    assert np.array_equal(once[0], again[0])
    assert once[1] == again[1]


def test_heights_stay_in_their_range() -> None:
    boxes = [
        box
        for seed in range(40)
        for box in paster(heights=(20.0, 40.0))(BLACK, NOBODY, np.random.default_rng(seed))[1]
    ]

    assert min(box.height for box in boxes) >= 19
    assert max(box.height for box in boxes) <= 40


def test_decoys_are_drawn_and_are_no_faces() -> None:
    grey = np.full((200, 300, 3), 90, np.uint8)
    drawing = FacePaster([WHITE], Pasting(decoys=3, heights=(20.0, 40.0)), [grey])

    with_decoys = 0
    for seed in range(20):
        pixels, boxes = drawing(BLACK, NOBODY, np.random.default_rng(seed))
        rest = pixels.copy()
        for box in boxes:
            margin = box.height
            top, left = max(0, int(box.top - margin)), max(0, int(box.left - margin))
            rest[top : int(box.bottom + margin), left : int(box.right + margin)] = 0
        with_decoys += bool(rest.max() > 30)
        assert all(middle(pixels, box).max() > 100 for box in boxes)

    assert with_decoys >= 8


def test_a_hand_as_a_decoy_has_the_colour_of_a_face_and_no_box() -> None:
    green = np.zeros((64, 64, 3), np.uint8)
    green[:] = (20, 200, 30)
    how = Pasting(most=1, decoys=3, heights=(30.0, 60.0), hands=1.0)
    drawing = FacePaster([WHITE], how, [np.full((200, 300, 3), 90, np.uint8)], heads=[green])

    shares = []
    for seed in range(20):
        pixels, _ = drawing(BLACK, NOBODY, np.random.default_rng(seed))
        red, hand, blue = np.moveaxis(pixels.astype(int), 2, 0)
        shares.append(float(np.mean((hand > 60) & (hand > 2 * red) & (hand > 2 * blue))))

    assert sum(share > 0.002 for share in shares) >= 8
    assert max(shares) < 0.3


def test_decoys_of_people_come_from_their_bodies_and_never_show_a_face() -> None:
    picture = np.zeros((200, 100, 3), np.uint8)
    picture[20:180, 20:80] = (0, 90, 0)  # a body
    picture[20:60, 30:70] = 200  # and its face
    people = People(picture, np.array([[20.0, 20.0, 80.0, 180.0]]), np.array([[30.0, 20.0, 70.0, 60.0]]))
    drawing = FacePaster([WHITE], Pasting(most=1, decoys=3, heights=(20.0, 40.0)), [], [people])

    shown = 0
    for seed in range(20):
        pixels, boxes = drawing(BLACK, NOBODY, np.random.default_rng(seed))
        box = boxes[0]
        top, left = max(0, int(box.top - box.height)), max(0, int(box.left - box.height))
        pixels[top : int(box.bottom + box.height), left : int(box.right + box.height)] = 0
        green = pixels[..., 1] > 20
        shown += bool(green.any())
        # A corner of the face may be on a piece, a tenth of it at most.
        assert (pixels[..., 0] > 20).sum() <= 0.2 * max(1, green.sum())

    assert shown >= 8


def test_where_a_face_fills_a_body_no_decoy_is_cut() -> None:
    edges = np.array([[0.0, 0.0, 100.0, 100.0]])
    people = People(np.full((100, 100, 3), 200, np.uint8), edges, edges)
    drawing = FacePaster([np.zeros((48, 48), np.uint8)], Pasting(decoys=3), [], [people])

    pixels, _ = drawing(BLACK, NOBODY, np.random.default_rng(1))

    assert pixels.max() == 0

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from oahega_build.detector.examples.augmentation import Augmentation, photometric
from oahega_build.detector.examples.inputs import Composer, Scene, covered_records, covered_scene
from oahega_build.detector.examples.pasting import FacePaster, Pasting
from oahega_build.detector.targets import IGNORED, NEGATIVE, POSITIVE, Boxes, Matcher, Matching
from oahega_build.pictures.drawing import View, show
from oahega_build.pictures.readers import LabelledBox
from oahega_build.pictures.record import Record
from oahega_edge.chain.detection import anchor_boxes, anchor_labels, decode_boxes
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import Anchor, AnchorLevel, InputTensor, Resize, SsdDecoder

pytestmark = pytest.mark.training

LABELS = ("face", "person")
INPUT = InputTensor(
    width=160, height=120, colour="rgb", dtype="float32", pixel_scale=1 / 127.5, pixel_offset=-1
)
LETTERBOX = Resize(kernel="area", fit="letterbox")
DECODER = SsdDecoder(
    levels=tuple(
        AnchorLevel(
            stride=stride,
            anchors=(
                Anchor(label="face", width=2 * stride, height=2.5 * stride),
                Anchor(label="person", width=2 * stride, height=5 * stride),
            ),
        )
        for stride in (8, 16, 32)
    ),
    center_variance=0.1,
    size_variance=0.2,
)
PLAIN = Augmentation(
    modes={"fit": 1.0}, mosaic=0, stretch=0, grey=0, blur=0, jpeg=0, noise=0, dark=0, colour=0
)


def scene(red: tuple[int, int, int, int] = (60, 40, 100, 90), size: tuple[int, int] = (200, 150)) -> Scene:
    """A grey picture with a red face in it."""
    pixels = np.full((size[1], size[0], 3), 100, np.uint8)
    left, top, right, bottom = red
    pixels[top:bottom, left:right] = (255, 0, 0)
    return Scene("drawn", pixels, Boxes(np.array([red], float), np.array([0]), np.array([False])))


def composer(augmentation: Augmentation, *scenes: Scene) -> Composer:
    return Composer(scenes, {"drawn": 1.0}, INPUT, LETTERBOX, augmentation, LABELS, seed=3)


def red_box(pixels: np.ndarray) -> np.ndarray:
    """Edges of what is red, in units of the picture."""
    red, green, blue = (pixels[..., channel].astype(int) for channel in range(3))
    ys, xs = np.nonzero(red - np.maximum(green, blue) > 150)
    height, width = pixels.shape[:2]
    return np.array([xs.min() / width, ys.min() / height, (xs.max() + 1) / width, (ys.max() + 1) / height])


def test_one_number_always_gives_one_example() -> None:
    made = composer(Augmentation(), scene(), scene((10, 10, 40, 60)))

    first, again, other = made.example(5), made.example(5), made.example(6)

    assert np.array_equal(first.pixels, again.pixels)
    assert np.array_equal(first.boxes.edges, again.boxes.edges)
    assert not np.array_equal(first.pixels, other.pixels)


def test_the_plain_mode_is_the_devices_own_fit() -> None:
    drawn = scene()
    seen = fit_picture(drawn.pixels, INPUT, LETTERBOX)[0]

    examples = [composer(PLAIN, drawn).example(number).pixels for number in range(8)]

    assert {example.tobytes() for example in examples} == {seen.tobytes(), seen[:, ::-1].tobytes()}


@pytest.mark.parametrize("mode", ["fit", "zoom_out", "zoom_in", "face"])
def test_boxes_follow_their_pixels(mode: str) -> None:
    made = composer(dataclasses.replace(PLAIN, modes={mode: 1.0}, stretch=0.15), scene())

    compared = 0
    for number in range(40):
        example = made.example(number)
        if len(example.boxes.edges) and not example.boxes.ignore[0]:
            assert np.abs(red_box(example.pixels) - example.boxes.edges[0]).max() < 2.5 / 120
            compared += 1

    assert compared > 20


def test_a_mosaic_holds_the_boxes_of_its_four_scenes() -> None:
    made = composer(dataclasses.replace(PLAIN, mosaic=1.0), scene())

    example = made.example(1)

    assert len(example.boxes.edges) == 4
    middles = (example.boxes.edges[:, :2] + example.boxes.edges[:, 2:]) / 2
    pixels = [example.pixels[int(y * 120), int(x * 160)] for x, y in middles]
    assert all(pixel[0] > 200 and pixel[1] < 50 for pixel in pixels)


def test_a_face_mode_makes_faces_of_kiosk_size() -> None:
    made = composer(dataclasses.replace(PLAIN, modes={"face": 1.0}), scene((90, 60, 110, 85)))

    heights = [
        float(edges[3] - edges[1]) for number in range(60) for edges in made.example(number).boxes.edges
    ]

    assert min(heights) < 0.35
    assert max(heights) > 0.6


def test_what_is_mostly_outside_becomes_an_ignore_region() -> None:
    half_out = scene((0, 40, 40, 90))
    made = composer(dataclasses.replace(PLAIN, modes={"zoom_in": 1.0}), half_out)

    examples = [made.example(number) for number in range(60)]

    cut = [e for e in examples if len(e.boxes.edges) and e.boxes.ignore[0]]
    assert cut
    for example in cut:
        assert example.boxes.edges.min() >= 0
        assert example.boxes.edges.max() <= 1


def test_a_view_larger_than_the_canvas_shows_the_right_part() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[50:, 50:] = 200

    shown, view = show(pixels, View(2.0, 2.0, -100.0, -100.0), (80, 60), (9, 9, 9), "area")

    assert shown.shape == (60, 80, 3)
    assert shown.min() == 200
    assert (view.scale_x, view.x) == pytest.approx((2.0, -100.0))


def matched(*boxes: tuple[str, tuple[float, float, float, float], bool]) -> tuple[np.ndarray, np.ndarray]:
    matcher = Matcher(INPUT, DECODER, LABELS, Matching())
    targets = matcher(
        Boxes(
            np.array([edges for _, edges, _ in boxes]).reshape(-1, 4),
            np.array([LABELS.index(label) for label, _, _ in boxes], int),
            np.array([ignore for *_, ignore in boxes], bool),
        )
    )
    return targets.kind, targets.offsets


NAMES = np.array(anchor_labels(INPUT, DECODER))
FACE = (0.30, 0.30, 0.45, 0.52)


def test_targets_decode_to_the_box_they_were_made_of() -> None:
    kind, offsets = matched(("face", FACE, False))

    positive = kind == POSITIVE
    boxes = decode_boxes(offsets[positive], anchor_boxes(INPUT, DECODER)[positive], DECODER)

    assert 1 <= positive.sum() <= 20
    assert np.allclose(boxes, FACE, atol=1e-5)


def test_anchors_answer_for_their_own_label_only() -> None:
    kind, _ = matched(("face", FACE, False))

    assert set(NAMES[kind == POSITIVE]) == {"face"}
    assert set(kind[NAMES == "person"]) == {NEGATIVE}


def test_every_box_gets_an_anchor_however_odd_its_shape() -> None:
    line = (0.05, 0.5, 0.95, 0.54)

    kind, _ = matched(("face", line, False))

    assert (kind == POSITIVE).sum() >= 1


def test_neighbours_of_different_size_keep_anchors_of_their_own() -> None:
    small = (0.34, 0.36, 0.40, 0.45)
    kind, offsets = matched(("face", FACE, False), ("face", small, False))

    positive = kind == POSITIVE
    boxes = decode_boxes(offsets[positive], anchor_boxes(INPUT, DECODER)[positive], DECODER)

    assert any(np.allclose(box, FACE, atol=1e-5) for box in boxes)
    assert any(np.allclose(box, small, atol=1e-5) for box in boxes)


def test_anchors_in_an_ignore_region_count_for_nothing() -> None:
    kind, _ = matched(("face", (0.0, 0.0, 0.5, 1.0), True))

    anchors = anchor_boxes(INPUT, DECODER)
    inside = (NAMES == "face") & (anchors[:, 0] + anchors[:, 2] / 2 < 0.5)
    assert set(kind[inside]) == {IGNORED}
    assert set(kind[NAMES == "person"]) == {NEGATIVE}
    assert POSITIVE not in kind


def test_a_picture_without_boxes_is_background() -> None:
    kind, offsets = matched()

    assert set(kind) == {NEGATIVE}
    assert not offsets.any()


def test_a_pasted_face_is_asked_for_and_its_body_is_not_denied() -> None:
    paster = FacePaster([np.full((48, 48), 255, np.uint8)], Pasting(heights=(20.0, 40.0)))
    nobody = Scene("drawn", np.full((150, 200, 3), 100, np.uint8), Boxes.none())
    always = dataclasses.replace(PLAIN, pasted=1.0)
    made = Composer([nobody], {"drawn": 1.0}, INPUT, LETTERBOX, always, LABELS, 3, paster)

    boxes = made.example(0).boxes

    faces = boxes.labels == LABELS.index("face")
    assert faces.any()
    assert not boxes.ignore[faces].any()
    assert boxes.ignore[~faces].all()
    assert (~faces).sum() == faces.sum()


def test_where_no_face_finds_room_the_example_is_as_it_was() -> None:
    whole = scene((0, 0, 200, 150))
    paster = FacePaster([np.full((48, 48), 255, np.uint8)], Pasting())
    always = dataclasses.replace(PLAIN, pasted=1.0)
    made = Composer([whole], {"drawn": 1.0}, INPUT, LETTERBOX, always, LABELS, 3, paster)

    assert len(made.example(0).boxes.edges) == 1


def test_noise_is_in_every_colour() -> None:
    only_noise = Augmentation(grey=0, blur=0, jpeg=0, noise=1, dark=0, colour=0)
    grey = np.full((64, 64, 3), 128, np.uint8)

    noisy = photometric(grey, only_noise, np.random.default_rng(1))

    assert noisy.std(axis=(0, 1)).min() > 2.5


FACE_POINTS = np.array([[70, 55], [90, 55], [80, 67], [72, 78], [88, 78]], float)
"""Eyes, nose and corners of the mouth in the red face of `scene`."""
WITH_COVERED = ("face", "person", "covered_face")


def seen_scene() -> Scene:
    """A face whose landmarks are known, and one of which they are not."""
    plain = scene()
    edges = np.array([[60, 40, 100, 90], [140, 40, 170, 80]], float)
    boxes = Boxes(edges, np.array([0, 0]), np.array([False, False]))
    return dataclasses.replace(plain, boxes=boxes, landmarks={0: FACE_POINTS})


def test_a_face_whose_mouth_is_hidden_is_labelled_beside_its_own_box() -> None:
    before = seen_scene()
    scenes = [covered_scene(before, np.random.default_rng(seed), label=2) for seed in range(40)]

    labels = {tuple(after.boxes.labels.tolist()) for after in scenes}
    assert labels == {(0, 0), (0, 0, 2)}
    for after in scenes:
        changed = np.any(after.pixels != before.pixels, axis=2)
        mouth = changed[76:80, 72:88].mean()
        if 2 in after.boxes.labels:
            assert after.boxes.edges[2].tolist() == before.boxes.edges[0].tolist()
            assert mouth > 0.5
        else:  # nothing at all, sunglasses or a cap
            assert mouth < 0.5


def test_without_a_label_for_it_a_covered_face_stays_a_face() -> None:
    after = covered_scene(seen_scene(), np.random.default_rng(0), label=-1)

    assert after.boxes.labels.tolist() == [0, 0]


def test_a_small_covered_face_is_neither_asked_for_nor_denied() -> None:
    how = dataclasses.replace(PLAIN, covered=1.0, smallest_covered=45.0)
    labels = ("face", "person", "covered_face")
    made = Composer([seen_scene()], {"drawn": 1.0}, INPUT, LETTERBOX, how, labels, seed=3)

    boxes = [made.example(number).boxes for number in range(60)]

    of_covered = [bool(b.ignore[b.labels == 2].all()) for b in boxes if 2 in b.labels]
    assert of_covered
    assert all(of_covered)
    assert not any(b.ignore[b.labels == 0].any() for b in boxes)


def test_held_out_pictures_are_covered_the_same_way_each_time() -> None:
    def record(key: str, points: tuple[tuple[float, float], ...]) -> Record:
        before = scene()
        _, png = cv2.imencode(".png", before.pixels[..., ::-1])
        box = LabelledBox("face", Box(0.3, 4 / 15, 0.5, 0.6), landmarks=points)
        return Record(key, png.tobytes(), 200, 150, (box,))

    records = [record("a/0", tuple(map(tuple, FACE_POINTS / [200, 150]))), record("a/1", ())]

    once, again = (covered_records(records * 8, WITH_COVERED, 400, seed=5) for _ in range(2))

    assert [made.key for made in once] == ["a/0"] * 8
    assert [(m.boxes, m.encoded) for m in once] == [(m.boxes, m.encoded) for m in again]
    assert {box.label for made in once for box in made.boxes} == {"face", "covered_face"}
    assert once[0].boxes[0].box == records[0].boxes[0].box
    assert covered_records(records, LABELS, 400, seed=5) == []

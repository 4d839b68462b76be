"""The device and the trainer make the same bytes of the same picture: one committed array says which."""

from __future__ import annotations

import contextlib
import dataclasses

import numpy as np
import pytest
from numpy.typing import NDArray

from data.make_golden_crop import BOX, CROP, GOLDEN, GREY, RGB, drawn_picture
from oahega_build.emotion.evaluate import EmotionModel
from oahega_build.emotion.inputs import NO_AUGMENTATION, Augmentation, Augmenter, Epochs
from oahega_build.models.quantize import real_pixels
from oahega_build.pictures.dataset import Sample
from oahega_build.pictures.framing import Framing, box_of_crop, crop_sample, square_framing
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.chain.classifier import EmotionClassifier, both_crops
from oahega_edge.chain.preprocess import Quantizer, as_classifier_input, crop_face
from oahega_edge.manifest import InputTensor, SecondCrop
from oahega_edge.runtimes import open_model

pytestmark = pytest.mark.training

INPUTS = {"grey": GREY, "rgb": RGB}
FRAMING = Framing(
    box_width=BOX.width,
    box_height=BOX.height,
    middle_x=BOX.center[0],
    middle_y=BOX.center[1],
    scale=CROP.scale,
    shift=CROP.shift,
    kernel=CROP.kernel,
)


@pytest.fixture(scope="module")
def golden() -> dict[str, NDArray[np.int8]]:
    with np.load(GOLDEN) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("colour", INPUTS)
def test_the_device_makes_the_committed_tensor(colour: str, golden: dict[str, NDArray[np.int8]]) -> None:
    input_ = INPUTS[colour]

    tensor = Quantizer(input_)(crop_face(drawn_picture(), BOX, input_, CROP))

    assert tensor.dtype == golden[colour].dtype
    assert np.array_equal(tensor, golden[colour])


@pytest.mark.parametrize("colour", INPUTS)
def test_the_training_pipeline_makes_the_committed_tensor(
    colour: str, golden: dict[str, NDArray[np.int8]]
) -> None:
    """The whole pipeline - samples, shuffling, augmenter (switched off), batches - and not one function."""
    input_ = INPUTS[colour]
    sample = Sample("drawn.png", 0, np.array([1, 0], np.float32), drawn_picture())
    augmenter = Augmenter(NO_AUGMENTATION, FRAMING, input_)

    (batch,) = Epochs([sample], augmenter, batch=1, seed=1).batches(epoch=0)

    assert np.array_equal(Quantizer(input_)(np.squeeze(batch.pixels)), golden[colour])


def test_evaluation_reads_a_picture_as_the_device_does_by_both_crops() -> None:
    bundle = load_bundle(DEFAULT_BUNDLE)
    second = SecondCrop(scale=1.3, shift=0.05, mirrored=True)
    entry = bundle.manifest.emotion.model_copy(update={"second_crop": second})
    model = EmotionModel("default", entry, bundle.content(entry.cpu))
    file = bundle.file(entry.cpu)

    (evaluated,) = model.probabilities([drawn_picture()], FRAMING)

    with contextlib.closing(open_model(file, entry.outputs, entry.input)) as opened:
        classifier = EmotionClassifier(entry, opened)
        read = both_crops(classifier, drawn_picture(), FRAMING.box)
        first = classifier(drawn_picture(), FRAMING.box)
    assert evaluated == pytest.approx(read, abs=1e-6)
    assert not np.allclose(read, first, atol=1e-3)


@pytest.mark.parametrize("colour", INPUTS)
def test_evaluation_makes_the_committed_tensor(colour: str, golden: dict[str, NDArray[np.int8]]) -> None:
    input_ = INPUTS[colour]

    face = crop_sample(drawn_picture(), FRAMING, input_)

    assert np.array_equal(Quantizer(input_)(face), golden[colour])


def test_the_networks_float_input_is_what_the_stored_tensor_stands_for(
    golden: dict[str, NDArray[np.int8]],
) -> None:
    face = crop_sample(drawn_picture(), FRAMING, GREY)

    real = real_pixels(face, GREY)

    assert GREY.quantization is not None
    stored = golden["grey"].astype(np.float32).reshape(face.shape)
    assert np.array_equal(real, stored * GREY.quantization.scale)


def test_a_crop_moved_by_one_percent_is_seen_by_these_tests(golden: dict[str, NDArray[np.int8]]) -> None:
    other = dataclasses.replace(FRAMING, scale=CROP.scale * 1.02)

    face = crop_sample(drawn_picture(), other, GREY)

    assert not np.array_equal(Quantizer(GREY)(face), golden["grey"])


def test_a_recipes_square_is_what_the_device_crops_of_the_detectors_box() -> None:
    picture = np.arange(200 * 200, dtype=np.uint8).reshape(200, 200)

    whole, nearer = square_framing(1.0, 0.0), square_framing(0.8, 0.05)

    assert whole.crop.scale == pytest.approx(Framing().scale)
    assert whole.crop.shift == pytest.approx(Framing().shift)
    assert np.array_equal(crop_sample(picture, whole, GREY), as_classifier_input(picture, GREY, "area"))
    part = picture[30:190, 20:180]
    assert np.array_equal(crop_sample(picture, nearer, GREY), as_classifier_input(part, GREY, "area"))


def test_what_was_cropped_before_is_taken_whole() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (160, 160), np.uint8)

    for crop in (CROP, square_framing(0.8, 0.05).crop, Framing().crop):
        face = crop_face(picture, box_of_crop(crop), GREY, crop)

        assert np.array_equal(face, as_classifier_input(picture, GREY, crop.kernel))

    wide = np.pad(picture, ((0, 0), (20, 20)))
    face = crop_face(wide, box_of_crop(CROP, 200, 160), GREY, CROP)
    assert np.array_equal(face, as_classifier_input(picture, GREY, CROP.kernel))


def test_augmentation_keeps_size_and_type_and_is_the_same_for_one_seed() -> None:
    strongest = Augmentation(shrink=1, blur=1, noise=1, jpeg=1, erase=1)
    for input_ in INPUTS.values():
        augmenter = Augmenter(strongest, FRAMING, input_)

        once, again = (augmenter(_seen(input_), np.random.default_rng(3)) for _ in range(2))
        other = augmenter(_seen(input_), np.random.default_rng(4))

        assert once.shape == again.shape == crop_sample(drawn_picture(), FRAMING, input_).shape
        assert once.dtype == np.uint8
        assert np.array_equal(once, again)
        assert not np.array_equal(once, other)


def _seen(input_: InputTensor) -> NDArray[np.uint8]:
    picture = drawn_picture()
    return picture if input_.channels == 3 else np.ascontiguousarray(picture[..., 1])


def test_an_epoch_is_the_same_whenever_it_is_made() -> None:
    rng = np.random.default_rng(0)
    samples = [
        Sample(
            f"{i}.png", i % 2, np.eye(2, dtype=np.float32)[i % 2], rng.integers(0, 256, (48, 48), np.uint8)
        )
        for i in range(20)
    ]

    def epochs() -> Epochs:
        return Epochs(samples, Augmenter(Augmentation(), Framing(), GREY), batch=8, seed=5, balance=0.5)

    straight = [batch.pixels for epoch in range(3) for batch in epochs().batches(epoch)]
    resumed = [batch.pixels for batch in epochs().batches(2)]

    assert all(np.array_equal(a, b) for a, b in zip(straight[-2:], resumed, strict=True))
    assert not np.array_equal(straight[0], straight[2])


def test_balance_shows_rare_classes_more_often() -> None:
    labels = [0] * 90 + [1] * 10
    pixels = np.zeros((48, 48), np.uint8)
    samples = [
        Sample(f"{i}", label, np.eye(2, dtype=np.float32)[label], pixels) for i, label in enumerate(labels)
    ]
    augmenter = Augmenter(NO_AUGMENTATION, Framing(), GREY)

    shares = []
    for balance in (0.0, 1.0):
        epochs = Epochs(samples, augmenter, batch=100, seed=0, balance=balance)
        targets = np.concatenate([b.targets for epoch in range(20) for b in epochs.batches(epoch)])
        shares.append(targets[:, 1].mean())

    assert shares[0] == pytest.approx(0.1)
    assert shares[1] == pytest.approx(0.5, abs=0.05)


def test_a_face_on_a_head_takes_its_light_and_leaves_its_edges() -> None:
    always = dataclasses.replace(NO_AUGMENTATION, heads=1.0)
    head = np.full((96, 96), 20, np.uint8)
    head[24:72, 24:72] = 100
    face = np.full((48, 48), 200, np.uint8)

    for seed in range(20):
        made = Augmenter(always, Framing(), GREY, [head])(face, np.random.default_rng(seed))

        middle = made[20:28, 20:28].astype(int)
        assert 80 < middle.min() <= middle.max() < 125
        assert made[0, 0] < 30


def test_other_surroundings_leave_the_middle_of_the_face() -> None:
    always = dataclasses.replace(NO_AUGMENTATION, surroundings=1.0)
    plain = Augmenter(NO_AUGMENTATION, Framing(), GREY)
    face = np.full((48, 48), 200, np.uint8)
    wall = np.full((48, 48), 20, np.uint8)

    for seed in range(20):
        made = Augmenter(always, Framing(), GREY)(face, np.random.default_rng(seed), wall)

        assert (made[16:32, 16:32] == 200).all()
        assert made[0, 0] < 200
        assert np.array_equal(
            plain(face, np.random.default_rng(seed), wall), plain(face, np.random.default_rng(0))
        )

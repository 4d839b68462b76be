import hashlib

import numpy as np
import pytest

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import Quantizer, crop_face, crop_square, fit_picture, golden_pixels
from oahega_edge.manifest import Crop, InputTensor, Quantization, Resize

RGB = InputTensor(
    width=32,
    height=24,
    colour="rgb",
    dtype="int8",
    quantization=Quantization(scale=2 / 255, zero_point=0),
    pixel_scale=1 / 127.5,
    pixel_offset=-1,
)
GREY = InputTensor(
    width=16,
    height=16,
    colour="grey",
    dtype="float32",
    pixel_scale=1 / 255,
    pixel_offset=0,
)
LETTERBOX = Resize(kernel="area", fit="letterbox", pad=114)
CROP = Crop(scale=1.0, kernel="area")


def picture(width: int, height: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_picture_of_the_inputs_aspect_fills_it() -> None:
    small, placement = fit_picture(picture(64, 48), RGB, LETTERBOX)

    assert small.shape == (24, 32, 3)
    assert (placement.width, placement.height) == (1, 1)


@pytest.mark.parametrize(("size", "placed"), [((48, 96), (12 / 32, 1)), ((200, 50), (1, 8 / 24))])
def test_another_aspect_is_kept_and_padded_right_and_below(
    size: tuple[int, int], placed: tuple[float, float]
) -> None:
    small, placement = fit_picture(picture(*size), RGB, LETTERBOX)

    assert (placement.width, placement.height) == pytest.approx(placed)
    assert (small[-1, -1] == 114).all()


def test_squeezing_does_not_keep_the_aspect() -> None:
    small, placement = fit_picture(picture(48, 96), RGB, Resize(kernel="linear", fit="squeeze"))

    assert small.shape == (24, 32, 3)
    assert (placement.width, placement.height) == (1, 1)


def test_the_crop_is_a_square_around_the_boxs_middle() -> None:
    box = Box(0.25, 0.25, 0.5, 0.75)  # 50 x 100 pixels of 200 x 200

    assert crop_square(200, 200, box, Crop(scale=1.2, kernel="area")) == (15, 40, 120)
    assert crop_square(200, 200, box, Crop(scale=1.2, shift=-0.1, kernel="area")) == (15, 30, 120)


def test_what_lies_outside_the_frame_repeats_its_edge() -> None:
    pixels = np.zeros((100, 100, 3), np.uint8)
    pixels[:, 0] = 200

    crop = crop_face(pixels, Box(-0.1, 0.4, 0.1, 0.6), GREY, CROP)

    assert (crop[:, :8] == 200).all()
    assert (crop[:, 12:] == 0).all()


def test_a_face_outside_the_frame_is_an_error() -> None:
    with pytest.raises(ValueError, match="lies outside"):
        crop_face(picture(100, 100), Box(1.5, 0.4, 1.7, 0.6), GREY, CROP)


@pytest.mark.parametrize("input_", [RGB, GREY], ids=["int8", "float32"])
def test_the_table_agrees_with_the_arithmetic(input_: InputTensor) -> None:
    pixels = np.arange(256, dtype=np.uint8).repeat(input_.width * input_.height * input_.channels // 256 + 1)
    pixels = pixels[: input_.width * input_.height * input_.channels].reshape(input_.shape[1:])
    real = pixels * input_.pixel_scale + input_.pixel_offset

    tensor = Quantizer(input_)(pixels if input_.channels == 3 else pixels[..., 0])

    if input_.quantization is None:
        assert tensor[0] == pytest.approx(real.astype(np.float32))
    else:
        stored = np.clip(np.round(real / input_.quantization.scale), -128, 127)
        assert (tensor[0] == stored).all()


def test_the_golden_picture_is_the_same_bytes_everywhere() -> None:
    """The digest of one picture; a change would break the self-test of every bundle in the field."""
    digest = hashlib.sha256(golden_pixels(RGB, 1).tobytes()).hexdigest()

    assert digest.startswith("dab0a02b0d71b32b")

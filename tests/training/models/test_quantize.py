"""What is exported is int8 from end to end, and its manifest entry says what the file is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from portability import SEED, Margins

pytestmark = [pytest.mark.training, pytest.mark.lengthy]


@pytest.fixture(scope="module")
def tiny() -> Any:
    """An untrained classifier of 16x16 grey pictures in three classes, and its int8 file."""
    import keras

    from oahega_build.models.mobilenet import Block, Head, Trunk, classifier
    from oahega_build.models.quantize import to_int8
    from oahega_edge.manifest import InputTensor

    keras.utils.set_random_seed(SEED)
    blocks = (Block(8), Block(16, 2, "dense"), Block(16, 1, "separable", residual=True))
    model = classifier((16, 16, 1), Trunk(stem_channels=8, stem_stride=1, blocks=blocks), 3, Head())
    float_input = InputTensor(
        width=16, height=16, colour="grey", dtype="float32", pixel_scale=1 / 127.5, pixel_offset=-1
    )
    rng = np.random.default_rng(2)
    pictures = [rng.integers(0, 256, (16, 16), np.uint8) for _ in range(20)]
    return model, float_input, pictures, to_int8(model, pictures, float_input)


def test_the_file_answers_nearly_as_the_float_network(tiny: Any, margins: Margins) -> None:
    from oahega_build.models.exported import Exported, input_tensor, output_tensors
    from oahega_build.models.quantize import real_pixels
    from oahega_edge.chain.detection import dequantize
    from oahega_edge.chain.preprocess import Quantizer

    model, float_input, pictures, data = tiny
    input_ = input_tensor(data, "grey", 1 / 127.5, -1)
    outputs = output_tensors(data, {"logits": "logits"})
    real = np.stack([real_pixels(p, float_input).reshape(16, 16, 1) for p in pictures])

    answers = Exported(data, outputs).run_all(Quantizer(input_)(p) for p in pictures)

    stored = np.stack([answer["logits"][0] for answer in answers])
    assert outputs[0].shape == (1, 3)
    assert outputs[0].dtype == input_.dtype == "int8"
    wanted = model.predict(real, verbose=0)
    error = np.sqrt(np.mean((dequantize(stored, outputs[0]) - wanted) ** 2))
    margins.at_most("error as a share of the answers' spread", error / wanted.std(), 0.25)


def test_a_file_with_float_ends_is_refused_by_name(tiny: Any) -> None:
    from oahega_build.errors import ExportError
    from oahega_build.models.exported import require_int8
    from oahega_build.models.quantize import float_tflite

    with pytest.raises(ExportError, match="float32"):
        require_int8(float_tflite(tiny[0]))


def test_a_network_gives_the_same_file_whatever_was_built_before_it(tiny: Any) -> None:
    import keras

    from oahega_build.models.quantize import to_int8

    model, float_input, pictures, data = tiny
    keras.Model(model.inputs, model.outputs)  # takes the next name that is counted

    assert to_int8(model, pictures, float_input) == data


def test_the_golden_answer_is_the_files_own_and_fits_the_manifest(tiny: Any) -> None:
    from oahega_build.models.exported import Exported, golden, input_tensor, output_tensors
    from oahega_edge.chain.preprocess import Quantizer, golden_pixels

    data = tiny[3]
    input_ = input_tensor(data, "grey", 1 / 127.5, -1)
    outputs = output_tensors(data, {"logits": "logits"})

    expected = golden(data, input_, outputs)

    tensor = Quantizer(input_)(golden_pixels(input_, expected.seed))
    assert expected.samples[0].value == tuple(Exported(data, outputs).run(tensor)["logits"].reshape(-1))


def test_an_output_that_the_file_lacks_is_named(tiny: Any) -> None:
    from oahega_build.errors import ExportError
    from oahega_build.models.exported import output_tensors

    with pytest.raises(ExportError, match=r"\['boxes'\].*\['logits'\]"):
        output_tensors(tiny[3], {"boxes": "boxes"})


def test_a_grey_model_is_not_described_as_colour(tiny: Any) -> None:
    from oahega_build.errors import ExportError
    from oahega_build.models.exported import input_tensor

    with pytest.raises(ExportError, match="1 channels"):
        input_tensor(tiny[3], "rgb", 1 / 127.5, -1)


def test_quantizing_without_a_picture_is_refused(tiny: Any) -> None:
    from oahega_build.errors import ExportError
    from oahega_build.models.quantize import to_int8

    with pytest.raises(ExportError, match="representative"):
        to_int8(tiny[0], [], tiny[1])

"""Dequantised ImageNet weights answer as their TFLite file does, layer by layer."""

from __future__ import annotations

import dataclasses
import os
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

pytestmark = [pytest.mark.training, pytest.mark.shared]

SHARED = Path(os.environ.get("OAHEGA_SHARED", Path(__file__).resolve().parents[3] / "../shared"))
INIT = SHARED / "data" / "init"
FILES = {
    0.25: "mobilenet_v1_0.25_128_quant.tflite",
    0.5: "mobilenet_v1_0.5_160_quant.tflite",
    0.75: "mobilenet_v1_0.75_192_quant.tflite",
    1.0: "mobilenet_v1_1.0_224_quant_embedding_extractor.tflite",
}
needs_init = pytest.mark.skipif(not INIT.is_dir(), reason="../shared/data/init is absent")


@needs_init
@pytest.mark.filterwarnings("ignore:.*preserve_all_tensors:UserWarning")
@pytest.mark.parametrize("width", FILES)
@pytest.mark.parametrize("batch_norm", [True, False])
def test_every_layer_answers_as_the_file_does(width: float, batch_norm: bool) -> None:
    """Each Keras layer gets the file's own activations, so that rounding does not add up."""
    import keras

    from oahega_build.models.mobilenet import Trunk, build_trunk, convolution_names
    from oahega_build.models.operators import read_operators
    from oahega_build.models.warmstart import warm_start

    path = INIT / FILES[width]
    trunk = Trunk(width=width, batch_norm=batch_norm)
    pixels = keras.Input((64, 64, 3))
    model = keras.Model(pixels, build_trunk(pixels, trunk).last)
    interpreter = Interpreter(str(path), experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    convolutions = [operator for operator in read_operators(path) if "CONV_2D" in operator.name]
    filled = warm_start(model, trunk, path)
    given = interpreter.get_input_details()[0]
    picture = np.random.default_rng(3).integers(0, 256, given["shape"], np.uint8)
    interpreter.set_tensor(given["index"], picture)

    interpreter.invoke()

    assert filled == convolution_names(trunk)
    for name, convolution in zip(filled, convolutions, strict=False):  # the file's last is its classifier
        x, expected = (
            dataclasses.replace(tensor, data=interpreter.get_tensor(tensor.index).tobytes()).value()
            for tensor in (convolution.inputs[0], convolution.outputs[0])
        )
        (step,) = convolution.outputs[0].scales
        answer = model.get_layer(name)(x)
        if batch_norm:
            answer = model.get_layer(f"{name}_norm")(answer, training=False)
        answer = np.asarray(model.get_layer(f"{name}_relu")(answer))
        assert answer.shape == expected.shape
        assert np.abs(answer - expected).max() <= 1.01 * step, name


@needs_init
def test_a_grey_stem_answers_to_a_grey_picture_as_the_colour_stem() -> None:
    import keras

    from oahega_build.models.mobilenet import Trunk, build_trunk
    from oahega_build.models.warmstart import warm_start

    trunk = Trunk(width=0.25, stem_stride=1)
    models = []
    for channels in (1, 3):
        pixels = keras.Input((16, 16, channels))
        models.append(keras.Model(pixels, build_trunk(pixels, trunk, until_stride=2).last))
        warm_start(models[-1], trunk, INIT / FILES[0.25])
    grey = np.random.default_rng(5).uniform(-1, 1, (1, 16, 16, 1)).astype(np.float32)

    answer = models[0](grey)
    expected = models[1](np.repeat(grey, 3, axis=3))

    assert np.allclose(answer, expected, atol=1e-4)


@needs_init
def test_a_file_of_another_width_is_refused_with_both_shapes() -> None:
    import keras

    from oahega_build.errors import RecipeError
    from oahega_build.models.mobilenet import Trunk, build_trunk
    from oahega_build.models.warmstart import warm_start

    trunk = Trunk(width=0.5)
    pixels = keras.Input((32, 32, 3))
    model = keras.Model(pixels, build_trunk(pixels, trunk).last)

    with pytest.raises(RecipeError, match=r"\(3, 3, 3, 16\).*\(3, 3, 3, 8\)"):
        warm_start(model, trunk, INIT / FILES[0.25])


def test_a_file_that_is_no_model_is_named(tmp_path: Path) -> None:
    from oahega_build.errors import DataError
    from oahega_build.models.warmstart import read_convolutions

    path = tmp_path / "broken.tflite"
    path.write_bytes(b"not a model")

    with pytest.raises(DataError, match=r"broken\.tflite"):
        read_convolutions(path)


def test_a_shallower_detector_starts_from_the_layers_of_the_embedded_one() -> None:
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet
    from oahega_build.models.trunk import Trunk
    from oahega_build.models.warmstart import read_convolutions, start_from_detector
    from oahega_build.recipes.detector_far_narrow_finish import RECIPE
    from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle

    bundle = load_bundle(DEFAULT_BUNDLE)
    entry = bundle.manifest.detector
    path = bundle.file(entry.cpu)
    trunk = Trunk(width=0.75, batch_norm=False, blocks=RECIPE.net.trunk.blocks[:4])
    net = SsdNet(trunk=trunk, trunk_stride=8, extras=(96, 128, 128), neck=0)
    finest, *others = entry.decoder.levels
    levels = (finest.model_copy(update={"anchors": finest.anchors[:1]}), *others)
    model = build_ssd(net, levels)

    filled = start_from_detector(model, path)

    begun = [name for name in filled if name.startswith(("stem", "block"))]
    assert begun == filled[:11]  # stem, four blocks of two layers, two of which are narrow
    assert "head8_scores" not in filled  # one anchor instead of several
    for name, expected in zip(begun, read_convolutions(path), strict=False):
        kernel, bias = model.get_layer(name).get_weights()
        assert np.array_equal(kernel, expected.kernel)
        assert np.array_equal(bias, expected.bias)


def test_the_embedded_detector_answers_in_real_numbers_as_its_file_does() -> None:
    from oahega_build.models.exported import Exported
    from oahega_build.models.operators import read_operators
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.warmstart import start_from_detector
    from oahega_build.recipes.detector_far_narrow_finish import RECIPE
    from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
    from oahega_edge.chain.detection import dequantize
    from oahega_edge.chain.preprocess import Quantizer
    from oahega_edge.manifest import output_of

    bundle = load_bundle(DEFAULT_BUNDLE)
    entry = bundle.manifest.detector
    path = bundle.file(entry.cpu)
    model = build_ssd(RECIPE.net, entry.decoder.levels)
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)

    filled = start_from_detector(model, path)

    assert len(filled) == sum("CONV_2D" in operator.name for operator in read_operators(path))
    ours = model(pixels[None].astype(np.float32) / 127.5 - 1, training=False)["scores"]
    (answer,) = Exported(path.read_bytes(), entry.outputs).run_all([Quantizer(entry.input)(pixels)])
    theirs = dequantize(answer["scores"], output_of(entry, "scores"))
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.9


def test_the_committed_weights_answer_as_the_embedded_detector_does() -> None:
    from oahega_build.detector.checkpoint import fill_averaged, read_decoder
    from oahega_build.models.exported import Exported
    from oahega_build.models.ssd import build_ssd
    from oahega_build.recipes.detector_far_narrow_finish import RECIPE
    from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
    from oahega_edge.chain.detection import dequantize
    from oahega_edge.chain.preprocess import Quantizer
    from oahega_edge.manifest import output_of

    bundle = load_bundle(DEFAULT_BUNDLE)
    entry = bundle.manifest.detector
    weights = Path(__file__).resolve().parents[3] / "build/weights/detector"
    model = build_ssd(RECIPE.net, read_decoder(weights).levels)
    pixels = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)

    fill_averaged(model, weights / "weights.npz")

    assert sha256((weights / "weights.npz").read_bytes()).hexdigest() == entry.card.weights
    assert read_decoder(weights) == entry.decoder
    ours = model(pixels[None].astype(np.float32) / 127.5 - 1, training=False)["scores"]
    (answer,) = Exported(bundle.file(entry.cpu).read_bytes(), entry.outputs).run_all(
        [Quantizer(entry.input)(pixels)]
    )
    theirs = dequantize(answer["scores"], output_of(entry, "scores"))
    assert np.corrcoef(np.ravel(ours), np.ravel(theirs))[0, 1] > 0.9


def test_a_file_of_another_network_starts_no_detector() -> None:
    from oahega_build.errors import DataError
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet
    from oahega_build.models.warmstart import start_from_detector
    from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle

    bundle = load_bundle(DEFAULT_BUNDLE)
    model = build_ssd(SsdNet(), bundle.manifest.detector.decoder.levels)

    with pytest.raises(DataError, match="no layer of this detector"):
        start_from_detector(model, bundle.file(bundle.manifest.emotion.cpu))

"""Trained weights from a quantized `.tflite` into our Keras layers.

In the files (google-coral/test_data) the batch norm is folded into kernels and biases. A trunk without batch
norm takes them as they are. In a trunk with batch norm the kernels are taken as they are, and each norm
starts as the identity plus the bias, so that training can continue.

A pointwise layer of the file can become two, through fewer channels. Those start as the principal components
of what the whole layer answers on real inputs (Zhang et al. 2015, arXiv 1505.06798).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError, RecipeError
from oahega_build.models.mobilenet import Trunk, build_trunk, convolution_names
from oahega_build.models.operators import read_operators

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@dataclass(frozen=True, slots=True)
class Convolution:
    """One convolution of a file, in real numbers."""

    kernel: NDArray[np.float32]
    """Keras's layout: (height, width, in, out), or (height, width, in, 1) when depthwise."""
    bias: NDArray[np.float32]


def read_convolutions(path: Path) -> list[Convolution]:
    """Every convolution of a MobileNetV1 file in the order of the data, the classifier's 1x1 excluded.

    Raises DataError when the file cannot be read or holds no convolutions.
    """
    found = []
    for operator in read_operators(path):
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        activations, kernel, bias = operator.inputs
        if operator.shape[1] == 1 and activations.shape[1] == 1:
            continue  # after the pooling: the 1000 classes
        # TFLite keeps (out, height, width, in), and (1, height, width, out) when depthwise.
        found.append(Convolution(kernel.value().transpose(1, 2, 3, 0), bias.value()))
    if not found:
        raise DataError(f"{path} holds no convolutions to start from; give a MobileNetV1 .tflite")
    return found


def warm_start(model: keras.Model, trunk: Trunk, path: Path) -> list[str]:
    """Fill the trunk's layers of `model` from the file and return their names.

    The file expects RGB pixels from -1 to 1: train with pixel_scale 1/127.5 and pixel_offset -1. A grey stem
    gets the sum of the three colour kernels, so that it answers a grey picture as the colour stem does.
    Layers that `model` does not have (a cut trunk) are skipped. Raises RecipeError when the shape of a kernel
    does not fit (another width, dense blocks).
    """
    present = {layer.name: layer for layer in model.layers}
    filled = []
    for name, convolution in zip(convolution_names(trunk), read_convolutions(path), strict=False):
        if name not in present:
            break
        _fill(present, name, convolution, path)
        filled.append(name)
    return filled


def start_from_exported(model: keras.Model, trunk: Trunk, path: Path) -> None:
    """Fill a classifier from the file that one of the same shape was exported to, logits included.

    The weights are those of int8, and batch norm starts as the identity; `identity.settle_norms` gives it
    statistics. Raises RecipeError when the shape of a kernel does not fit.
    """
    present = {layer.name: layer for layer in model.layers}
    for name, convolution in zip(convolution_names(trunk), read_convolutions(path), strict=True):
        _fill(present, name, convolution, path)
    last = [operator for operator in read_operators(path) if operator.name == "CONV_2D"][-1]
    _, kernel, bias = last.inputs
    present["last"].set_weights([kernel.value().transpose(1, 2, 3, 0), bias.value()])


def start_from_detector(model: keras.Model, path: Path) -> list[str]:
    """Fill a detector's convolutions from an exported detector, and return the names of those filled.

    A layer is found by its name, which the converter keeps in the name of its kernel. Layers that the file
    lacks or has in another shape are left as they are. Raises DataError where nothing fits.
    """
    present = {layer.name: layer for layer in model.layers}
    filled = []
    for operator in read_operators(path):
        if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            continue
        _, kernel, bias = operator.inputs
        name = _layer_of(kernel.name, present)
        convolution = Convolution(kernel.value().transpose(1, 2, 3, 0), bias.value())
        if name is not None and convolution.kernel.shape == tuple(present[name].weights[0].shape):
            _fill(present, name, convolution, path)
            filled.append(name)
    if not filled:
        raise DataError(
            f"{path} has no layer of this detector; give a detector.tflite that this product made"
        )
    return filled


def _layer_of(tensor: str, present: Mapping[str, Any]) -> str | None:
    """The convolution that a kernel such as `ssd_1/block1_depthwise_1/depthwise` belongs to."""
    parts = [part.removesuffix("_1").removesuffix("_norm") for part in re.split("[/;]", tensor)]
    found = [part for part in parts if isinstance(present.get(part), CONVOLUTIONS)]
    return found[0] if found else None


def _fill(present: dict[str, Any], name: str, convolution: Convolution, path: Path) -> None:
    layer = present[name]
    kernel = convolution.kernel
    expected = tuple(layer.weights[0].shape)
    if name == "stem" and expected[2] == 1 and kernel.shape[2] == 3:
        kernel = kernel.sum(axis=2, keepdims=True)
    if kernel.shape != expected:
        raise RecipeError(f"layer {name} has shape {expected}, {path.name} has {kernel.shape} there")
    if layer.use_bias:
        layer.set_weights([kernel, convolution.bias])
        return
    layer.set_weights([kernel])
    norm = present[f"{name}_norm"]
    channels = len(convolution.bias)
    # gamma / sqrt(variance + epsilon) = 1, beta = bias: the same answer as the folded convolution.
    gamma = np.full(channels, np.sqrt(1 + norm.epsilon), np.float32)
    norm.set_weights([gamma, convolution.bias, np.zeros(channels, np.float32), np.ones(channels, np.float32)])


def settle_norms(model: keras.Model, filled: Sequence[str], pixels: NDArray[np.float32]) -> None:
    """Give the norms behind `filled` layers the statistics of real inputs, without changing any answer.

    Right after `warm_start` they are the identity, and the first training step would replace that by each
    batch's own statistics, which scrambles what the weights had learned.
    """
    probe = keras.Model(model.inputs, [model.get_layer(name).output for name in filled])
    for name, activations in zip(filled, probe.predict(pixels, batch_size=16, verbose=0), strict=True):
        norm = model.get_layer(f"{name}_norm")
        beta = norm.get_weights()[1]
        mean, variance = activations.mean(axis=(0, 1, 2)), activations.var(axis=(0, 1, 2))
        norm.set_weights([np.sqrt(variance + norm.epsilon), beta + mean, mean, variance])


def whole_trunk(model: keras.Model, trunk: Trunk) -> keras.Model:
    """The trunk of `model` with its factored blocks whole, untrained; its layers have the same names."""
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    whole = replace(trunk, blocks=tuple(replace(block, rank=0) for block in trunk.blocks))
    return keras.Model(pixels, build_trunk(pixels, whole).last, name="whole")


def factor(model: keras.Model, whole: keras.Model, trunk: Trunk, pixels: NDArray[np.float32]) -> list[str]:
    """Fill the pointwise layers factored in `model` alone from those of `whole`, and return their names.

    `pixels` (n, height, width, 3) are inputs in the network's scale. Raises RecipeError where the trunk has
    batch norm, whose statistics would not fit.
    """
    if trunk.batch_norm:
        raise RecipeError("a factored block starts from a whole one only in a trunk without batch norm")
    there = {layer.name for layer in whole.layers}
    ranks = {
        f"block{number}": block.rank
        for number, block in enumerate(trunk.blocks, start=1)
        if block.rank and f"block{number}_reduce" not in there
    }
    probe = keras.Model(whole.inputs, {name: whole.get_layer(f"{name}_pointwise").output for name in ranks})
    answers: Mapping[str, NDArray[np.float32]] = probe.predict(pixels, batch_size=16, verbose=0)
    for name, rank in ranks.items():
        kernel, bias = whole.get_layer(f"{name}_pointwise").get_weights()
        values = answers[name].reshape(-1, answers[name].shape[-1]).astype(np.float64)
        mean = values.mean(axis=0)
        _, axes = np.linalg.eigh(np.cov(values, rowvar=False))
        basis = axes[:, ::-1][:, :rank]  # (channels, rank), the widest first
        # y = W x + b, and y - mean is nearly B Bt (y - mean).
        model.get_layer(f"{name}_reduce").set_weights([kernel @ basis, (bias - mean) @ basis])
        model.get_layer(f"{name}_pointwise").set_weights([basis.T[None, None], mean])
    return [f"{name}_pointwise" for name in ranks]

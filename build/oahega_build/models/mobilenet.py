"""MobileNetV1's blocks in plain Keras layers, shared by the detector and the classifier.

Howard et al. 2017, table 1. Every convolution pads SAME and ends in ReLU6, so that the whole trunk
maps to int8 and to the Edge TPU. Layers carry the names that `warmstart` fills.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
from keras import layers, ops

from oahega_build.models.trunk import MOBILENET_V1, Block, Trunk, convolution_names

__all__ = [
    "MOBILENET_V1",
    "Block",
    "FeatureMaps",
    "Head",
    "Trunk",
    "build_trunk",
    "classifier",
    "convolution_names",
]


@dataclass(frozen=True, slots=True)
class FeatureMaps:
    """What a trunk made of its input."""

    last: keras.KerasTensor
    by_stride: dict[int, keras.KerasTensor]
    """The deepest map of each stride, in units of input pixels per cell."""


def build_trunk(pixels: keras.KerasTensor, trunk: Trunk, until_stride: int | None = None) -> FeatureMaps:
    """`pixels` (n, height, width, channels) through the trunk; cells of stride s lie SAME-padded.

    `until_stride` leaves out the blocks that would go deeper than that stride.
    """
    stride = trunk.stem_stride
    x = _convolution(pixels, trunk, "stem", trunk.channels(trunk.stem_channels), 3, trunk.stem_stride)
    by_stride = {stride: x}
    for number, block in enumerate(trunk.blocks, start=1):
        if until_stride is not None and stride * block.stride > until_stride:
            break
        stride *= block.stride
        x = _block(x, trunk, block, f"block{number}")
        by_stride[stride] = x
    return FeatureMaps(x, by_stride)


@dataclass(frozen=True, slots=True)
class Head:
    """What stands between the trunk and the logits."""

    hidden: Sequence[int] = ()
    """Units of the dense layers."""
    on_map: bool = False
    """The dense layers see every cell of the last feature map and pooling comes after them (paper,
    figure 6); otherwise they see the pooled features."""
    dropout: float = 0.0
    l2: float = 0.0
    """Weight decay on the dense layers' kernels."""


def classifier(
    input_shape: tuple[int | None, int | None, int], trunk: Trunk, classes: int, head: Head
) -> keras.Model:
    """Trunk, global average pooling, dense layers, `logits` (n, classes).

    The last step is a 1x1 convolution and not a Dense layer, because the converter quantizes a
    Dense layer's weights per channel, which the Edge TPU compiler refuses.
    """
    pixels = keras.Input(input_shape, name="pixels")
    x = build_trunk(pixels, trunk).last
    if head.on_map:
        x = _hidden(x, head)
    x = layers.GlobalAveragePooling2D(keepdims=True, name="pool")(x)
    if not head.on_map:
        x = _hidden(x, head)
    x = layers.Dropout(head.dropout, name="dropout")(x)
    x = layers.Conv2D(classes, 1, kernel_regularizer=_decay(head.l2), name="last")(x)
    logits = layers.Reshape((classes,), name="logits")(x)
    return keras.Model(pixels, logits, name="mobilenet_classifier")


def _hidden(x: keras.KerasTensor, head: Head) -> keras.KerasTensor:
    for number, units in enumerate(head.hidden, start=1):
        x = layers.Dropout(head.dropout, name=f"hidden{number}_dropout")(x)
        x = layers.Conv2D(units, 1, kernel_regularizer=_decay(head.l2), name=f"hidden{number}")(x)
        x = layers.ReLU(6, name=f"hidden{number}_relu")(x)
    return x


def _decay(l2: float) -> keras.regularizers.Regularizer | None:
    return keras.regularizers.L2(l2) if l2 else None


def _block(x: keras.KerasTensor, trunk: Trunk, block: Block, name: str) -> keras.KerasTensor:
    before = x
    channels = trunk.channels(block.channels)
    if block.kind == "dense":
        x = _convolution(x, trunk, f"{name}_dense", channels, 3, block.stride)
    elif block.kind == "inverted":
        if block.expansion > 1:
            x = _convolution(x, trunk, f"{name}_expand", block.expansion * before.shape[-1], 1, 1)
        x = _depthwise(x, trunk, f"{name}_depthwise", block.stride, block.kernel)
        x = _convolution(x, trunk, f"{name}_pointwise", channels, 1, 1, active=False)
    else:
        x = _depthwise(x, trunk, f"{name}_depthwise", block.stride)
        if block.rank:
            x = _convolution(x, trunk, f"{name}_reduce", block.rank, 1, 1, active=False)
        x = _convolution(x, trunk, f"{name}_pointwise", channels, 1, 1)
    if not block.residual:
        return x
    if block.stride != 1 or before.shape[-1] != channels:
        raise ValueError(
            f"{name} cannot be residual: stride {block.stride}, {before.shape[-1]} -> {channels}"
        )
    return layers.Add(name=f"{name}_add")([x, before])


def _convolution(
    x: keras.KerasTensor, trunk: Trunk, name: str, channels: int, size: int, stride: int, active: bool = True
) -> keras.KerasTensor:
    x = layers.Conv2D(
        channels,
        size,
        stride,
        padding="same",
        use_bias=not trunk.batch_norm,
        kernel_regularizer=_decay(trunk.l2),
        name=name,
        dtype=None if trunk.precision == "float32" else trunk.precision,
    )(x)
    return _activation(x, trunk, name, active)


def _depthwise(
    x: keras.KerasTensor, trunk: Trunk, name: str, stride: int, size: int = 3
) -> keras.KerasTensor:
    x = depthwise_layer()(
        size,
        stride,
        padding="same",
        use_bias=not trunk.batch_norm,
        name=name,
    )(x)
    return _activation(x, trunk, name)


class ShiftedDepthwise(layers.DepthwiseConv2D):
    """The same convolution as a sum of shifted pictures, which XLA makes one kernel of.

    Its grouped convolutions are slow on GPUs, their gradients above all.
    """

    def call(self, inputs: Any) -> Any:
        """(n, height, width, channels), padded SAME as TensorFlow pads."""
        size, stride = self.kernel_size[0], self.strides[0]
        across = [math.ceil(side / stride) for side in inputs.shape[1:3]]
        missing = [
            max((n - 1) * stride + size - side, 0) for n, side in zip(across, inputs.shape[1:3], strict=True)
        ]
        edges = [(m // 2, m - m // 2) for m in missing]
        x = ops.pad(inputs, [(0, 0), *edges, (0, 0)])
        rows, columns = ((n - 1) * stride + 1 for n in across)
        kernel = ops.cast(self.kernel, x.dtype)
        parts = [
            x[:, i : i + rows : stride, j : j + columns : stride] * kernel[i, j, :, 0]
            for i, j in itertools.product(range(size), repeat=2)
        ]
        y = sum(parts[1:], start=parts[0])
        return y + ops.cast(self.bias, x.dtype) if self.use_bias else y


def depthwise_layer() -> type[layers.DepthwiseConv2D]:
    """For this backend; the weights are the same."""
    return ShiftedDepthwise if keras.backend.backend() == "jax" else layers.DepthwiseConv2D


def _activation(x: keras.KerasTensor, trunk: Trunk, name: str, active: bool = True) -> keras.KerasTensor:
    if trunk.batch_norm:
        x = layers.BatchNormalization(momentum=trunk.norm_momentum, name=f"{name}_norm")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x) if active else x

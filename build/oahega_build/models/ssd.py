"""SSDLite on a MobileNetV1 trunk: raw heads, one label and one logit per anchor.

Liu et al. 2016 (anchors on several maps), Sandler et al. 2018 (separable heads). The maps start at
stride 8, because from stride 16 on faces below 30 px are lost; a top-down path gives the fine maps
what the deep ones know. Everything pads SAME, so that a map has ceil(size / stride) cells, as
`oahega_edge.chain.detection.anchor_boxes` counts them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
from keras import layers

from oahega_build.models.mobilenet import build_trunk, depthwise_layer
from oahega_build.models.ssd_net import SsdNet
from oahega_edge.manifest import AnchorLevel

PRIOR = 0.01
"""What every anchor's score starts at (Lin et al. 2017, section 4.1), so that the many negatives do not
swamp the first steps."""


def build_ssd(net: SsdNet, levels: Sequence[AnchorLevel]) -> keras.Model:
    """Pixels (n, height, width, 3) in -1..1 -> {boxes: (n, N, 4), scores: (n, N, 1)}, logits and offsets.

    N runs over levels, rows, columns, anchors. Raises ValueError when the levels are not the net's maps.
    """
    if tuple(level.stride for level in levels) != net.strides:
        raise ValueError(
            f"anchors stand on strides {[level.stride for level in levels]}, "
            f"the network's maps have {list(net.strides)}"
        )
    pixels = keras.Input((net.height, net.width, 3), name="pixels")
    maps = dict(build_trunk(pixels, net.trunk, until_stride=net.trunk_stride).by_stride)
    stride = net.trunk_stride
    for number, channels in enumerate(net.extras, start=1):
        x = _depthwise(maps[stride], f"extra{number}_depthwise", 2)
        x = _pointwise(x, f"extra{number}_pointwise", channels)
        for block in range(1, net.extra_blocks + 1):
            x = _residual(x, f"extra{number}_block{block}", channels)
        stride *= 2
        maps[stride] = x
    if net.neck:
        _top_down(maps, net)
    boxes, scores = [], []
    for level in levels:
        of_level = _head(maps[level.stride], len(level.anchors), net.head, f"head{level.stride}")
        boxes.append(of_level[0])
        scores.append(of_level[1])
    outputs = {
        "boxes": layers.Concatenate(axis=1, name="boxes", dtype="float32")(boxes),
        "scores": layers.Concatenate(axis=1, name="scores", dtype="float32")(scores),
    }
    return keras.Model(pixels, outputs, name="ssd")


def _top_down(maps: dict[int, keras.KerasTensor], net: SsdNet) -> None:
    """Replace the maps finer than `neck_until` by `neck` channels that have seen the coarser ones."""
    strides = [stride for stride in net.strides if stride <= net.neck_until]
    coarser: keras.KerasTensor | None = None
    for stride in reversed(strides):
        x = _pointwise(maps[stride], f"neck{stride}_lateral", net.neck)
        if coarser is not None:
            up = _cropped(_doubled(coarser, f"neck{stride}_up"), x.shape[1], x.shape[2], f"neck{stride}_crop")
            x = layers.Add(name=f"neck{stride}_add")([x, up])
            x = _pointwise(_depthwise(x, f"neck{stride}_depthwise", 1), f"neck{stride}_pointwise", net.neck)
        coarser = x
        if stride != strides[-1]:
            maps[stride] = x  # the coarsest keeps its own, wider map


def _doubled(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    """Every cell twice in both directions.

    Joined and reshaped, because Keras's own upsampling becomes TILE, which the Edge TPU compiler refuses.
    """
    _, height, width, channels = x.shape
    x = layers.Concatenate(axis=-1, name=f"{name}_columns")([x, x])
    x = layers.Reshape((height, 1, 2 * width * channels), name=f"{name}_rows_flat")(x)
    x = layers.Concatenate(axis=-1, name=f"{name}_rows")([x, x])
    return layers.Reshape((2 * height, 2 * width, channels), name=name)(x)


def _cropped(x: keras.KerasTensor, height: int, width: int, name: str) -> keras.KerasTensor:
    """An odd map's upsampled neighbour is one cell too large."""
    rows, columns = x.shape[1] - height, x.shape[2] - width
    return layers.Cropping2D(((0, rows), (0, columns)), name=name)(x) if rows or columns else x


def _head(
    x: keras.KerasTensor, anchors: int, channels: int, name: str
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    x = _depthwise(x, f"{name}_depthwise", 1)
    if channels:
        x = _pointwise(x, f"{name}_pointwise", channels)
    small = keras.initializers.RandomNormal(stddev=0.01)
    prior = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
    # Float32 also where the rest is trained in bfloat16, whose steps are too coarse for offsets.
    boxes = layers.Conv2D(anchors * 4, 1, kernel_initializer=small, name=f"{name}_boxes", dtype="float32")(x)
    scores = layers.Conv2D(
        anchors, 1, kernel_initializer=small, bias_initializer=prior, name=f"{name}_scores", dtype="float32"
    )(x)
    cells = x.shape[1] * x.shape[2]
    return (
        layers.Reshape((cells * anchors, 4), name=f"{name}_boxes_flat", dtype="float32")(boxes),
        layers.Reshape((cells * anchors, 1), name=f"{name}_scores_flat", dtype="float32")(scores),
    )


def _depthwise(x: keras.KerasTensor, name: str, stride: int) -> keras.KerasTensor:
    x = depthwise_layer()(3, stride, padding="same", use_bias=False, name=name)(x)
    return _activation(x, name)


def _pointwise(x: keras.KerasTensor, name: str, channels: int) -> keras.KerasTensor:
    x = layers.Conv2D(channels, 1, use_bias=False, name=name)(x)
    return _activation(x, name)


def _residual(x: keras.KerasTensor, name: str, channels: int) -> keras.KerasTensor:
    deeper = _pointwise(_depthwise(x, f"{name}_depthwise", 1), f"{name}_pointwise", channels)
    return layers.Add(name=f"{name}_add")([x, deeper])


def _activation(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    x = layers.BatchNormalization(momentum=0.97, name=f"{name}_norm")(x)
    return layers.ReLU(6, name=f"{name}_relu")(x)

"""Cheaper layers that start from whole ones: a pointwise layer as two, through fewer channels.

The channels in the middle are the principal components of what the whole layer answers on real inputs
(Zhang et al. 2015, arXiv 1505.06798), so that training goes on from a network that knows what it knew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.errors import RecipeError
from oahega_build.models.mobilenet import build_trunk
from oahega_build.models.trunk import Trunk


def whole_trunk(model: keras.Model, trunk: Trunk) -> keras.Model:
    """The trunk of `model` with its factored blocks whole, untrained; its layers have the same names."""
    pixels = keras.Input(model.input_shape[1:], name="pixels")
    whole = replace(trunk, blocks=tuple(replace(block, rank=0) for block in trunk.blocks))
    return keras.Model(pixels, build_trunk(pixels, whole).last, name="whole")


def factor(model: keras.Model, whole: keras.Model, trunk: Trunk, pixels: NDArray[np.float32]) -> list[str]:
    """Fill the factored pointwise layers of `model` from those of `whole`, and return their names.

    `pixels` (n, height, width, 3) are inputs in the network's scale. Raises RecipeError where the trunk has
    batch norm, whose statistics would not fit.
    """
    if trunk.batch_norm:
        raise RecipeError("a factored block starts from a whole one only in a trunk without batch norm")
    ranks = {f"block{number}": block.rank for number, block in enumerate(trunk.blocks, start=1) if block.rank}
    if not ranks:
        return []
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

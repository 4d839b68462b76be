"""A layer in two parts starts as the whole layer's best approximation."""

from __future__ import annotations

import numpy as np
import pytest

from oahega_build.errors import RecipeError
from oahega_build.models.trunk import Block, Trunk

pytestmark = pytest.mark.training

SIDE = 32


def factored(rank: int) -> tuple[float, float]:
    """(correlation of the trunk's answer with the whole one, difference of the means) on new pictures."""
    import keras

    from oahega_build.models.mobilenet import build_trunk
    from oahega_build.models.warmstart import factor, whole_trunk

    keras.utils.set_random_seed(4)
    trunk = Trunk(stem_channels=16, blocks=(Block(24), Block(24, rank=rank)), batch_norm=False)
    pixels = keras.Input((SIDE, SIDE, 3), name="pixels")
    model = keras.Model(pixels, build_trunk(pixels, trunk).last)
    whole = whole_trunk(model, trunk)
    for layer in model.layers:
        if layer.weights and "reduce" not in layer.name and layer.name != "block2_pointwise":
            layer.set_weights(whole.get_layer(layer.name).get_weights())
    rng = np.random.default_rng(1)
    given, new = rng.uniform(-1, 1, (2, 16, SIDE, SIDE, 3)).astype(np.float32)

    assert factor(model, whole, trunk, given) == ["block2_pointwise"]

    ours, theirs = (np.ravel(net.predict(new, verbose=0)) for net in (model, whole))
    return float(np.corrcoef(ours, theirs)[0, 1]), abs(float(ours.mean() - theirs.mean()))


def test_with_all_channels_the_answer_is_the_same_and_with_few_nearly() -> None:
    (all_, all_off), (few, few_off), (one, _) = factored(24), factored(8), factored(1)

    assert all_ > 0.99999
    assert all_off < 1e-4
    assert 0.9 < few < all_
    assert few_off < 0.05
    assert one < few


def test_a_trunk_with_batch_norm_is_refused() -> None:
    import keras

    from oahega_build.models.warmstart import factor

    trunk = Trunk(blocks=(Block(24, rank=4),))
    model = keras.Sequential([keras.Input((SIDE, SIDE, 3))])

    with pytest.raises(RecipeError, match="without batch norm"):
        factor(model, model, trunk, np.zeros((1, SIDE, SIDE, 3), np.float32))

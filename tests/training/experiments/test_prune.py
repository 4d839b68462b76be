"""Fewer channels and zero weights: what is kept is the trained network's, and zeros stay zero."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.training


@pytest.fixture(scope="module")
def trained() -> Any:
    """(trunk, network with random weights and lived-in batch norms)."""
    import keras

    from oahega_build.models.mobilenet import Block, Head, Trunk, classifier

    keras.utils.set_random_seed(3)
    blocks = (Block(16, 2, "dense"), Block(16, 1, "separable", residual=True), Block(24, 2))
    trunk = Trunk(stem_channels=16, blocks=blocks)
    model = classifier((24, 24, 1), trunk, 4, Head((16,)))
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return trunk, model


def test_blocks_joined_by_a_residual_keep_the_same_channels(trained: Any) -> None:
    from oahega_build.experiments.prune import narrowed

    smaller = narrowed(trained[0], trained[1], 0.5)

    assert [block.channels for block in smaller.trunk.blocks] == [8, 8, 16]
    assert (smaller.kept["block1_dense"] == smaller.kept["block2_pointwise"]).all()


def test_channels_that_do_nothing_are_the_ones_taken_out(trained: Any) -> None:
    """With half of the stem silent, the narrow network answers as the whole one does."""
    import keras

    from oahega_build.experiments.prune import copy_kept, narrowed
    from oahega_build.models.mobilenet import Head, classifier

    trunk, model = trained
    whole = keras.models.clone_model(model)
    whole.set_weights(model.get_weights())
    silenced = {"stem": np.arange(0, 16, 2), "block1_dense": np.arange(1, 16, 2), "block3_pointwise": []}
    for name, channels in silenced.items():
        norm = whole.get_layer(f"{name}_norm")
        gamma, beta, mean, variance = norm.get_weights()
        gamma[channels], beta[channels] = 0, 0
        norm.set_weights([gamma, beta, mean, variance])
    also = whole.get_layer("block2_pointwise_norm")
    gamma, beta, mean, variance = also.get_weights()
    gamma[1::2], beta[1::2] = 0, 0
    also.set_weights([gamma, beta, mean, variance])
    # A silent input still leaves the depthwise norm's shift behind.
    depthwise = whole.get_layer("block2_depthwise_norm")
    gamma, beta, mean, variance = depthwise.get_weights()
    gamma[1::2], beta[1::2] = 0, 0
    depthwise.set_weights([gamma, beta, mean, variance])
    third = whole.get_layer("block3_depthwise_norm")
    gamma, beta, mean, variance = third.get_weights()
    gamma[1::2], beta[1::2] = 0, 0
    third.set_weights([gamma, beta, mean, variance])

    smaller = narrowed(trunk, whole, 0.5)
    all_of_three = np.arange(24)
    kept = dict(smaller.kept) | {"block3_pointwise": all_of_three}
    import dataclasses

    blocks = (*smaller.trunk.blocks[:2], dataclasses.replace(smaller.trunk.blocks[2], channels=24))
    smaller = dataclasses.replace(smaller, kept=kept, trunk=dataclasses.replace(smaller.trunk, blocks=blocks))
    narrow = classifier((24, 24, 1), smaller.trunk, 4, Head((16,)))
    copy_kept(whole, narrow, smaller)

    pixels = np.random.default_rng(2).uniform(-1, 1, (5, 24, 24, 1)).astype(np.float32)
    assert narrow.count_params() < whole.count_params()
    np.testing.assert_allclose(narrow.predict(pixels, verbose=0), whole.predict(pixels, verbose=0), atol=1e-4)


def test_zeros_stay_zero_through_training_steps(trained: Any) -> None:
    import keras
    import tensorflow as tf

    from oahega_build.experiments.prune import start_sparse

    _, model = trained
    fresh = keras.models.clone_model(model)
    start_sparse(fresh, model, 0.5)
    optimizer = keras.optimizers.AdamW(0.01, weight_decay=0.01)
    pixels = tf.random.stateless_uniform((8, 24, 24, 1), (1, 2))

    for _ in range(3):
        with tf.GradientTape() as tape:
            loss = tf.reduce_mean(fresh(pixels, training=True) ** 2)
        gradients = tape.gradient(loss, fresh.trainable_variables)
        optimizer.apply_gradients(zip(gradients, fresh.trainable_variables, strict=True))

    kernel = np.asarray(fresh.get_layer("block3_pointwise").kernel)
    before = np.asarray(model.get_layer("block3_pointwise").kernel)
    assert (kernel == 0).mean() == pytest.approx(0.5, abs=0.01)
    assert not np.allclose(kernel[kernel != 0], before[kernel != 0])


def test_a_share_outside_0_to_1_is_refused(trained: Any) -> None:
    from oahega_build.errors import RecipeError
    from oahega_build.experiments.prune import narrowed

    with pytest.raises(RecipeError, match="between 0 and 1"):
        narrowed(trained[0], trained[1], 1.5)


def test_inverted_blocks_are_refused(trained: Any) -> None:
    from oahega_build.errors import RecipeError
    from oahega_build.experiments.prune import narrowed
    from oahega_build.models.trunk import Block, Trunk

    with pytest.raises(RecipeError, match="inverted"):
        narrowed(Trunk(blocks=(Block(16, kind="inverted"),)), trained[1], 0.5)

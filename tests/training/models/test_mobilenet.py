"""The trunk's maps, names and head are what the detector, the warm start and the export rely on."""

from __future__ import annotations

import keras
import pytest

from oahega_build.models.mobilenet import (
    MOBILENET_V1,
    Block,
    Head,
    Trunk,
    build_trunk,
    classifier,
    convolution_names,
)

pytestmark = pytest.mark.training


def test_feature_maps_come_by_stride_and_round_up_as_anchors_do() -> None:
    pixels = keras.Input((50, 70, 3))

    maps = build_trunk(pixels, Trunk(width=0.25))

    assert sorted(maps.by_stride) == [2, 4, 8, 16, 32]
    assert maps.by_stride[8].shape == (None, 7, 9, 64)
    assert maps.by_stride[32] is maps.last


def test_a_trunk_can_end_at_a_stride() -> None:
    pixels = keras.Input((64, 64, 3))

    maps = build_trunk(pixels, Trunk(width=0.25), until_stride=16)

    assert max(maps.by_stride) == 16


def test_the_papers_network_has_its_parameters() -> None:
    """Howard et al. 2017, table 6: 4.2 million with 1000 classes at width 1, 0.5 million at 0.25."""
    counts = {
        width: classifier((224, 224, 3), Trunk(width=width), 1000, Head()).count_params()
        for width in (1.0, 0.25)
    }

    assert counts[1.0] == pytest.approx(4.25e6, rel=0.01)
    assert counts[0.25] == pytest.approx(0.47e6, rel=0.02)


def test_every_named_convolution_exists_in_the_order_of_the_data() -> None:
    trunk = Trunk(width=0.25, blocks=(Block(64), Block(64, 2, "dense"), *MOBILENET_V1[2:4]))
    model = classifier((32, 32, 1), trunk, 4, Head())

    names = [layer.name for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]

    wanted = [name for name in convolution_names(trunk) if "depthwise" not in name]
    assert [name for name in names if name != "last"] == wanted


@pytest.mark.parametrize("on_map", [False, True])
def test_dense_layers_stand_where_the_recipe_puts_them(on_map: bool) -> None:
    model = classifier((32, 32, 1), Trunk(width=0.25), 4, Head(hidden=(16,), on_map=on_map))

    cells = model.get_layer("hidden1").output.shape[1:3]

    assert cells == ((1, 1) if not on_map else model.get_layer("pool").input.shape[1:3])
    assert model.output_shape == (None, 4)
    assert model.output_names == ["logits"]


def test_a_residual_block_must_keep_its_shape() -> None:
    with pytest.raises(ValueError, match=r"block1 cannot be residual: stride 2"):
        build_trunk(keras.Input((32, 32, 1)), Trunk(blocks=(Block(64, 2, residual=True),)))


def test_an_inverted_block_widens_filters_and_narrows_without_activation() -> None:
    blocks = (Block(16, 1, "inverted", residual=True, expansion=4, kernel=5),)
    trunk = Trunk(stem_channels=16, stem_stride=1, blocks=blocks)
    model = classifier((32, 32, 1), trunk, 4, Head())

    assert convolution_names(trunk) == ["stem", "block1_expand", "block1_depthwise", "block1_pointwise"]
    assert model.get_layer("block1_expand").output.shape[-1] == 64
    assert model.get_layer("block1_depthwise").kernel_size == (5, 5)
    assert "block1_pointwise_relu" not in {layer.name for layer in model.layers}


def test_an_unknown_kind_of_block_names_the_kinds() -> None:
    with pytest.raises(ValueError, match="separable, dense or inverted, got 'mixed'"):
        Block(16, kind="mixed")


def test_a_block_with_a_rank_goes_through_fewer_channels_without_activation() -> None:
    trunk = Trunk(width=0.5, blocks=(Block(64, rank=6),), batch_norm=False)
    model = classifier((32, 32, 1), trunk, 4, Head())

    assert convolution_names(trunk) == ["stem", "block1_depthwise", "block1_reduce", "block1_pointwise"]
    assert model.get_layer("block1_reduce").output.shape[-1] == 6
    assert model.get_layer("block1_pointwise").output.shape[-1] == 32
    assert "block1_reduce_relu" not in {layer.name for layer in model.layers}


def test_only_a_separable_block_has_a_rank() -> None:
    with pytest.raises(ValueError, match="only a separable block has a rank, got 6 for a block 'dense'"):
        Block(16, kind="dense", rank=6)

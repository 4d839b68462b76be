from __future__ import annotations

import numpy as np
import pytest

from oahega_build.detector.targets import IGNORED, NEGATIVE, POSITIVE
from oahega_build.errors import RecipeError
from oahega_build.models.anchors import Ladder, anchors_from_boxes
from oahega_build.models.mobilenet import Block, Trunk
from oahega_edge.chain.detection import anchor_boxes
from oahega_edge.manifest import Anchor, AnchorLevel, InputTensor, SsdDecoder

pytestmark = [
    pytest.mark.training,
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]

TINY = Trunk(width=1.0, stem_channels=8, blocks=(Block(8, 2), Block(16, 2), Block(16, 2)), batch_norm=False)


def levels(*strides: int) -> tuple[AnchorLevel, ...]:
    shapes = [Anchor(label="face", width=1.0, height=2.0), Anchor(label="person", width=2.0, height=5.0)]
    return tuple(
        AnchorLevel(
            stride=stride,
            anchors=tuple(
                a.model_copy(update={"width": a.width * stride, "height": a.height * stride}) for a in shapes
            ),
        )
        for stride in strides
    )


@pytest.mark.parametrize(("width", "height"), [(96, 64), (100, 72), (75, 90)])
def test_the_heads_have_one_row_per_anchor_of_the_decoder(width: int, height: int) -> None:
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet

    net = SsdNet(width=width, height=height, trunk=TINY, extras=(16,), neck=8)
    on = levels(*net.strides)

    model = build_ssd(net, on)

    input_ = InputTensor(
        width=width, height=height, colour="rgb", dtype="float32", pixel_scale=1, pixel_offset=0
    )
    decoder = SsdDecoder(levels=on, center_variance=0.1, size_variance=0.2)
    count = len(anchor_boxes(input_, decoder))
    answer = model(np.zeros((2, height, width, 3), np.float32))
    assert tuple(answer["boxes"].shape) == (2, count, 4)
    assert tuple(answer["scores"].shape) == (2, count, 1)


def test_extra_maps_can_have_residual_blocks() -> None:
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet

    net = SsdNet(width=96, height=64, trunk=TINY, extras=(16, 8), extra_blocks=2, neck=8, neck_until=32)
    model = build_ssd(net, levels(*net.strides))

    shapes = [model.get_layer(f"extra{n}_block2_add").output.shape[1:] for n in (1, 2)]
    assert shapes == [(2, 3, 16), (1, 2, 8)]
    assert model.get_layer("neck16_add").output.shape[1:] == (4, 6, 8)


def test_an_output_row_belongs_to_the_cell_of_its_anchor() -> None:
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet

    net = SsdNet(width=96, height=64, trunk=TINY, extras=(16,), neck=0)
    on = levels(*net.strides)
    model = build_ssd(net, on)
    decoder = SsdDecoder(levels=on, center_variance=0.1, size_variance=0.2)
    input_ = InputTensor(width=96, height=64, colour="rgb", dtype="float32", pixel_scale=1, pixel_offset=0)
    rng = np.random.default_rng(0)
    model.set_weights([rng.normal(0, 0.3, w.shape) if w.ndim > 1 else w for w in model.get_weights()])
    before = rng.uniform(-1, 1, (1, 64, 96, 3)).astype(np.float32)
    after = before.copy()
    after[:, 40:44, 70:74] += 1.0

    change = np.abs(np.asarray(model(after)["scores"]) - np.asarray(model(before)["scores"])).reshape(-1)

    finest = change[: 12 * 8 * 2]
    x, y = anchor_boxes(input_, decoder)[int(finest.argmax()), :2]
    assert abs(x * 96 - 72) <= 16
    assert abs(y * 64 - 42) <= 16


def test_levels_that_are_not_the_networks_maps_are_refused() -> None:
    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet

    with pytest.raises(ValueError, match=r"\[8, 16\].*\[8, 16, 32\]"):
        build_ssd(SsdNet(width=96, height=64, trunk=TINY, extras=(16,)), levels(8, 16))


def test_every_activation_is_relu6() -> None:
    import keras

    from oahega_build.models.ssd import build_ssd
    from oahega_build.models.ssd_net import SsdNet

    net = SsdNet(width=96, height=64, trunk=TINY, extras=(16,), neck=8)
    model = build_ssd(net, levels(*net.strides))

    relus = [layer for layer in model.layers if isinstance(layer, keras.layers.ReLU)]
    plain = [layer for layer in model.layers if hasattr(layer, "activation")]
    assert {float(layer.max_value) for layer in relus} == {6.0}
    assert {layer.activation.__name__ for layer in plain} == {"linear"}


def loss(scores: list[float], kinds: list[int], distance: float = 0.0) -> tuple[float, float]:
    """`distance`: of every box's middle from the wanted one, as a share of the anchor's sides."""
    from oahega_build.detector.loss import ssd_loss

    n = len(scores)
    boxes = np.zeros((1, n, 4), np.float32)
    boxes[..., :2] = distance / 0.1
    parts = ssd_loss(
        np.array(scores, np.float32).reshape(1, n, 1),
        boxes,
        np.array([kinds], np.int8),
        np.zeros((1, n, 4), np.float32),
        0.25,
        2.0,
        1.0,
        (0.1, 0.2),
    )
    return float(parts[0]), float(parts[1])


def test_the_focal_loss_is_the_formula() -> None:
    p = 1 / (1 + np.exp(-0.5))

    scores, _ = loss([0.5, 0.5], [POSITIVE, NEGATIVE])

    expected = -0.25 * (1 - p) ** 2 * np.log(p) - 0.75 * p**2 * np.log(1 - p)
    assert scores == pytest.approx(expected, rel=1e-5)


def test_ignored_anchors_weigh_nothing() -> None:
    alone = loss([2.0], [POSITIVE], distance=1.0)

    with_ignored = loss([2.0, 5.0, -5.0], [POSITIVE, IGNORED, IGNORED], distance=1.0)

    assert with_ignored == pytest.approx(alone)


def test_boxes_count_on_positives_only() -> None:
    near, far = loss([0.0], [POSITIVE], 0.5)[1], loss([0.0], [POSITIVE], 2.0)[1]

    background = loss([0.0, 0.0], [POSITIVE, NEGATIVE], 0.5)[1]

    # Two unit squares half a side apart in both directions: 1/4 shared of 7/4, 9/4 around both.
    assert near == pytest.approx(1 - (1 / 7 - 2 / 9), rel=1e-5)
    # Two sides apart they share nothing, and 9 are around them.
    assert far == pytest.approx(1 + 7 / 9, rel=1e-5)
    assert background == pytest.approx(near)


def test_a_batch_without_positives_has_a_finite_loss() -> None:
    scores, boxes = loss([-4.0, -4.0], [NEGATIVE, NEGATIVE])

    assert 0 < scores < 1
    assert boxes == 0


def test_anchors_take_the_shapes_of_the_data() -> None:
    rng = np.random.default_rng(1)
    heights = np.exp(rng.uniform(np.log(10), np.log(200), 4000))
    sizes = {"face": np.stack([0.75 * heights, heights], axis=1)}

    found = anchors_from_boxes(sizes, [Ladder("face", (10, 20, 40, 80, 140, 200))], (8, 16, 32))

    shapes = [(anchor.width, anchor.height) for level in found for anchor in level.anchors]
    assert len(shapes) == 5
    assert all(width / height == pytest.approx(0.75, abs=0.02) for width, height in shapes)
    assert [level.stride for level in found] == [8, 16, 32]
    assert max(anchor.height for anchor in found[0].anchors) < min(a.height for a in found[1].anchors)


def test_a_map_without_anchors_is_refused() -> None:
    sizes = {"face": np.array([[10.0, 12.0]] * 5)}

    with pytest.raises(RecipeError, match=r"stride \[64\]"):
        anchors_from_boxes(sizes, [Ladder("face", (8, 16))], (8, 64))


def test_a_ladder_may_say_where_its_rungs_stand() -> None:
    sizes = {"face": np.array([[10.0, 12.0]] * 5 + [[20.0, 24.0]] * 5)}

    found = anchors_from_boxes(sizes, [Ladder("face", (8, 16, 32), strides=(64, 8))], (8, 64))

    assert [(level.stride, level.anchors[0].height) for level in found] == [(8, 24.0), (64, 12.0)]


def test_a_ladder_with_too_few_strides_or_unknown_ones_is_refused() -> None:
    with pytest.raises(ValueError, match="2 rungs, but 1 strides"):
        Ladder("face", (8, 16, 32), strides=(8,))
    with pytest.raises(RecipeError, match="names stride 16"):
        anchors_from_boxes({"face": np.ones((3, 2))}, [Ladder("face", (8, 16), strides=(16,))], (8,))


@pytest.mark.parametrize(
    "name",
    [
        "detector_default",
        "detector_quick",
        "detector_paper",
        "detector_finish",
        "detector_far",
        "detector_far_finish",
        "detector_far_480",
        "detector_far_narrow",
        "detector_far_narrow_finish",
    ],
)
def test_packaged_recipes_have_anchors_on_all_their_maps(name: str) -> None:
    from oahega_build.detector.recipe import DetectorRecipe
    from oahega_build.runs.recipes import load_recipe

    recipe = load_recipe(name, DetectorRecipe)
    rng = np.random.default_rng(1)
    heights = np.exp(rng.uniform(np.log(6), np.log(recipe.net.height), 4000))
    sizes = {label: np.outer(heights, (0.4 if label == "person" else 0.77, 1)) for label in recipe.labels}

    found = anchors_from_boxes(sizes, recipe.ladders, recipe.net.strides)

    assert tuple(level.stride for level in found) == recipe.net.strides


def test_a_label_without_boxes_is_refused() -> None:
    with pytest.raises(RecipeError, match="no boxes of the label person"):
        anchors_from_boxes({"person": np.zeros((0, 2))}, [Ladder("person", (8, 16))], (8,))

"""Packs travel unharmed, variations stay pictures, teachers teach students, and a student becomes a file."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from oahega_build.errors import DataError, RecipeError, RunError

pytestmark = [
    pytest.mark.training,
    # Keras 3.15 saves TensorFlow's variables through a protocol that numpy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Keras cannot know the networks inside of a lesson before its first batch.
    pytest.mark.filterwarnings("ignore:`build\\(\\)` was called on layer:UserWarning"),
]

LABELS = ("angry", "happy", "neutral", "sad", "surprise")
FACES = 120


def faces() -> object:
    """Faces whose brightness below the middle tells the label; an eighth has votes for fear."""
    from oahega_build.ensemble.pack import VOTES, Pack

    rng = np.random.default_rng(0)
    kinds = np.arange(FACES) % len(LABELS)
    canvas = rng.integers(90, 110, (FACES, 64, 64))
    canvas[:, 32:] += (kinds * 30)[:, None, None]
    votes = np.zeros((FACES, len(VOTES)), np.float32)
    votes[np.arange(FACES), [VOTES.index(LABELS[k]) for k in kinds]] = 1
    votes[::8] = 0
    votes[::8, VOTES.index("fear")] = 1
    return Pack(canvas.astype(np.uint8), votes, np.ones(FACES, np.float32), np.arange(FACES) % 4 == 0)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oahega_build.ensemble.pack import write_pack

    path = tmp_path_factory.mktemp("pack") / "voted.npz"
    write_pack(path, faces())
    return path


@pytest.fixture(scope="module")
def recipe():
    from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
    from oahega_build.ensemble.variation import Ranges
    from oahega_build.models.trunk import Block, Trunk

    small = Trunk(stem_channels=8, stem_stride=2, blocks=(Block(16, 2, "dense"),), norm_momentum=0.8)
    calm = Ranges(*(0.0 for _ in dataclasses.fields(Ranges)))
    return EnsembleRecipe(
        students={"one": Net(small, 0.0), "two": Net(small, 0.0)},
        teachers={"wide": Net(small, 0.0), "large": Net(small, 0.0, side=56)},
        ranges=calm,
        teacher_course=Course(epochs=25, batch=30, learning_rate=1e-2, warm_up_epochs=0),
        course=Course(epochs=25, batch=30, learning_rate=1e-2, warm_up_epochs=0),
    )


@pytest.fixture(scope="module")
def run(pack: Path, recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from oahega_build.ensemble.train import train_ensemble

    return train_ensemble(recipe, [pack], tmp_path_factory.mktemp("artifacts"), "whole", {})


def test_a_pack_comes_back_as_it_was_written(pack: Path) -> None:
    from oahega_build.ensemble.pack import read_pack

    before, after = faces(), read_pack(pack)

    assert np.abs(before.canvas.astype(int) - after.canvas).mean() < 3
    assert np.array_equal(before.votes, after.votes)
    assert np.array_equal(before.held_out, after.held_out)


def test_another_file_is_no_pack(tmp_path: Path) -> None:
    from oahega_build.ensemble.pack import read_pack

    np.savez(tmp_path / "other.npz", a=np.zeros(3))

    with pytest.raises(DataError, match="no pack of faces"):
        read_pack(tmp_path / "other.npz")


def test_votes_for_anything_else_are_spread() -> None:
    from oahega_build.ensemble.pack import VOTES, fold

    shares = fold(LABELS)

    assert shares.sum(axis=1) == pytest.approx(np.ones(len(VOTES)))
    assert shares[VOTES.index("happy")].tolist() == [0, 1, 0, 0, 0]
    assert shares[VOTES.index("fear")] == pytest.approx(np.full(5, 0.2))


def test_a_varied_face_is_still_a_picture_and_tells_what_it_hides() -> None:
    import keras

    from oahega_build.ensemble.variation import MASK_HIDES, Ranges, Variation

    varied, hidden = Variation(Ranges(mask=1.0), seed=1, dtype="float32")(faces().canvas)
    real = keras.ops.convert_to_numpy(varied)

    assert real.shape == (FACES, 48, 48, 1)
    assert real.min() >= -1
    assert real.max() <= 1
    assert np.allclose(real * 128, np.round(real * 128))
    assert keras.ops.convert_to_numpy(hidden) == pytest.approx(np.full(FACES, MASK_HIDES))


def test_without_ranges_a_face_is_the_devices_crop_or_its_mirror_image(recipe) -> None:
    import keras

    from oahega_build.ensemble.variation import Variation

    canvas = faces().canvas
    varied = keras.ops.convert_to_numpy(Variation(recipe.ranges, seed=1, dtype="float32")(canvas)[0])
    levels = (varied[..., 0] + 1) * 128
    crop = canvas[:, 8:56, 8:56].astype(float)
    apart = np.minimum(
        np.abs(levels - crop).max(axis=(1, 2)), np.abs(levels - crop[:, :, ::-1]).max(axis=(1, 2))
    )

    assert apart.max() <= 1


def test_a_nearer_view_is_a_part_of_what_is_stored() -> None:
    import cv2
    import keras

    from oahega_build.ensemble.variation import View, crop

    canvas = np.stack([cv2.GaussianBlur(face, (0, 0), 3) for face in faces().canvas])
    seen = keras.ops.convert_to_numpy(crop(canvas, View(side=0.5, lower=0.125)))

    middle = 32 + 0.125 * 48
    part = canvas[:, round(middle) - 12 : round(middle) + 12, 20:44]
    wanted = np.stack([cv2.resize(face, (48, 48), interpolation=cv2.INTER_LINEAR) for face in part])
    assert np.abs(seen - wanted)[:, 1:-1, 1:-1].max() <= 1.5


def test_a_face_that_shines_through_is_answered_as_well(recipe) -> None:
    import keras

    from oahega_build.ensemble.lesson import Lesson
    from oahega_build.ensemble.pack import fold
    from oahega_build.ensemble.recipe import Course
    from oahega_build.ensemble.train import build_net

    canvas, votes = faces().canvas[1:3], faces().votes[1:3]
    net = build_net(recipe.students["one"], len(LABELS))
    lesson = Lesson({"one": net}, LABELS, recipe.ranges, Course(1, blended=1.0))
    own = keras.ops.convert_to_numpy(lesson(canvas, training=True)["own"])
    said = np.log([[0.6, 0.1, 0.1, 0.1, 0.1], [0.2, 0.2, 0.2, 0.2, 0.2]]).astype(np.float32)
    answers = {"one": said, "hidden": np.zeros(2, np.float32), "own": own}

    loss = lesson.compute_loss(
        y=keras.ops.convert_to_tensor(votes),
        y_pred={name: keras.ops.convert_to_tensor(each) for name, each in answers.items()},
        sample_weight=keras.ops.convert_to_tensor(np.array([1.0, 0.5], np.float32)),
    )

    asked = votes @ fold(LABELS)
    asked = asked * own[:, None] + asked[::-1] * (1 - own[:, None])
    weight = np.array([1.0, 0.5]) * own + np.array([0.5, 1.0]) * (1 - own)
    assert ((own >= 0.5) & (own < 1)).all()
    assert float(loss) == pytest.approx((-(asked * said).sum(axis=1) * weight).mean(), rel=1e-4)


def test_one_face_shines_through_another(recipe) -> None:
    import keras

    from oahega_build.ensemble.lesson import Lesson
    from oahega_build.ensemble.recipe import Course

    class Mean(keras.layers.Layer):
        def call(self, real: object) -> object:
            return keras.ops.mean(real, axis=(1, 2))

    canvas = np.stack([np.full((64, 64), level, np.uint8) for level in (0, 200)])
    pixels = keras.Input((48, 48, 1))
    lesson = Lesson(
        {"one": keras.Model(pixels, Mean()(pixels))}, LABELS, recipe.ranges, Course(1, blended=1.0)
    )

    answers = lesson(canvas, training=True)
    own, seen = (keras.ops.convert_to_numpy(answers[name]) for name in ("own", "one"))

    levels = np.array([0, 200]) * own + np.array([200, 0]) * (1 - own)
    assert (seen[:, 0] + 1) * 128 == pytest.approx(levels, abs=1)


@pytest.mark.lengthy
def test_students_learn_what_the_faces_show(run: Path) -> None:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]

    assert {name for line in lines for name in line["held_out"]} == {"wide", "large", "one", "two"}
    assert lines[-1]["held_out"]["one"]["accuracy"] > 0.9


@pytest.mark.lengthy
def test_processes_share_the_nets_of_one_run(pack: Path, recipe, tmp_path: Path) -> None:
    from oahega_build.ensemble.recipe import Course
    from oahega_build.ensemble.train import train_ensemble

    short = dataclasses.replace(
        recipe, course=Course(1, batch=30), teacher_course=Course(1, batch=30), teachers={}, side_by_side=1
    )
    with pytest.raises(RunError, match="one trained, two not yet"):
        train_ensemble(short, [pack], tmp_path, "shared", {}, only=["one"])

    done = train_ensemble(short, [pack], tmp_path, "shared", {}, only=["two"])

    assert sorted(path.name for path in done.glob("*.npz")) == ["one.npz", "two.npz"]


def test_a_net_that_the_recipe_lacks_is_named(pack: Path, recipe, tmp_path: Path) -> None:
    from oahega_build.ensemble.train import train_ensemble

    with pytest.raises(RecipeError, match="no net three"):
        train_ensemble(recipe, [pack], tmp_path, "run", {}, only=["three"])


@pytest.mark.lengthy
@pytest.mark.parametrize("net", ["one", "wide"], ids=["student", "teacher"])
def test_a_net_becomes_a_file_at_its_operating_point(net: str, run: Path, pack: Path, tmp_path: Path) -> None:
    from oahega_build.emotion.evaluate import load_emotion
    from oahega_build.ensemble.export import export_ensemble
    from oahega_edge.bundles.load import DEFAULT_BUNDLE

    folder = export_ensemble(run, net, [pack], (), DEFAULT_BUNDLE, ["squares: free"], tmp_path, net)

    entry = load_emotion(folder).entry
    assert entry.labels == LABELS
    assert entry.offsets is not None
    assert sum(entry.offsets) == pytest.approx(0, abs=1e-3)
    assert entry.card.weights is not None
    assert entry.card.metrics["held_out_accuracy"] > 0.9


@pytest.mark.lengthy
def test_a_net_is_exported_with_the_crops_of_its_recipe(run: Path, pack: Path, tmp_path: Path) -> None:
    """The net is the same; its operating point is fitted on both crops."""
    from oahega_build.emotion.evaluate import load_emotion
    from oahega_build.ensemble.export import export_ensemble
    from oahega_build.pictures.framing import square_framing
    from oahega_edge.bundles.load import DEFAULT_BUNDLE

    twofold = shutil.copytree(run, tmp_path / "twofold")
    described = json.loads((twofold / "recipe.json").read_text())
    described["turns"] = [{"side": 0.9, "lower": 0.0}, {"side": 1.0, "lower": 0.02}]
    (twofold / "recipe.json").write_text(json.dumps(described))

    folder = export_ensemble(twofold, "one", [pack], (), DEFAULT_BUNDLE, ["squares: free"], tmp_path, "one")

    entry, second = load_emotion(folder).entry, square_framing(1.0, 0.02)
    assert entry.crop == square_framing(0.9, 0.0).crop
    assert entry.second_crop is not None
    assert (entry.second_crop.scale, entry.second_crop.shift) == (second.scale, second.shift)
    assert entry.second_crop.mirrored
    assert entry.card.metrics["held_out_accuracy"] > 0.9


def test_the_identity_start_changes_no_answer_when_its_norms_are_settled() -> None:
    from oahega_build.models.identity import settle_norms, start_from
    from oahega_build.models.mobilenet import MOBILENET_V1, Head, Trunk, classifier

    trunk = Trunk(blocks=MOBILENET_V1[:2])
    model = classifier((32, 32, 1), trunk, 3, Head())
    rng = np.random.default_rng(3)
    weights = {"conv1/convolution/merged_input": rng.normal(0, 0.01, (3, 3, 3, 32)).astype(np.float32)}
    weights["conv1_bn/batchnorm_1/sub"] = rng.normal(0, 0.1, 32).astype(np.float32)
    for number, (into, out) in enumerate(((32, 64), (64, 128)), start=1):
        weights[f"conv_dw_{number}/depthwise_kernel"] = rng.normal(0, 0.3, (3, 3, into, 1)).astype(np.float32)
        weights[f"conv_dw_{number}_bn/batchnorm_1/mul"] = rng.uniform(0.5, 1.5, into).astype(np.float32)
        weights[f"conv_dw_{number}_bn/batchnorm_1/sub"] = rng.normal(0, 0.1, into).astype(np.float32)
        kernel = rng.normal(0, 0.2, (1, 1, into, out)).astype(np.float32)
        weights[f"conv_pw_{number}/convolution/merged_input"] = kernel
        weights[f"conv_pw_{number}_bn/batchnorm_1/sub"] = rng.normal(0, 0.1, out).astype(np.float32)
    pixels = rng.uniform(-1, 1, (64, 32, 32, 1)).astype(np.float32)
    start_from(model, trunk, weights)
    before = model.predict(pixels, verbose=0)

    settle_norms(model, pixels)

    assert model.predict(pixels, verbose=0) == pytest.approx(before, abs=1e-3)
    assert not np.allclose(model.get_layer("stem_norm").moving_variance, 1)

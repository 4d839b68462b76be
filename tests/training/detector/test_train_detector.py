from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_people import drawn
from oahega_build.errors import DataError, RecipeError, RunError
from oahega_build.pictures.records import shard_name, write_shard
from oahega_edge.chain.detection import Decoder, boost_faces_on_shoulders
from oahega_edge.chain.preprocess import Placement, Quantizer, fit_picture
from oahega_edge.manifest import DetectorEntry
from portability import SEED, Margins

pytestmark = [
    pytest.mark.training,
    # Keras 3.15 saves TensorFlow's variables through a protocol that numpy 2 deprecates.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
]


def write_records(artifacts: Path, run: str = "drawn") -> None:
    folder = artifacts / "label" / run
    folder.mkdir(parents=True)
    for split, numbers in (("train", range(48)), ("held", range(48, 72)), ("valid", range(72, 96))):
        write_shard(folder / shard_name(split, 0, 1), map(drawn, numbers))


@pytest.fixture(scope="module")
def tiny():  # type: ignore[no-untyped-def]
    from tiny_detector import RECIPE

    return dataclasses.replace(RECIPE, records="drawn", epochs=2, seed=SEED)


@pytest.fixture(scope="module")
def trained(tiny, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    from oahega_build.detector.train import train

    artifacts = tmp_path_factory.mktemp("artifacts")
    write_records(artifacts)
    recipe = dataclasses.replace(tiny, epochs=12, examples=120)
    return train(recipe, "tiny", artifacts, artifacts, "run")


@pytest.mark.lengthy
def test_a_training_leaves_a_detector_that_passes_its_own_self_test(trained: Path) -> None:
    from oahega_edge.bundles.load import self_test
    from oahega_edge.runtimes import open_model

    entry = DetectorEntry.model_validate_json((trained / "entry.json").read_text())

    model = open_model(trained / entry.cpu.file, entry.outputs, entry.input)
    try:
        assert self_test(entry, model) == 0
    finally:
        model.close()
    assert entry.labels == ("face", "person")
    assert entry.card.recipe == "tiny"
    assert entry.input.dtype == "int8"


@pytest.mark.lengthy
def test_it_learned_to_find_what_was_drawn(trained: Path, margins: Margins) -> None:
    figures = json.loads((trained / "metrics.json").read_text())

    margins.at_least("AP50 of faces", figures["held_int8"]["face"]["AP50"], 0.8)
    for label in ("face", "person"):
        lost = figures["held_float"][label]["AP50"] - figures["held_int8"][label]["AP50"]
        margins.at_most(f"AP50 of {label} lost by int8", lost, 0.1)


@pytest.mark.lengthy
def test_history_tells_every_epoch(trained: Path, margins: Margins) -> None:
    lines = [json.loads(line) for line in (trained / "history.jsonl").read_text().splitlines()]

    assert [line["epoch"] for line in lines] == list(range(1, 13))
    left = lines[-1]["score_loss"] / lines[0]["score_loss"]
    margins.at_most("share of the score loss that is left", left, 0.9)


class Interrupted(Exception):
    """Stands for Ctrl-C and power cuts."""


def interrupt(epoch: int) -> None:
    raise Interrupted


@pytest.fixture(scope="module")
def resumed(tiny, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:  # type: ignore[no-untyped-def]
    """A training that was interrupted, exported, and went on: the export and the finished run."""
    from oahega_build.detector.export import export_checkpoint
    from oahega_build.detector.train import train

    artifacts = tmp_path_factory.mktemp("artifacts")
    write_records(artifacts)
    with pytest.raises(Interrupted):
        train(tiny, "tiny", artifacts, artifacts, "run", after_epoch=interrupt)
    interim = export_checkpoint(tiny, "tiny", artifacts, "run", artifacts / "interim")
    return interim, train(tiny, "tiny", artifacts, artifacts, "run")


@pytest.mark.lengthy
def test_an_interrupted_training_goes_on_to_the_same_weights(  # type: ignore[no-untyped-def]
    tiny, resumed: tuple[Path, Path], tmp_path: Path, margins: Margins
) -> None:
    from oahega_build.detector.train import train

    write_records(tmp_path)

    straight = train(tiny, "tiny", tmp_path, tmp_path, "straight")

    with np.load(resumed[1] / "weights.npz") as a, np.load(straight / "weights.npz") as b:
        assert a.files == b.files
        margins.at_most("difference of a weight", max(np.abs(a[n] - b[n]).max() for n in a.files), 1e-3)


@pytest.mark.lengthy
def test_no_epoch_keeps_the_earlier_weights_for_another_input(  # type: ignore[no-untyped-def]
    trained: Path, tiny, tmp_path: Path
) -> None:
    from oahega_build.detector.train import train

    write_records(tmp_path)
    wide = dataclasses.replace(tiny.net, width=192, height=144)
    recipe = dataclasses.replace(tiny, net=wide, earlier=trained, epochs=0)
    finished = train(recipe, "tiny", tmp_path, tmp_path, "wide")

    entry = DetectorEntry.model_validate_json((finished / "entry.json").read_text())
    assert (entry.input.width, entry.input.height) == (192, 144)
    with np.load(trained / "weights.npz") as before, np.load(finished / "weights.npz") as after:
        weights = [name for name in before.files if name != "step"]
        assert all(np.array_equal(before[name], after[name]) for name in weights)


@pytest.mark.lengthy
def test_a_training_goes_on_from_an_earlier_run(  # type: ignore[no-untyped-def]
    trained: Path, tiny, tmp_path: Path, margins: Margins
) -> None:
    from oahega_build.detector.train import train

    write_records(tmp_path)
    recipe = dataclasses.replace(tiny, earlier=trained, epochs=1, examples=16, learning_rate=1e-6)
    finished = train(recipe, "tiny", tmp_path, tmp_path, "finish")

    def found(run: Path) -> float:
        return float(json.loads((run / "metrics.json").read_text())["held_int8"]["person"]["AP50"])

    assert (finished / "decoder.json").read_text() == (trained / "decoder.json").read_text()
    margins.at_most("AP50 of persons lost", found(trained) - found(finished), 0.1)


@pytest.mark.lengthy
def test_a_block_that_was_whole_in_the_earlier_run_can_become_narrow(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """With all channels it answers the same."""
    import keras

    from oahega_build.detector.checkpoint import fill_averaged, read_decoder
    from oahega_build.detector.train import train
    from oahega_build.models.ssd import build_ssd

    write_records(tmp_path)
    trunk = dataclasses.replace(tiny.net.trunk, batch_norm=False)
    narrow = (*trunk.blocks[:2], dataclasses.replace(trunk.blocks[2], rank=32))
    first = dataclasses.replace(tiny.net, trunk=trunk)
    second = dataclasses.replace(tiny.net, trunk=dataclasses.replace(trunk, blocks=narrow))
    begun = dataclasses.replace(tiny, net=first, epochs=1, examples=16)
    run = train(begun, "tiny", tmp_path, tmp_path, "whole")

    after = dataclasses.replace(tiny, net=second, epochs=0, earlier=run)
    narrowed = train(after, "tiny", tmp_path, tmp_path, "narrow")

    decoder = read_decoder(run)
    pixels = np.random.default_rng(3).uniform(-1, 1, (4, 96, 128, 3)).astype(np.float32)
    answers = []
    for net, folder in ((first, run), (second, narrowed)):
        model = build_ssd(net, decoder.levels)
        fill_averaged(model, folder / "weights.npz")
        trunk_alone = keras.Model(model.inputs, model.get_layer("block3_pointwise").output)
        answers.append(trunk_alone.predict(pixels, verbose=0))
    assert np.abs(answers[0] - answers[1]).max() < 1e-3 * answers[0].std()


@pytest.mark.lengthy
def test_a_share_of_the_earlier_weights_lies_between_both(trained: Path, tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """1: those of the earlier run; without one there is nothing to share."""
    from oahega_build.detector.checkpoint import read_decoder
    from oahega_build.detector.export import averaged_model

    decoder, checkpoint = read_decoder(trained), tmp_path / "moved.npz"
    with np.load(trained / "weights.npz") as earlier:
        moved = {name: value + (0 if name == "step" else 1) for name, value in earlier.items()}
        np.savez(checkpoint, **moved)
    recipe = dataclasses.replace(tiny, earlier=trained, earlier_share=0.25)

    weights = {
        share: averaged_model(dataclasses.replace(recipe, earlier_share=share), decoder, checkpoint)[0]
        for share in (0.0, 0.25, 1.0)
    }

    for new, mixed, old in zip(*(model.get_weights() for model in weights.values()), strict=True):
        assert np.allclose(new - 1, old, atol=1e-5)
        assert np.allclose(mixed, 0.75 * new + 0.25 * old, atol=1e-5)
    with pytest.raises(RecipeError, match="--set earlier=RUN"):
        averaged_model(dataclasses.replace(recipe, earlier=None), decoder, checkpoint)


@pytest.mark.lengthy
def test_what_is_exported_computes_in_real_numbers_whatever_the_trainings_precision(
    trained: Path, tiny
) -> None:  # type: ignore[no-untyped-def]
    """TFLite has no bfloat16, and its converter fails on it."""
    import keras

    from oahega_build.detector.checkpoint import read_decoder
    from oahega_build.detector.export import averaged_model

    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model, _ = averaged_model(tiny, read_decoder(trained), trained / "weights.npz")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")

    assert {layer.compute_dtype for layer in model.layers} == {"float32"}


@pytest.mark.lengthy
def test_an_earlier_run_of_another_net_is_refused(trained: Path, tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.train import train

    write_records(tmp_path)
    wider = dataclasses.replace(tiny.net, neck=24)

    with pytest.raises(RunError, match="another net"):
        train(dataclasses.replace(tiny, earlier=trained, net=wider), "tiny", tmp_path, tmp_path, "other")


@pytest.mark.lengthy
def test_an_unfinished_training_can_be_exported(resumed: tuple[Path, Path]) -> None:
    entry = DetectorEntry.model_validate_json((resumed[0] / "entry.json").read_text())

    assert entry.card.metrics["steps"] == 8


@pytest.mark.lengthy
def test_a_finished_run_can_be_exported_with_post_processing_for_the_same_boxes(  # type: ignore[no-untyped-def]
    trained: Path, tiny, tmp_path: Path, margins: Margins
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    from oahega_build.detector.export import export_checkpoint
    from oahega_build.models.exported import Exported

    folder = export_checkpoint(tiny, "tiny", trained.parents[1], "run", tmp_path, post_processing=True)

    entry = DetectorEntry.model_validate_json((folder / "entry.json").read_text())
    decode = Decoder(entry, entry.suggested.score, entry.suggested.nms_iou)
    heads = Exported((folder / "detector.tflite").read_bytes(), entry.outputs)
    whole = Interpreter(str(folder / "detector_postprocess.tflite")).get_signature_runner()
    boxes = []
    for number in range(100, 300):
        pixels = fit_picture(drawn(number).pixels(), entry.input, entry.resize)[0]
        theirs = whole(pixels=pixels[None])
        found = int(theirs["count"].item())
        for mine in decode(heads.run(Quantizer(entry.input)(pixels)), Placement(1.0, 1.0)):
            edges = (mine.box.top, mine.box.left, mine.box.bottom, mine.box.right)
            same = theirs["classes"][0][:found] == entry.labels.index(mine.label)
            distances = np.abs(theirs["boxes"][0][:found][same] - edges).max(axis=1)
            boxes.append((mine.score, bool(distances.min(initial=1.0) < 0.05)))
    # Two quantizations of one network may differ about what is close to the least score.
    surer = [is_there for _, is_there in sorted(boxes)[len(boxes) // 2 :]]
    matched, compared = sum(surer), len(surer)
    margins.at_least("boxes compared", compared, 10)
    margins.at_least("share of boxes that are the same", matched / compared, 0.8)


def test_exporting_before_the_first_epoch_says_so(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.export import export_checkpoint

    with pytest.raises(RecipeError, match="wait for the first epoch of run nothing"):
        export_checkpoint(tiny, "tiny", tmp_path, "nothing", tmp_path / "interim")


@pytest.mark.lengthy
def test_a_finished_run_is_not_trained_again(trained: Path, tiny) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.train import train

    artifacts = trained.parents[1]
    with pytest.raises(RunError, match="finished already"):
        train(tiny, "tiny", artifacts, artifacts, "run")


def test_training_without_labels_names_the_verb_that_makes_them(tiny, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.train import train

    with pytest.raises(DataError, match="the verb `label` makes them"):
        train(tiny, "tiny", tmp_path, tmp_path, "run")


@pytest.mark.lengthy
@pytest.mark.shared
def test_an_evaluation_measures_detector_and_rivals_in_one_run(trained: Path, shared: Path) -> None:
    from oahega_build.detector.evaluate import evaluate
    from oahega_build.recipes.detector_rivals import RECIPE

    run = evaluate(trained, "drawn", "valid", RECIPE, shared / "data", trained.parents[1], "tiny")

    metrics = json.loads((run / "metrics.json").read_text())
    assert set(metrics["detector"]) == {"face", "person"}
    assert metrics["detector"]["face"]["pictures_without_people"] == 6
    assert metrics["detector"]["person"]["recall_by_height"]["over 25 %"]["things"] == 18
    assert metrics["invocation"]["ratio"] < 1
    assert len(metrics["rivals"]) == 2
    card = json.loads((trained / "entry.json").read_text())["card"]["metrics"]
    assert card["valid_face_AP50"] == round(metrics["detector"]["face"]["AP50"], 4)
    assert "over 25 % " in card["valid_person_recall_by_height"]
    assert cv2.imread(str(run / "curves.png")) is not None


def test_the_learning_rate_goes_up_in_a_line_and_down_in_half_a_cosine(tiny) -> None:  # type: ignore[no-untyped-def]
    from oahega_build.detector.train import rate, steps_per_epoch

    steps = tiny.epochs * steps_per_epoch(tiny)

    rates = [rate(tiny, step) for step in range(steps + 1)]

    assert rates[0] == pytest.approx(tiny.learning_rate / tiny.warmup)
    assert max(rates) == rates[tiny.warmup] == tiny.learning_rate
    assert rates[-1] == pytest.approx(tiny.learning_rate * tiny.last_rate)
    assert rates[tiny.warmup :] == sorted(rates[tiny.warmup :], reverse=True)


@pytest.mark.lengthy
def test_a_score_is_raised_until_empty_views_are_silent_enough(  # type: ignore[no-untyped-def]
    trained: Path, tiny, margins: Margins
) -> None:
    from oahega_build.detector.scores import choose_scores, found_in_empty_views, int8_outputs
    from oahega_build.pictures.records import read_records, shards_of

    entry = DetectorEntry.model_validate_json((trained / "entry.json").read_text())
    data = (trained / "detector.tflite").read_bytes()
    held = list(read_records(shards_of(trained.parents[1] / "label" / "drawn", "held")))
    recipe = dataclasses.replace(tiny, empty_views=40, false_alarms={"face": 0.25, "person": 0.25})

    empty = found_in_empty_views(recipe, entry, data, held)
    _, chosen = choose_scores(recipe, entry, int8_outputs(data, entry, held), held, empty)
    _, careless = choose_scores(recipe, entry, int8_outputs(data, entry, held), held)

    assert len(empty) == 40
    for label, score in chosen.items():
        raised = [boost_faces_on_shoulders(view, chosen["person"]) for view in empty]
        alarms = [any(d.label == label and d.score > score + 1e-3 for d in view) for view in raised]
        margins.at_most(f"views with a false {label}", float(np.mean(alarms)), 0.25)
        assert score >= careless[label]

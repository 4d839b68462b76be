"""Labelled records -> a trained detector -> `detector.tflite` with its `entry.json`.

A checkpoint is written after every epoch; the same command goes on from it. `export` makes a usable
detector out of any checkpoint, also while the training goes on.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray
from pydantic import ValidationError
from rich.progress import track

from oahega_build.detector.inputs import (
    Augmentation,
    Batch,
    Composer,
    Matcher,
    Matching,
    Scene,
    batches,
    box_sizes,
    scene_of,
)
from oahega_build.detector.loss import ssd_loss
from oahega_build.detector.metrics import matches_of
from oahega_build.detector.pasting import FacePaster, Pasting, People
from oahega_build.errors import DataError, RecipeError, RunError
from oahega_build.models.anchors import Ladder, anchors_from_boxes
from oahega_build.models.postprocess import with_post_processing
from oahega_build.models.quantize import Exported, golden, input_tensor, output_tensors, to_int8
from oahega_build.models.ssd import SsdNet, build_ssd
from oahega_build.models.warmstart import warm_start
from oahega_build.pictures.dataset import read_dataset, split_train
from oahega_build.pictures.records import Record, read_records, shards_of
from oahega_build.runs.artifacts import UNFINISHED, Run, commit, now, open_run, write_bytes, write_json
from oahega_edge.chain.detection import FACE, PERSON, Decoder, Detection, heads_first
from oahega_edge.chain.preprocess import Quantizer, fit_picture
from oahega_edge.manifest import (
    DetectorEntry,
    Golden,
    GoldenSample,
    InputTensor,
    ModelCard,
    ModelFile,
    OutputTensor,
    Resize,
    SsdDecoder,
    SuggestedDetection,
)

PIXEL_SCALE, PIXEL_OFFSET = 1 / 127.5, -1.0
"""As the weights that we start from were trained."""
VIEWS_SEED = 1
"""Of the varied views that show nobody: every detector sees the same ones."""
OUTPUTS = {"boxes": "boxes", "scores": "scores"}


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """All that decides what the detector becomes."""

    records: str = "default"
    """Name of the labelling run that it learns from."""
    labels: tuple[str, ...] = ("face", "person")
    net: SsdNet = field(default_factory=SsdNet)
    resize: Resize = field(default_factory=lambda: Resize(kernel="area", fit="letterbox"))
    ladders: tuple[Ladder, ...] = (
        Ladder("face", (7, 13, 20, 31, 48, 76, 120, 175, 260)),
        Ladder("person", (12, 30, 60, 110, 170, 250), shapes=2),
    )
    start: str = ""
    """Quantized MobileNetV1 below the data folder whose weights the trunk starts from; empty: random."""
    earlier: Path | None = None
    """Folder of a finished run of the same net, whose anchors and weights are the beginning instead."""
    earlier_share: float = 0.0
    """Share of those weights in the exported ones, the rest being what the training made of them (WiSE-FT,
    arXiv 2109.01903)."""
    frozen_blocks: int = 0
    """The stem and so many blocks keep those weights; they hold most of the training's cost."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Set -> share of the drawn scenes; empty: each set by its number of pictures."""
    without_people: tuple[str, ...] = ("animals",)
    """Sets that are known to show nobody: for decoys and for the count of false alarms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    faces: str = ""
    """Folder below the data folder with still faces by class, to paste into scenes; empty: none."""
    pasting: Pasting = field(default_factory=Pasting)
    matching: Matching = field(default_factory=Matching)
    center_variance: float = 0.1
    size_variance: float = 0.2
    epochs: int = 20
    examples: int = 5000
    """Per epoch."""
    batch: int = 16
    learning_rate: float = 6e-4
    """Of Adam, at its highest; half a cosine down after the warm-up."""
    warmup: int = 200
    """Steps."""
    last_rate: float = 0.02
    """The rate at the end, as a share of the highest."""
    clip: float = 5.0
    """Largest norm of all gradients together."""
    average: float = 0.998
    """Of the moving average of the weights, which is what is exported."""
    alpha: float = 0.25
    gamma: float = 2.0
    box_weight: float = 1.0
    longest: int = 400
    """Scenes are kept in memory at most this long, pixels."""
    calibration: int = 200
    """Pictures that set the ranges of the int8 activations."""
    precision: float = 0.95
    """The suggested scores are the lowest with this precision on the held-out pictures,"""
    false_alarms: Mapping[str, float] = field(default_factory=lambda: {"face": 0.008, "person": 0.1})
    """and with at most this share of false alarms in varied views of those that show nobody: a false face
    may become an event, a false person is only counted."""
    empty_views: int = 6000
    """So many views are drawn for that, the same for every recipe."""
    nms_iou: float = 0.45
    seed: int = 1
    data_terms: tuple[str, ...] = ()
    """Each training set with its terms, in one sentence, for the model card."""


@dataclass(frozen=True, slots=True, eq=False)
class Training:
    """What a running training consists of."""

    recipe: DetectorRecipe
    decoder: SsdDecoder
    model: keras.Model
    optimizer: keras.optimizers.Optimizer
    average: list[tf.Variable]
    """Moving average of `model.weights`, in that order."""
    step: tf.Variable


def train(
    recipe: DetectorRecipe,
    recipe_name: str,
    data: Path,
    artifacts: Path,
    run: str,
    threads: int = 2,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Path:
    """Train and export to `<artifacts>/train-detector/<run>`; goes on where an interrupted one stopped.

    `after_epoch` is told how many epochs are done, once their checkpoint is written.
    """
    folder = artifacts / "label" / recipe.records
    held = list(read_records(shards_of(folder, "held")))
    with open_run(artifacts, "train-detector", run, recipe) as made:
        scenes = [
            scene_of(record, recipe.labels, recipe.longest)
            for record in read_records(shards_of(folder, "train"))
        ]
        composer = _composer(recipe, scenes, _paster(recipe, data, scenes))
        training = _prepare(recipe, data, made, composer)
        matcher = Matcher(network_input(recipe.net), training.decoder, recipe.labels, recipe.matching)
        step = _step_function(training)
        history = made.folder / "history.jsonl"
        while (epoch := int(training.step) // steps_per_epoch(recipe)) < recipe.epochs:
            figures = _epoch(training, step, composer, matcher, epoch, threads)
            _save(made.checkpoints / "last.npz", training)
            with history.open("a") as lines:
                lines.write(json.dumps({"epoch": epoch + 1, "at": now(), **figures}) + "\n")
            print(f"epoch {epoch + 1}/{recipe.epochs}: {figures}", flush=True)
            after_epoch(epoch + 1)
        export(made.folder, made.checkpoints / "last.npz", made.folder, recipe, recipe_name, scenes, held)
    return made.finished


def network_input(net: SsdNet) -> InputTensor:
    """The float network's input."""
    return InputTensor(
        width=net.width,
        height=net.height,
        colour="rgb",
        dtype="float32",
        pixel_scale=PIXEL_SCALE,
        pixel_offset=PIXEL_OFFSET,
    )


def steps_per_epoch(recipe: DetectorRecipe) -> int:
    """At least one."""
    return max(1, recipe.examples // recipe.batch)


def rate(recipe: DetectorRecipe, step: int) -> float:
    """The learning rate at a step: a line up, half a cosine down."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    total = max(1, recipe.epochs * steps_per_epoch(recipe) - recipe.warmup)
    done = min(1.0, (step - recipe.warmup) / total)
    share = recipe.last_rate + (1 - recipe.last_rate) * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate * share


def _paster(recipe: DetectorRecipe, data: Path, scenes: Sequence[Scene]) -> FacePaster | None:
    """Faces that no emotion recipe holds out, if the recipe names any; decoys of what shows none."""
    if not recipe.faces:
        return None
    training, _ = split_train(read_dataset(data / recipe.faces))
    nobody = [scene.pixels for scene in scenes if scene.set_name in recipe.without_people]
    people = [found for scene in scenes if (found := _people(scene, recipe.labels)) is not None]
    return FacePaster([sample.pixels for sample in training], recipe.pasting, nobody, people)


def _people(scene: Scene, labels: Sequence[str]) -> People | None:
    """The scene for decoys, if it shows somebody."""
    boxes = scene.boxes
    named = {name: boxes.labels == place for place, name in enumerate(labels)}
    nothing = np.zeros(len(boxes.labels), bool)
    bodies = boxes.edges[named.get("person", nothing) & ~boxes.ignore]
    return People(scene.pixels, bodies, boxes.edges[named.get("face", nothing)]) if len(bodies) else None


def _composer(recipe: DetectorRecipe, scenes: Sequence[Scene], paster: FacePaster | None) -> Composer:
    counts: dict[str, float] = {}
    for scene in scenes:
        counts[scene.set_name] = counts.get(scene.set_name, 0) + 1
    shares = recipe.shares or counts
    return Composer(
        scenes,
        shares,
        network_input(recipe.net),
        recipe.resize,
        recipe.augmentation,
        recipe.labels,
        recipe.seed,
        paster,
    )


def _prepare(recipe: DetectorRecipe, data: Path, run: Run, composer: Composer) -> Training:
    """The network as it starts, or as the last checkpoint left it."""
    keras.utils.set_random_seed(recipe.seed)
    decoder = _anchors(recipe, run.folder, composer)
    model = build_ssd(recipe.net, decoder.levels)
    if recipe.earlier is not None:
        _fill_averaged(model, recipe.earlier / "weights.npz")
        print(f"the weights of {recipe.earlier} are the beginning")
    elif recipe.start:
        filled = warm_start(model, recipe.net.trunk, data / recipe.start)
        print(f"{len(filled)} layers start from {recipe.start}")
    _freeze(model, recipe.frozen_blocks)
    optimizer = keras.optimizers.Adam(recipe.learning_rate, global_clipnorm=recipe.clip)
    optimizer.build(model.trainable_variables)
    average = [tf.Variable(weight, trainable=False) for weight in model.weights]
    training = Training(recipe, decoder, model, optimizer, average, tf.Variable(0, dtype=tf.int64))
    checkpoint = run.checkpoints / "last.npz"
    if checkpoint.exists():
        _load(checkpoint, training)
        print(f"going on after step {int(training.step)}")
    return training


def _anchors(recipe: DetectorRecipe, folder: Path, composer: Composer) -> SsdDecoder:
    """The anchors of the run: made from the first examples once, then read."""
    path = folder / "decoder.json"
    if recipe.earlier is not None and not path.exists():
        write_bytes(path, read_decoder(recipe.earlier).model_dump_json(indent=2).encode())
    if not path.exists():
        sizes = box_sizes(composer, network_input(recipe.net), recipe.labels, min(3000, recipe.examples))
        levels = anchors_from_boxes(sizes, recipe.ladders, recipe.net.strides)
        decoder = SsdDecoder(
            levels=levels, center_variance=recipe.center_variance, size_variance=recipe.size_variance
        )
        write_bytes(path, decoder.model_dump_json(indent=2).encode())
    return read_decoder(folder)


def read_decoder(folder: Path) -> SsdDecoder:
    """The anchors that a run was made with. Raises RunError when `folder` is no such run."""
    path = folder / "decoder.json"
    try:
        return SsdDecoder.model_validate_json(path.read_text())
    except (OSError, ValidationError) as error:
        raise RunError(f"{path} is no anchors of a detector ({type(error).__name__}); give a run") from error


def _freeze(model: keras.Model, blocks: int) -> None:
    if not blocks:
        return
    frozen = ("stem", *(f"block{number}" for number in range(1, blocks + 1)))
    for layer in model.layers:
        if layer.name.split("_")[0] in frozen:
            layer.trainable = False


def _epoch(
    training: Training, step: Any, composer: Composer, matcher: Matcher, epoch: int, threads: int
) -> dict[str, float]:
    recipe = training.recipe
    steps = steps_per_epoch(recipe)
    first = epoch * steps * recipe.batch
    numbers = range(first, first + steps * recipe.batch)
    sums = np.zeros(2)
    made = batches(composer, matcher, numbers, recipe.batch, threads)
    for batch in track(made, f"epoch {epoch + 1}", total=steps, refresh_per_second=1):
        training.optimizer.learning_rate.assign(rate(recipe, int(training.step)))
        sums += np.array(step(*_tensors(batch)))
    scores, boxes = (sums / steps).round(4).tolist()
    return {"score_loss": scores, "box_loss": boxes, "rate": round(rate(recipe, int(training.step)), 7)}


def _tensors(batch: Batch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    return tf.constant(batch.pixels), tf.constant(batch.kind), tf.constant(batch.offsets)


def _step_function(training: Training) -> Any:
    """One optimizer step as a TensorFlow graph, which is traced at its first call."""
    recipe, model, optimizer = training.recipe, training.model, training.optimizer

    @tf.function(reduce_retracing=True)
    def step(pixels: tf.Tensor, kind: tf.Tensor, offsets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        real = tf.cast(pixels, tf.float32) * PIXEL_SCALE + PIXEL_OFFSET
        with tf.GradientTape() as tape:
            answer = model(real, training=True)
            scores, boxes = ssd_loss(
                answer["scores"],
                answer["boxes"],
                kind,
                offsets,
                recipe.alpha,
                recipe.gamma,
                recipe.box_weight,
            )
            loss = scores + boxes
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        done = tf.cast(training.step, tf.float32)
        decay = tf.minimum(recipe.average, (1 + done) / (10 + done))
        for mean, weight in zip(training.average, model.weights, strict=True):
            mean.assign(decay * mean + (1 - decay) * weight.value)
        training.step.assign_add(1)
        return scores, boxes

    return step


def _save(path: Path, training: Training) -> None:
    """Everything that the next step depends on, whole or not at all."""
    weights = training.model.weights
    arrays = {f"weight/{w.path}": w.numpy() for w in weights}
    arrays |= {f"average/{w.path}": a.numpy() for w, a in zip(weights, training.average, strict=True)}
    arrays |= {f"optimizer/{i}": v.numpy() for i, v in enumerate(training.optimizer.variables)}
    temporary = path.with_suffix(".writing.npz")
    np.savez(temporary, step=training.step.numpy(), **arrays)
    temporary.replace(path)


def _load(path: Path, training: Training) -> None:
    with np.load(path) as arrays:
        for weight, mean in zip(training.model.weights, training.average, strict=True):
            weight.assign(arrays[f"weight/{weight.path}"])
            mean.assign(arrays[f"average/{weight.path}"])
        for i, variable in enumerate(training.optimizer.variables):
            variable.assign(arrays[f"optimizer/{i}"])
        training.step.assign(arrays["step"])


def averaged_model(recipe: DetectorRecipe, decoder: SsdDecoder, checkpoint: Path) -> tuple[keras.Model, int]:
    """The network with a checkpoint's averaged weights, and the step that it was made at."""
    model = build_ssd(recipe.net, decoder.levels)
    step = _fill_averaged(model, checkpoint)
    if recipe.earlier_share:
        _blend_earlier(model, recipe)
    return model, step


def _blend_earlier(model: keras.Model, recipe: DetectorRecipe) -> None:
    """Bring the weights `earlier_share` of the way back to where they began."""
    if recipe.earlier is None:
        raise RecipeError(
            f"earlier_share is {recipe.earlier_share} and the recipe names no earlier run; "
            "give one with --set earlier=RUN"
        )
    ours = model.get_weights()
    _fill_averaged(model, recipe.earlier / "weights.npz")
    share = recipe.earlier_share
    mixed = [share * e + (1 - share) * o for e, o in zip(model.get_weights(), ours, strict=True)]
    model.set_weights(mixed)


def _fill_averaged(model: keras.Model, checkpoint: Path) -> int:
    """Averaged weights into the network; returns the step that they were saved at."""
    with np.load(checkpoint) as arrays:
        values = [arrays.get(f"average/{weight.path}") for weight in model.weights]
        for weight, value in zip(model.weights, values, strict=True):
            if value is None or value.shape != tuple(weight.shape):
                raise RunError(
                    f"{checkpoint} is of another net, its {weight.path} does not fit; give a run of this net"
                )
        model.set_weights(values)
        return int(arrays["step"])


def export(
    run: Path,
    checkpoint: Path,
    target: Path,
    recipe: DetectorRecipe,
    recipe_name: str,
    scenes: Sequence[Scene],
    held: Sequence[Record],
) -> DetectorEntry:
    """Write `detector.tflite`, `entry.json`, `metrics.json` and `weights.npz` into `target`.

    `weights.npz` holds what was trained, without a share of an earlier run's weights.
    `run` holds the anchors, `scenes` give the ranges of the activations, `held` the suggested scores.
    """
    target.mkdir(parents=True, exist_ok=True)
    decoder = read_decoder(run)
    model, step = averaged_model(recipe, decoder, checkpoint)
    pictures = calibration_pictures(recipe, scenes)
    data = to_int8(model, pictures, network_input(recipe.net))
    entry = describe(data, recipe, decoder, card(recipe, recipe_name, {"steps": step}))
    empty = found_in_empty_views(recipe, entry, data, held)
    figures, suggested = choose_scores(recipe, entry, int8_outputs(data, entry, held), held, empty)
    plain = float_entry(recipe, decoder, model)
    float_figures, _ = choose_scores(recipe, plain, float_outputs(model, plain, held), held)
    metrics = {
        "steps": step,
        "bytes": len(data),
        "held_int8": figures,
        "held_float": float_figures,
    }
    entry = entry.model_copy(
        update={
            "suggested": suggested,
            "card": card(recipe, recipe_name, {"steps": step, "bytes": len(data), **_flat("held", figures)}),
        }
    )
    write_bytes(target / "detector.tflite", data)
    write_bytes(target / "entry.json", (entry.model_dump_json(indent=2) + "\n").encode())
    with np.load(checkpoint) as arrays:
        averages = {name: arrays[name] for name in arrays if name.startswith("average/")}
    np.savez(target / "weights.npz", step=step, **averages)
    write_json(target / "metrics.json", metrics)
    return entry


def calibration_pictures(recipe: DetectorRecipe, scenes: Sequence[Scene]) -> Iterator[NDArray[np.uint8]]:
    """Drawn training pictures at the input's size, as the device brings them there."""
    drawn = np.random.default_rng(recipe.seed).permutation(len(scenes))[: recipe.calibration]
    for number in drawn:
        yield fit_picture(scenes[number].pixels, network_input(recipe.net), recipe.resize)[0]


def describe(
    data: bytes, recipe: DetectorRecipe, decoder: SsdDecoder, model_card: ModelCard
) -> DetectorEntry:
    """The manifest's entry for an int8 file; suggested scores of one half until they are chosen."""
    input_ = input_tensor(data, "rgb", PIXEL_SCALE, PIXEL_OFFSET)
    outputs = output_tensors(data, OUTPUTS)
    return DetectorEntry(
        cpu=ModelFile(file="detector.tflite", sha256=hashlib.sha256(data).hexdigest()),
        input=input_,
        resize=recipe.resize,
        outputs=outputs,
        labels=recipe.labels,
        decoder=decoder,
        suggested=SuggestedDetection(score=dict.fromkeys(recipe.labels, 0.5), nms_iou=recipe.nms_iou),
        golden=golden(data, input_, outputs),
        card=model_card,
    )


def float_entry(recipe: DetectorRecipe, decoder: SsdDecoder, model: keras.Model) -> DetectorEntry:
    """An entry for the float network, so that the device's decoder can read its answers too."""
    outputs = tuple(
        OutputTensor(
            role=role,
            tensor=name,
            shape=(1, *(int(n) for n in model.output[name].shape[1:])),
            dtype="float32",
        )
        for role, name in OUTPUTS.items()
    )
    nothing = Golden(seed=0, tolerance=1.0, samples=(GoldenSample(role="scores", index=(0,), value=(0.0,)),))
    return DetectorEntry(
        cpu=ModelFile(file="detector.float", sha256="0" * 64),
        input=network_input(recipe.net),
        resize=recipe.resize,
        outputs=outputs,
        labels=recipe.labels,
        decoder=decoder,
        suggested=SuggestedDetection(score=dict.fromkeys(recipe.labels, 0.5), nms_iou=recipe.nms_iou),
        golden=nothing,
        card=card(recipe, "float", {}),
    )


def card(recipe: DetectorRecipe, recipe_name: str, metrics: Mapping[str, float | int | str]) -> ModelCard:
    """Where the detector comes from."""
    return ModelCard(
        recipe=recipe_name,
        commit=commit(),
        created=now(),
        data=recipe.data_terms,
        metrics=dict(metrics),
    )


Answers = Iterator[tuple[dict[str, NDArray[Any]], Any]]
"""Outputs by role and where the picture lies on the input, per picture."""


def int8_outputs(data: bytes, entry: DetectorEntry, records: Sequence[Record]) -> Answers:
    """The exported file's answers, as the device asks for them."""
    quantizer = Quantizer(entry.input)
    fitted = [fit_picture(record.pixels(), entry.input, entry.resize) for record in records]
    answers = Exported(data, entry.outputs).run_all(quantizer(pixels) for pixels, _ in fitted)
    for answer, (_, placement) in zip(answers, fitted, strict=True):
        yield answer, placement


def float_outputs(model: keras.Model, entry: DetectorEntry, records: Sequence[Record]) -> Answers:
    """The float network's answers to the same pictures."""
    fitted = [fit_picture(record.pixels(), entry.input, entry.resize) for record in records]
    for start in range(0, len(fitted), 32):
        part = fitted[start : start + 32]
        real = np.stack([pixels for pixels, _ in part]).astype(np.float32) * PIXEL_SCALE + PIXEL_OFFSET
        answer = {name: np.asarray(value) for name, value in model(real, training=False).items()}
        for i, (_, placement) in enumerate(part):
            yield {role: answer[name][i : i + 1] for role, name in OUTPUTS.items()}, placement


def found_in_empty_views(
    recipe: DetectorRecipe, entry: DetectorEntry, data: bytes, held: Sequence[Record]
) -> list[list[Detection]]:
    """What is found in each varied view of the held-out pictures that show nobody: false alarms all.

    There are few such pictures: seen once each, they say little about how often a detector is wrong.
    """
    scenes = (scene_of(record, recipe.labels, recipe.longest) for record in held)
    nobody = [scene for scene in scenes if scene.set_name in recipe.without_people]
    if not nobody:
        return []
    composer = _composer(dataclasses.replace(recipe, shares={}, seed=VIEWS_SEED), nobody, None)
    quantizer = Quantizer(entry.input)
    blank = np.zeros((entry.input.height, entry.input.width, 3), np.uint8)
    placement = fit_picture(blank, entry.input, entry.resize)[1]
    decode = Decoder(entry, dict.fromkeys(entry.labels, 0.1), recipe.nms_iou)
    views = (quantizer(composer.example(number).pixels) for number in range(recipe.empty_views))
    return [decode(answer, placement) for answer in Exported(data, entry.outputs).run_all(views)]


def choose_scores(
    recipe: DetectorRecipe,
    entry: DetectorEntry,
    answers: Answers,
    records: Sequence[Record],
    empty: Sequence[Sequence[Detection]] = (),
) -> tuple[dict[str, dict[str, float]], SuggestedDetection]:
    """Figures per label on the records, and the lowest scores that the recipe allows.

    `empty`: what `found_in_empty_views` answers; none where that does not matter.
    """
    if not records:
        raise DataError("no held-out records to choose the scores on; label with more pictures")
    decode = Decoder(entry, dict.fromkeys(entry.labels, 0.02), recipe.nms_iou)
    found = [decode(answer, placement) for answer, placement in answers]
    figures: dict[str, dict[str, float]] = {}
    scores: dict[str, float] = {}
    for label in sorted(entry.labels, key=lambda label: label == FACE):
        if label == FACE and PERSON in scores:  # where a head is, is known now
            found = [heads_first(of, scores[PERSON]) for of in found]
            empty = [heads_first(of, scores[PERSON]) for of in empty]
        matches = matches_of(label, found, records)
        score = min(0.9, max(0.1, matches.score_for_precision(recipe.precision)))
        if empty and label in recipe.false_alarms:
            highest = [max((d.score for d in of if d.label == label), default=0.0) for of in empty]
            score = max(score, min(0.9, float(np.quantile(highest, 1 - recipe.false_alarms[label]))))
        chosen = matches.at(score)
        scores[label] = round(score, 3)
        figures[label] = {
            "AP50": round(matches.average_precision(), 4),
            "score": round(score, 3),
            "precision": round(chosen.precision, 4) if len(chosen.scores) else 0.0,
            "recall": round(chosen.recall, 4),
            "recall_at_0.1_false_alarms": round(matches.recall_at_false_alarms(0.1), 4),
        }
    scores = {label: scores[label] for label in entry.labels}
    return figures, SuggestedDetection(score=scores, nms_iou=recipe.nms_iou)


def _flat(prefix: str, figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{prefix}_{label}_{name}": value for label, of in figures.items() for name, value in of.items()}


def export_checkpoint(
    recipe: DetectorRecipe,
    recipe_name: str,
    artifacts: Path,
    run: str,
    target: Path,
    post_processing: bool = False,
) -> Path:
    """A detector out of a finished run, or of the last checkpoint of one that goes on; returns `target`.

    `post_processing` adds `detector_postprocess.tflite`, for tools that expect that operator.
    """
    folder = artifacts / "train-detector" / run
    checkpoint = folder / "weights.npz"
    if not folder.exists():
        folder = folder.with_name(run + UNFINISHED)
        checkpoint = folder / "checkpoints" / "last.npz"
    if not checkpoint.exists():
        raise RecipeError(f"{checkpoint} does not exist yet; wait for the first epoch of run {run}")
    labels = artifacts / "label" / recipe.records
    scenes = [
        scene_of(record, recipe.labels, recipe.longest)
        for record in read_records(shards_of(labels, "train")[:1])
    ]
    held = list(read_records(shards_of(labels, "held")))
    entry = export(folder, checkpoint, target, recipe, recipe_name, scenes, held)
    if post_processing:
        model, _ = averaged_model(recipe, entry.decoder, checkpoint)
        data = with_post_processing(model, entry, calibration_pictures(recipe, scenes))
        write_bytes(target / "detector_postprocess.tflite", data)
    return target

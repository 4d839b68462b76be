"""Labelled records -> a trained detector, exported.

A checkpoint is written after every epoch; the same command goes on from it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from oahega_build.detector.composing import composer_of, paster_of
from oahega_build.detector.export import export, fill_averaged, read_decoder
from oahega_build.detector.inputs import Batch, Composer, batches, box_sizes, scene_of
from oahega_build.detector.loss import ssd_loss
from oahega_build.detector.recipe import PIXEL_OFFSET, PIXEL_SCALE, DetectorRecipe, network_input
from oahega_build.detector.targets import Matcher
from oahega_build.models.anchors import anchors_from_boxes
from oahega_build.models.ssd import build_ssd
from oahega_build.models.warmstart import warm_start
from oahega_build.pictures.records import read_records, shards_of
from oahega_build.runs.artifacts import Run, now, open_run, write_bytes
from oahega_build.runs.output import say
from oahega_build.runs.progress import progress
from oahega_edge.manifest import SsdDecoder


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
        composer = composer_of(recipe, scenes, paster_of(recipe, data, scenes))
        training = _prepare(recipe, data, made, composer)
        matcher = Matcher(network_input(recipe.net), training.decoder, recipe.labels, recipe.matching)
        step = _step_function(training)
        history = made.folder / "history.jsonl"
        steps = recipe.epochs * steps_per_epoch(recipe)
        with progress("training", steps, int(training.step)) as shown:
            while (epoch := int(training.step) // steps_per_epoch(recipe)) < recipe.epochs:
                examples = batches(composer, matcher, _numbers(recipe, epoch), recipe.batch, threads)
                figures = _epoch(training, step, examples, shown.advance)
                _save(made.checkpoints / "last.npz", training)
                with history.open("a") as lines:
                    lines.write(json.dumps({"epoch": epoch + 1, "at": now(), **figures}) + "\n")
                shown.note(f"epoch {epoch + 1}/{recipe.epochs}: {figures}")
                after_epoch(epoch + 1)
        export(made.folder, made.checkpoints / "last.npz", made.folder, recipe, recipe_name, scenes, held)
    return made.finished


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


def _prepare(recipe: DetectorRecipe, data: Path, run: Run, composer: Composer) -> Training:
    """The network as it starts, or as the last checkpoint left it."""
    keras.utils.set_random_seed(recipe.seed)
    decoder = _anchors(recipe, run.folder, composer)
    model = build_ssd(recipe.net, decoder.levels)
    if recipe.earlier is not None:
        fill_averaged(model, recipe.earlier / "weights.npz")
        say(f"starting from the weights of {recipe.earlier}")
    elif recipe.start:
        filled = warm_start(model, recipe.net.trunk, data / recipe.start)
        say(f"{len(filled)} layers start from {recipe.start}")
    _freeze(model, recipe.frozen_blocks)
    optimizer = keras.optimizers.Adam(recipe.learning_rate, global_clipnorm=recipe.clip)
    optimizer.build(model.trainable_variables)
    average = [tf.Variable(weight, trainable=False) for weight in model.weights]
    training = Training(recipe, decoder, model, optimizer, average, tf.Variable(0, dtype=tf.int64))
    checkpoint = run.checkpoints / "last.npz"
    if checkpoint.exists():
        _load(checkpoint, training)
        say(f"resuming after step {int(training.step)}")
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


def _freeze(model: keras.Model, blocks: int) -> None:
    if not blocks:
        return
    frozen = ("stem", *(f"block{number}" for number in range(1, blocks + 1)))
    for layer in model.layers:
        if layer.name.split("_")[0] in frozen:
            layer.trainable = False


def _numbers(recipe: DetectorRecipe, epoch: int) -> range:
    """Of the epoch's examples."""
    count = steps_per_epoch(recipe) * recipe.batch
    return range(epoch * count, (epoch + 1) * count)


def _epoch(
    training: Training, step: Any, made: Iterable[Batch], advance: Callable[[], None]
) -> dict[str, float]:
    recipe = training.recipe
    sums = np.zeros(2)
    for batch in made:
        training.optimizer.learning_rate.assign(rate(recipe, int(training.step)))
        sums += np.array(step(*_tensors(batch)))
        advance()
    scores, boxes = (sums / steps_per_epoch(recipe)).round(4).tolist()
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

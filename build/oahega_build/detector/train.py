"""Stage `train-detector`: train a detector on labelled records and export it.

Training runs on every backend of Keras: TensorFlow, PyTorch, JAX. A checkpoint is written after every epoch;
the same command continues from it, also on another machine.
"""

from __future__ import annotations

import itertools
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.checkpoint import fill_averaged, read_decoder, stored_layers
from oahega_build.detector.examples.composing import composer_of, paster_of
from oahega_build.detector.examples.feed import Batch, Feed, Source
from oahega_build.detector.examples.inputs import Composer, box_sizes, scene_of
from oahega_build.detector.loss import ssd_loss
from oahega_build.detector.recipe import PIXEL_OFFSET, PIXEL_SCALE, DetectorRecipe, network_input
from oahega_build.errors import RunUnfinished
from oahega_build.models.anchors import anchors_from_boxes
from oahega_build.models.ssd import build_ssd
from oahega_build.pictures.packed import records_in
from oahega_build.runs.artifacts import Run, now, open_run, write_bytes
from oahega_build.runs.output import say
from oahega_build.runs.progress import progress
from oahega_build.runs.reading import open_arrays
from oahega_edge.manifest import SsdDecoder

SETTLING = 64
"""Number of examples that set the batch norms of a network that starts from folded weights."""


@dataclass(frozen=True, slots=True)
class Means:
    """The resources that a training may use."""

    workers: int = 2
    """Number of workers that compose examples."""
    processes: bool = False
    """Whether the workers are processes, to feed a GPU, instead of threads."""
    seconds: float = 0.0
    """Time limit in seconds, with which the learning rate falls; 0: no limit."""
    started: float = field(default_factory=time.monotonic)

    @property
    def spent(self) -> float:
        """The share of the time that is used up, 0..1."""
        return min(1.0, (time.monotonic() - self.started) / self.seconds) if self.seconds else 0.0


def train(
    recipe: DetectorRecipe,
    recipe_name: str,
    data: Path,
    artifacts: Path,
    run: str,
    means: Means | None = None,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> Path:
    """Train and export to `<artifacts>/train-detector/<run>`, continuing an interrupted run.

    `after_epoch` is called with the number of finished epochs after each checkpoint. Raises RunUnfinished if
    TensorFlow, which the export needs, is missing, or if the time is over; then use `export-detector`.
    """
    folder = artifacts / "label" / recipe.records
    means = means or Means()
    held = list(records_in(folder, "held"))
    with open_run(artifacts, "train-detector", run, recipe) as made:
        scenes = [scene_of(record, recipe.labels, recipe.longest) for record in records_in(folder, "train")]
        composer = composer_of(recipe, scenes, paster_of(recipe, data, scenes))
        decoder = _anchors(recipe, made.folder, composer)
        source = Source(recipe, decoder, data, folder)
        with Feed(source, composer, means.workers, means.processes) as feed:
            learner = _prepare(recipe, decoder, data, made, composer)
            done = _fit(learner, recipe, feed, made, means, after_epoch)
        if not done or keras.backend.backend() != "tensorflow":
            raise RunUnfinished(
                f"{made.folder} is trained but not exported; run export-detector with TensorFlow"
            )
        from oahega_build.detector.export import export  # TensorFlow's

        export(made.folder, made.checkpoints / "last.npz", made.folder, recipe, recipe_name, scenes, held)
    return made.finished


class Learner(keras.Model):
    """The network with its loss, from pixels as bytes to outputs, on every backend of Keras."""

    def __init__(self, recipe: DetectorRecipe, decoder: SsdDecoder) -> None:
        super().__init__(name="learner")
        self.net = build_ssd(recipe.net, decoder.levels)
        self._recipe = recipe
        self._variances = (decoder.center_variance, decoder.size_variance)
        self._score_loss = keras.metrics.Mean("score_loss")
        self._box_loss = keras.metrics.Mean("box_loss")

    def call(self, pixels: Any, training: bool = False) -> dict[str, Any]:
        """The outputs for `pixels` (n, height, width, 3), uint8."""
        real = keras.ops.cast(pixels, "float32") * PIXEL_SCALE + PIXEL_OFFSET
        answer: dict[str, Any] = self.net(real, training=training)
        return answer

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """The loss of a batch. `y`: kind and offsets as in `targets.Targets`."""
        recipe = self._recipe
        scores, boxes = ssd_loss(
            y_pred["scores"],
            y_pred["boxes"],
            y["kind"],
            keras.ops.cast(y["offsets"], "float32"),
            recipe.alpha,
            recipe.gamma,
            recipe.box_weight,
            self._variances,
        )
        self._score_loss.update_state(scores)
        self._box_loss.update_state(boxes)
        return scores + boxes


def steps_per_epoch(recipe: DetectorRecipe) -> int:
    """The number of steps per epoch, at least one."""
    return max(1, recipe.examples // recipe.batch)


def rate(recipe: DetectorRecipe, step: int, spent: float = 0.0) -> float:
    """The learning rate at a step or a share of the time: linear warm-up, then half a cosine down."""
    if step < recipe.warmup:
        return recipe.learning_rate * (step + 1) / recipe.warmup
    total = max(1, recipe.epochs * steps_per_epoch(recipe) - recipe.warmup)
    done = min(1.0, max((step - recipe.warmup) / total, spent))
    share = recipe.last_rate + (1 - recipe.last_rate) * 0.5 * (1 + math.cos(math.pi * done))
    return recipe.learning_rate * share


def _prepare(
    recipe: DetectorRecipe, decoder: SsdDecoder, data: Path, run: Run, composer: Composer
) -> Learner:
    """The network at the start, or from the last checkpoint."""
    keras.utils.set_random_seed(recipe.seed)
    learner = Learner(recipe, decoder)
    checkpoint = run.checkpoints / "last.npz"
    if not checkpoint.exists():
        _begin(learner.net, recipe, decoder, data, composer)
    _freeze(learner.net, recipe.frozen_blocks)
    optimizer = keras.optimizers.Adam(
        recipe.learning_rate, global_clipnorm=recipe.clip, use_ema=True, ema_momentum=recipe.average
    )
    learner.compile(optimizer=optimizer, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(learner.net.trainable_variables)
    if checkpoint.exists():
        _load(checkpoint, learner)
        say(f"resuming after step {_step(learner)}")
    else:
        _save(checkpoint, learner)
    return learner


def _begin(
    net: keras.Model, recipe: DetectorRecipe, decoder: SsdDecoder, data: Path, composer: Composer
) -> None:
    """Load pre-trained weights."""
    if recipe.earlier is not None:
        _go_on(net, recipe, decoder, recipe.earlier / "weights.npz", composer)
        say(f"starting from the weights of {recipe.earlier}")
    elif recipe.exported:
        from oahega_build.models.warmstart import (  # TFLite's
            factor,
            settle_norms,
            start_from_detector,
            whole_trunk,
        )

        filled = start_from_detector(net, data / recipe.exported)
        if any(block.rank for block in recipe.net.trunk.blocks):
            whole = whole_trunk(net, recipe.net.trunk)
            start_from_detector(whole, data / recipe.exported)
            filled += factor(net, whole, recipe.net.trunk, _first(composer))
        norms = {layer.name for layer in net.layers if layer.name.endswith("_norm")}
        settle_norms(net, [name for name in filled if f"{name}_norm" in norms], _first(composer))
        say(f"{len(filled)} layers start from {recipe.exported}")
    elif recipe.start:
        from oahega_build.models.warmstart import settle_norms, warm_start  # TFLite's

        filled = warm_start(net, recipe.net.trunk, data / recipe.start)
        if recipe.net.trunk.batch_norm:
            settle_norms(net, filled, _first(composer))
        say(f"{len(filled)} layers start from {recipe.start}")


def _go_on(
    net: keras.Model, recipe: DetectorRecipe, decoder: SsdDecoder, weights: Path, composer: Composer
) -> None:
    """Load the weights of an earlier run. Blocks that were whole there may be factored now."""
    trunk = recipe.net.trunk
    stored = stored_layers(weights)
    blocks = tuple(
        block if f"block{number}_reduce" in stored else replace(block, rank=0)
        for number, block in enumerate(trunk.blocks, start=1)
    )
    if blocks == trunk.blocks:
        fill_averaged(net, weights)
        return
    from oahega_build.models.warmstart import factor  # TFLite's

    before = build_ssd(replace(recipe.net, trunk=replace(trunk, blocks=blocks)), decoder.levels)
    fill_averaged(before, weights)
    there = {layer.name: layer for layer in net.layers}
    for layer in before.layers:
        if [w.shape for w in layer.weights] == [w.shape for w in there[layer.name].weights]:
            there[layer.name].set_weights(layer.get_weights())
    say(f"factored: {', '.join(factor(net, before, trunk, _first(composer)))}")


def _first(composer: Composer) -> NDArray[np.float32]:
    """The first examples, as the network sees them."""
    examples = np.stack([composer.example(number).pixels for number in range(SETTLING)])
    return examples.astype(np.float32) * PIXEL_SCALE + PIXEL_OFFSET


def _step(learner: Learner) -> int:
    return int(learner.optimizer.iterations)


def _anchors(recipe: DetectorRecipe, folder: Path, composer: Composer) -> SsdDecoder:
    """The anchors of the run, made once from the first examples and then read."""
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


def _fit(
    learner: Learner,
    recipe: DetectorRecipe,
    feed: Feed,
    run: Run,
    means: Means,
    after_epoch: Callable[[int], None],
) -> bool:
    """Train all epochs that are left. Returns False if the time was over before."""
    steps = recipe.epochs * steps_per_epoch(recipe)
    batches = feed.batches(_step(learner), steps)
    with progress("training", steps, _step(learner)) as shown:
        while (epoch := _step(learner) // steps_per_epoch(recipe)) < recipe.epochs:
            if means.spent >= 1:
                return False
            figures = _epoch(learner, recipe, batches, means, shown.advance)
            _save(run.checkpoints / "last.npz", learner)
            with (run.folder / "history.jsonl").open("a") as lines:
                lines.write(json.dumps({"epoch": epoch + 1, "at": now(), **figures}) + "\n")
            shown.note(f"epoch {epoch + 1}/{recipe.epochs}: {figures}")
            after_epoch(epoch + 1)
    return True


def _epoch(
    learner: Learner,
    recipe: DetectorRecipe,
    batches: Iterator[Batch],
    means: Means,
    advance: Callable[[], None],
) -> dict[str, float]:
    learner.reset_metrics()
    figures: dict[str, Any] = {}
    for batch in itertools.islice(batches, steps_per_epoch(recipe)):
        learner.optimizer.learning_rate.assign(rate(recipe, _step(learner), means.spent))
        targets = {"kind": batch.kind, "offsets": batch.offsets}
        figures = learner.train_on_batch(batch.pixels, targets, return_dict=True)
        advance()
    told = {name: round(float(value), 4) for name, value in figures.items() if name != "loss"}
    return {**told, "rate": round(rate(recipe, _step(learner), means.spent), 7)}


def _save(path: Path, learner: Learner) -> None:
    """Write everything that the next step depends on and the exported average, atomically."""
    weights = learner.net.weights
    now_ = [np.asarray(value) for value in learner.net.get_weights()]
    if _step(learner):  # before the first step the average is empty
        learner.optimizer.finalize_variable_values(learner.net.trainable_variables)
    averaged = learner.net.get_weights()
    learner.net.set_weights(now_)
    arrays = {f"weight/{w.path}": value for w, value in zip(weights, now_, strict=True)}
    arrays |= {f"average/{w.path}": value for w, value in zip(weights, averaged, strict=True)}
    variables = learner.optimizer.variables
    arrays |= {f"optimizer/{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(variables)}
    temporary = path.with_suffix(".writing.npz")
    np.savez(temporary, step=_step(learner), **arrays)  # type: ignore[arg-type]
    temporary.replace(path)


def _load(path: Path, learner: Learner) -> None:
    with open_arrays(path) as arrays:
        learner.net.set_weights([arrays[f"weight/{weight.path}"] for weight in learner.net.weights])
        for i, variable in enumerate(learner.optimizer.variables):
            variable.assign(arrays[f"optimizer/{i}"])

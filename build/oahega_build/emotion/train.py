"""Stage `train-emotion`: train an int8 classifier with its manifest entry from pictures by class."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from oahega_build.emotion.export import export
from oahega_build.emotion.inputs import Augmenter, Epochs
from oahega_build.emotion.loss import cross_entropy, distillation, log_prior, paper_class_weights
from oahega_build.emotion.metrics import confusion, precision_recall_f1
from oahega_build.emotion.network import build_model, predict, trained_model
from oahega_build.emotion.recipe import PIXEL_OFFSET, PIXEL_SCALE, WEIGHTS, EmotionRecipe, float_input
from oahega_build.errors import RecipeError
from oahega_build.models import warmstart
from oahega_build.pictures.dataset import Sample, read_dataset, split_train
from oahega_build.pictures.people import as_pictures, portraits_of
from oahega_build.pictures.records import read_records, shards_of
from oahega_build.runs.artifacts import Run, open_run
from oahega_build.runs.progress import Shown, progress
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text

Teacher = Callable[[tf.Tensor], tf.Tensor]
"""A function from real pixels (n, side, side, channels) to logits (n, labels)."""
AfterEpoch = Callable[[int, Mapping[str, float]], None]
"""Called with the epoch, from 1, and its held-out figures. An exception from it ends the training."""


def train(
    recipe: EmotionRecipe,
    recipe_name: str,
    data: Path,
    artifacts: Path,
    run_name: str,
    stage: str = "train-emotion",
    teachers: Sequence[Teacher] = (),
) -> Path:
    """Train, export and calibrate. Returns the finished run's folder with emotion.tflite and entry.json.

    After an interrupt the same call continues after the last finished epoch. Raises BuildError.
    """
    if bool(teachers) != (recipe.distil_share > 0):
        raise RecipeError(
            f"recipe {recipe_name} has distil_share {recipe.distil_share} and {len(teachers)} teachers; "
            "use `distill` with a teacher, `train-emotion` without"
        )
    with open_run(artifacts, stage, run_name, recipe) as run:
        dataset = read_dataset(data, recipe.colour)
        chosen_on = split_train(dataset, recipe.held_out, recipe.group_pattern)
        trainer = Trainer(recipe, dataset.labels, *chosen_on, run, teachers)
        trainer.train()
        export(run.folder, recipe, recipe_name, trainer.exported_model(), dataset, chosen_on)
    return run.finished


class Trainer:
    """A training with its checkpoints."""

    def __init__(
        self,
        recipe: EmotionRecipe,
        labels: Sequence[str],
        training: Sequence[Sample],
        held_out: Sequence[Sample],
        run: Run,
        teachers: Sequence[Teacher] = (),
        prepare: Callable[[keras.Model], None] = lambda model: None,
        after_epoch: AfterEpoch = lambda epoch, figures: None,
    ) -> None:
        """`prepare` may change the new network before the first step: weights, constraints (pruning)."""
        keras.utils.set_random_seed(recipe.seed)
        self._recipe = recipe
        self._run = run
        self._teachers = teachers
        self._input = float_input(recipe)
        self._classes = len(labels)
        self._counts = [Counter(s.label for s in training)[i] for i in range(self._classes)]
        augmenter = Augmenter(recipe.augmentation, recipe.framing, self._input, _heads(recipe))
        self._epochs = Epochs(
            training, augmenter, min(recipe.batch, len(training)), recipe.seed, recipe.balance
        )
        self._held_out = held_out
        self._model = build_model(recipe, self._classes, None, recipe.precision)
        if recipe.init is not None:
            self._start_from(recipe.init)
        prepare(self._model)
        self._after_epoch = after_epoch
        if recipe.start is not None:
            earlier = trained_model(recipe.start, recipe, self._classes, None)
            self._model.set_weights(earlier.get_weights())
        self._evaluated = build_model(recipe, self._classes, recipe.side, "float32")
        self._optimizer = keras.optimizers.AdamW(recipe.learning_rate, weight_decay=recipe.weight_decay)
        self._optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "depthwise"])
        self._optimizer.build(self._model.trainable_variables)
        self._averaged = [tf.Variable(w, trainable=False) for w in self._model.weights]
        self._done = tf.Variable(0, dtype=tf.int64)
        self._halvings = tf.Variable(0, dtype=tf.int64)
        self._checkpoint = tf.train.CheckpointManager(
            tf.train.Checkpoint(
                weights=_trackable(self._model.weights),
                optimizer=_trackable(self._optimizer.variables),
                averaged=self._averaged,
                done=self._done,
                halvings=self._halvings,
            ),
            str(run.checkpoints),
            max_to_keep=1,
        )
        self._step = tf.function(self._train_step, reduce_retracing=True)

    def train(self, until: int | None = None) -> None:
        """All epochs that are not done yet, or those up to `until`."""
        self._checkpoint.restore_or_initialize()
        epochs = range(int(self._done.numpy()), until or self._recipe.epochs)
        steps = self._epochs.steps
        with progress("training", epochs.stop * steps, epochs.start * steps) as shown:
            for epoch in epochs:
                loss = self._train_epoch(epoch, shown.advance)
                self._finish_epoch(epoch, loss, shown)

    def exported_model(self) -> keras.Model:
        """The network with the averaged weights, at the device's input size, in float32."""
        source = self._averaged if self._recipe.average else self._model.weights
        self._evaluated.set_weights([np.asarray(w) for w in source])
        return self._evaluated

    def _start_from(self, init: Path) -> None:
        filled = warmstart.warm_start(self._model, self._recipe.trunk, init)
        for name in filled[: self._recipe.tune_from]:
            self._model.get_layer(name).trainable = False
            if self._recipe.trunk.batch_norm:
                self._model.get_layer(f"{name}_norm").trainable = False

    def _train_epoch(self, epoch: int, advance: Callable[[], None]) -> float:
        recipe = self._recipe
        side = recipe.early_side if epoch < recipe.early_epochs else None
        rng = np.random.default_rng([recipe.seed, epoch, 10**6])
        self._reseed_dropout(epoch)
        losses = []
        for step, batch in enumerate(self._epochs.batches(epoch, side)):
            self._optimizer.learning_rate.assign(self._learning_rate(epoch + step / self._epochs.steps))
            mixing = float(rng.beta(recipe.mixup, recipe.mixup)) if recipe.mixup else 1.0
            losses.append(
                self._step(
                    tf.constant(batch.pixels), tf.constant(batch.targets), tf.constant(mixing, tf.float32)
                )
            )
            advance()
        return float(np.mean([loss.numpy() for loss in losses]))

    def _reseed_dropout(self, epoch: int) -> None:
        """Make dropout a function of seed and epoch, like the shuffle, for resumed runs."""
        for number, layer in enumerate(self._model.layers):
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0:
                layer.seed_generator.state.assign([self._recipe.seed * 1000 + number, epoch << 16])

    def _learning_rate(self, epoch: float) -> float:
        recipe = self._recipe
        rate = recipe.learning_rate
        if epoch < recipe.warm_up_epochs:
            return rate * (0.05 + 0.95 * epoch / recipe.warm_up_epochs)
        if recipe.schedule == "plateau":
            return rate * 0.5 ** int(self._halvings.numpy())
        share = (epoch - recipe.warm_up_epochs) / max(1e-9, recipe.epochs - recipe.warm_up_epochs)
        return rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(1.0, share))) / 2)

    def _train_step(self, pixels: tf.Tensor, votes: tf.Tensor, mixing: tf.Tensor) -> tf.Tensor:
        recipe = self._recipe
        real = tf.cast(pixels, tf.float32) * PIXEL_SCALE + PIXEL_OFFSET
        label = tf.one_hot(tf.argmax(votes, axis=1), self._classes)
        targets = recipe.votes * votes + (1 - recipe.votes) * label
        if recipe.mixup:
            real = mixing * real + (1 - mixing) * tf.reverse(real, [0])
            targets = mixing * targets + (1 - mixing) * tf.reverse(targets, [0])
        with tf.GradientTape() as tape:
            logits = self._model(real, training=True)
            loss = tf.reduce_mean(self._loss(targets, logits, real))
            total = loss + tf.add_n(self._model.losses) if self._model.losses else loss
        gradients = tape.gradient(total, self._model.trainable_variables)
        self._optimizer.apply_gradients(zip(gradients, self._model.trainable_variables, strict=True))
        if recipe.average:
            steps = tf.cast(self._optimizer.iterations, tf.float32)
            decay = tf.minimum(recipe.average, (1 + steps) / (10 + steps))
            for averaged, weight in zip(self._averaged, self._model.weights, strict=True):
                averaged.assign(decay * averaged + (1 - decay) * weight.value)
        return loss

    def _loss(self, targets: tf.Tensor, logits: tf.Tensor, real: tf.Tensor) -> tf.Tensor:
        recipe = self._recipe
        adjusted = logits
        if recipe.logit_adjustment:
            adjusted = logits + recipe.logit_adjustment * log_prior(self._counts)
        loss = cross_entropy(targets, adjusted)
        if recipe.class_weights_mu:
            weights = paper_class_weights(self._counts, recipe.class_weights_mu)
            loss *= tf.linalg.matvec(targets, weights)
        if self._teachers:
            taught = tf.add_n([tf.stop_gradient(teacher(real)) for teacher in self._teachers])
            soft = distillation(logits, taught / len(self._teachers), recipe.distil_temperature)
            loss = (1 - recipe.distil_share) * loss + recipe.distil_share * soft
        return loss

    def _finish_epoch(self, epoch: int, loss: float, shown: Shown) -> None:
        figures = self._held_out_figures()
        log = _read_log(self._run.folder / "log.jsonl", epoch)
        if self._recipe.schedule == "plateau":
            self._halve_after_ten(log, figures["loss"])
        log.append({"epoch": epoch + 1, "training_loss": loss, **figures})
        (self._run.folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in log))
        shown.note(
            f"epoch {epoch + 1}/{self._recipe.epochs}: training loss {loss:.4f}, held-out loss "
            f"{figures['loss']:.4f}, accuracy {figures['accuracy']:.4f}, balanced {figures['balanced']:.4f}"
        )
        self.exported_model().save_weights(self._run.folder / WEIGHTS)
        self._done.assign(epoch + 1)
        self._checkpoint.save()
        self._after_epoch(epoch + 1, figures)

    def _halve_after_ten(self, log: Sequence[dict[str, float]], loss: float) -> None:
        best = min(range(len(log)), key=lambda i: log[i]["loss"], default=0)
        waited = len(log) - 1 - best
        if log and loss >= log[best]["loss"] and waited and waited % 10 == 0:
            self._halvings.assign_add(1)

    def _held_out_figures(self) -> dict[str, float]:
        model = self.exported_model()
        logits = predict(model, self._held_out, self._recipe)
        labels = np.array([sample.label for sample in self._held_out])
        right = logits.argmax(axis=1) == labels
        loss = cross_entropy(np.eye(self._classes, dtype=np.float32)[labels], logits)
        return {
            "loss": float(np.mean(loss)),
            "accuracy": float(right.mean()),
            "balanced": float(np.mean([right[labels == i].mean() for i in range(self._classes)])),
            "precision": float(
                precision_recall_f1(confusion(logits.argmax(axis=1), labels, self._classes))[:, 0].mean()
            ),
        }


def _heads(recipe: EmotionRecipe) -> list[NDArray[np.uint8]]:
    """Portraits from the recipe's labelling run, without its held-out pictures."""
    if not recipe.augmentation.heads:
        return []
    if recipe.heads is None:
        raise RecipeError("the recipe draws faces over heads; give a labelling run with --set heads=RUN")
    records = read_records(shards_of(recipe.heads, "train"))
    return as_pictures(portraits_of(records), recipe.colour)


def _trackable(variables: Sequence[keras.Variable]) -> list[tf.Variable]:
    """The TensorFlow variables behind Keras's, which a checkpoint can store."""
    return [variable.value for variable in variables]


def _read_log(path: Path, epochs: int) -> list[dict[str, float]]:
    """The log of the first `epochs` epochs, without what an interrupted epoch wrote."""
    if not path.is_file():
        return []
    return [json.loads(line) for line in read_text(path, LARGEST_DOCUMENT).splitlines()][:epochs]

"""Networks that learn side by side from the same varied batches, alone or taught: any Keras backend."""

from __future__ import annotations

import io
import json
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops, random
from numpy.typing import NDArray

from oahega_build.ensemble.pack import VOTES, Pack, fold
from oahega_build.ensemble.recipe import Course
from oahega_build.ensemble.variation import STORED, Ranges, Variation, View, as_real, crop
from oahega_build.runs.artifacts import write_bytes
from oahega_build.runs.output import say
from oahega_build.runs.reading import open_arrays


class Lesson(keras.Model):
    """`nets` (name -> pixels to logits) on stored faces; every net has the loss of its own.

    A net with as many logits as there are votes learns the votes; one with as many as there are labels
    learns the votes folded. Teachers, all over the votes, see what the nets see; nets that are taught are
    over the labels.
    """

    def __init__(
        self,
        nets: Mapping[str, keras.Model],
        labels: Sequence[str],
        ranges: Ranges,
        course: Course,
        teachers: Sequence[keras.Model] = (),
        view: View = STORED,
    ) -> None:
        super().__init__(dtype="float32")
        self.nets = dict(nets)
        self.teachers = list(teachers)
        for teacher in self.teachers:
            teacher.trainable = False
        self.variation = Variation(ranges, course.seed, view, dtype="float32")
        self._view = view
        self._fold = fold(labels)
        self._share = course.taught_share if teachers else 0.0
        self._blended = course.blended
        self._dice = random.SeedGenerator(course.seed)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """PyTorch only: forget the gradients of every weight.

        Its own way knows weights by their names, and those of two nets are the same: without this the
        gradients of all nets but one would add up from step to step.
        """
        for variable in self.trainable_variables:
            variable.value.grad = None

    def call(self, canvas: keras.KerasTensor, training: bool | None = None) -> dict[str, keras.KerasTensor]:
        """Logits by net; while training, also what is hidden, how much each face is its own, and what the
        teachers say.
        """
        if not training:
            real = as_real(crop(canvas, self._view))[..., None]
            return {name: net(real, training=False) for name, net in self.nets.items()}
        real, hidden = self.variation(canvas)
        own = ops.ones_like(hidden)
        if self._blended:
            dice = random.uniform((2, ops.shape(real)[0]), seed=self._dice)
            own = ops.where(dice[0] < self._blended, 0.5 + dice[1] / 2, own)
            real = _blended(real, own[:, None, None, None])
        answers = {name: net(real, training=True) for name, net in self.nets.items()}
        answers["hidden"], answers["own"] = hidden, own
        if self.teachers:
            fold_ = ops.convert_to_tensor(self._fold)
            logits = [ops.cast(teacher(real, training=False), "float32") for teacher in self.teachers]
            said = [ops.matmul(ops.softmax(each), fold_) for each in logits]
            answers["taught"] = ops.stop_gradient(sum(said) / len(said))
        return answers

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):  # type: ignore[no-untyped-def]
        """The sum over the nets of their mean loss."""
        hidden, own = y_pred["hidden"][:, None], y_pred["own"]
        total = 0.0
        for name in self.nets:
            logits = ops.cast(y_pred[name], "float32")
            votes = y if logits.shape[-1] == len(VOTES) else ops.matmul(y, ops.convert_to_tensor(self._fold))
            votes = votes * (1 - hidden) + hidden / votes.shape[-1]
            votes = _blended(votes, own[:, None])
            loss = _cross_entropy(votes, logits) * _blended(sample_weight, own)
            if self._share:
                taught = _cross_entropy(y_pred["taught"], logits)
                loss = (1 - self._share) * loss + self._share * taught
            total = total + ops.mean(loss)
        return total


def _cross_entropy(shares: keras.KerasTensor, logits: keras.KerasTensor) -> keras.KerasTensor:
    return -ops.sum(shares * ops.log_softmax(logits), axis=-1)


def _blended(values: keras.KerasTensor, own: keras.KerasTensor) -> keras.KerasTensor:
    """Each with the one before it in the batch, `own` of itself."""
    return values * own + ops.roll(values, 1, axis=0) * (1 - own)


class Batches(keras.utils.PyDataset):
    """Whole batches of a pack, drawn anew each epoch."""

    def __init__(self, pack: Pack, course: Course, fold_: NDArray[np.float32]) -> None:
        super().__init__()
        self._pack = pack
        self._batch = min(course.batch, len(pack))
        self._rng = np.random.default_rng(course.seed)
        kinds = (pack.votes @ fold_).argmax(axis=1)
        rarity = np.bincount(kinds, minlength=fold_.shape[1])[kinds].astype(float) ** -course.balance
        self._chance = rarity / rarity.sum()
        self.on_epoch_end()

    def __len__(self) -> int:
        return len(self._pack) // self._batch

    def __getitem__(self, index: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
        chosen = self._order[index * self._batch : (index + 1) * self._batch]
        return self._pack.canvas[chosen], self._pack.votes[chosen], self._pack.weight[chosen]

    def on_epoch_end(self) -> None:
        """Another order."""
        self._order = self._rng.choice(len(self._pack), len(self._pack), p=self._chance)


class Pace(keras.callbacks.Callback):
    """Warm-up and cosine over the epochs, or over `seconds` where those are over earlier."""

    def __init__(self, course: Course, seconds: float | None) -> None:
        super().__init__()
        self._course = course
        self._seconds = seconds
        self._began = time.monotonic()
        self._slowest = 0.0

    def on_epoch_begin(self, epoch: int, logs: object = None) -> None:
        """Set the learning rate."""
        self._epoch_began = time.monotonic()
        course = self._course
        if epoch < course.warm_up_epochs:
            share = (epoch + 1) / (course.warm_up_epochs + 1)
        else:
            share = 0.005 + 0.995 * (1 + math.cos(math.pi * self._progress(epoch))) / 2
        self.model.optimizer.learning_rate = course.learning_rate * share

    def on_epoch_end(self, epoch: int, logs: object = None) -> None:
        """Stop when another epoch would not end in time."""
        now = time.monotonic()
        if epoch:  # the first one compiles
            self._slowest = max(self._slowest, now - self._epoch_began)
        if self._seconds is not None and now - self._began + self._slowest > self._seconds:
            self.model.stop_training = True

    def _progress(self, epoch: int) -> float:
        done = epoch / self._course.epochs
        if self._seconds is not None:
            done = max(done, (time.monotonic() - self._began) / self._seconds)
        return min(1.0, done)


class Record(keras.callbacks.Callback):
    """Held-out figures into a log and the weights into a file, every so many seconds and at the end."""

    def __init__(self, lesson: Lesson, held_out: Pack, log: Path, folder: Path, every: float) -> None:
        super().__init__()
        self._lesson, self._held_out, self._log, self._folder = lesson, held_out, log, folder
        self._every = every
        self._last = time.monotonic()

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        """Look, when it is time."""
        if time.monotonic() - self._last > self._every:
            self._look(epoch, logs)
            self._last = time.monotonic()
        self._latest = (epoch, logs)

    def on_train_end(self, logs: object = None) -> None:
        """The last look."""
        self._look(*self._latest)

    def _look(self, epoch: int, logs: Mapping[str, float] | None) -> None:
        line = {
            "epoch": epoch + 1,
            "at": round(time.monotonic(), 1),
            "training_loss": round(float((logs or {}).get("loss", math.nan)), 4),
            "held_out": held_out_figures(self._lesson, self._held_out),
        }
        with self._log.open("a") as file:
            file.write(json.dumps(line) + "\n")
        say(json.dumps(line))
        for name, net in self._lesson.nets.items():
            save_weights(self._folder / f"{name}.npz", name, net)


def held_out_figures(lesson: Lesson, held_out: Pack, batch: int = 256) -> dict[str, dict[str, float]]:
    """Per net: cross-entropy against the folded votes, and accuracy where most votes agree on a label."""
    whole = len(held_out) // batch * batch or len(held_out)
    answers = lesson.predict(held_out.canvas[:whole], batch_size=min(batch, whole), verbose=0)
    wanted = held_out.votes[:whole] @ lesson._fold
    sure = wanted.max(axis=1) > 0.5
    figures = {}
    for name in lesson.nets:
        shares = as_shares(np.asarray(answers[name], np.float64), lesson._fold)
        right = shares.argmax(axis=1) == wanted.argmax(axis=1)
        recalls = [right[sure & (wanted.argmax(axis=1) == k)].mean() for k in range(wanted.shape[1])]
        figures[name] = {
            "cross_entropy": round(float(-(wanted * np.log(shares + 1e-9)).sum(axis=1).mean()), 4),
            "accuracy": round(float(right[sure].mean()), 4),
            "balanced": round(float(np.mean(recalls)), 4),
        }
    return figures


def as_shares(logits: NDArray[np.float64], fold_: NDArray[np.float32]) -> NDArray[np.float64]:
    """Probabilities of the labels, from logits over labels or over votes."""
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares = powers / powers.sum(axis=1, keepdims=True)
    return np.asarray(shares if logits.shape[1] == fold_.shape[1] else shares @ fold_)


def train_lesson(
    lesson: Lesson,
    pack: Pack,
    course: Course,
    log: Path,
    folder: Path,
    seconds: float | None = None,
    every: float = 45.0,
    backup: Path | None = None,
) -> None:
    """All epochs, or as many as fit into `seconds`; each net's weights end in `folder/<net>.npz`."""
    optimizer = keras.optimizers.AdamW(course.learning_rate, weight_decay=course.weight_decay, clipnorm=None)
    optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta", "depthwise"])
    lesson.compile(optimizer=optimizer)
    lesson(pack.canvas[:1], training=False)  # a model that was never called cannot be restored
    callbacks: list[keras.callbacks.Callback] = [
        Pace(course, seconds),
        Record(lesson, pack.where(pack.held_out), log, folder, every),
    ]
    if backup is not None:
        callbacks.append(keras.callbacks.BackupAndRestore(backup))
    batches = Batches(pack.where(~pack.held_out), course, lesson._fold)
    lesson.fit(batches, epochs=course.epochs, callbacks=callbacks, verbose=0)


def save_weights(path: Path, name: str, net: keras.Model, dtype: str = "float16") -> None:
    """The weights as `name/layer/variable`; half precision is enough to start from and to deploy."""
    data = io.BytesIO()
    weights: dict[str, Any] = {
        f"{name}/{v.path}": np.asarray(ops.convert_to_numpy(v)).astype(dtype) for v in net.weights
    }
    np.savez_compressed(data, **weights)
    write_bytes(path, data.getvalue())


def load_weights(path: Path, name: str, net: keras.Model) -> None:
    """What `save_weights` wrote of the net `name`. Raises KeyError for weights that the file lacks."""
    with open_arrays(path) as stored:
        for variable in net.weights:
            variable.assign(stored[f"{name}/{variable.path}"].astype("float32"))

"""Stage `train-ensemble`: teachers, then the students that they teach, on packs of faces.

The same command trains on a CPU in hours and on a GPU in minutes. It needs neither the datasets nor
TensorFlow: `KERAS_BACKEND=torch` (or `jax`) chooses the backend. `export-ensemble` makes the files that a
device loads.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

from oahega_build.ensemble.lesson import Lesson, load_weights, train_lesson
from oahega_build.ensemble.pack import VOTES, Pack, joined, read_pack
from oahega_build.ensemble.recipe import EnsembleRecipe, Net
from oahega_build.ensemble.variation import CROP, as_real, crop
from oahega_build.errors import RecipeError, RunError
from oahega_build.models.identity import read_tfjs, settle_norms, start_from
from oahega_build.models.mobilenet import Head, classifier
from oahega_build.runs.artifacts import Run, open_run

LOG = "log.jsonl"


class Resized(layers.Layer):
    """To a larger square bilinearly, to a smaller one by area, as the device does it."""

    def __init__(self, side: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.side = side

    def call(self, pixels: keras.KerasTensor) -> keras.KerasTensor:
        """(n, CROP, CROP, 1) -> (n, side, side, 1)."""
        if self.side >= CROP:
            return ops.image.resize(pixels, (self.side, self.side), interpolation="bilinear")
        ends, cells = np.linspace(0, CROP, self.side + 1), np.arange(CROP)
        share = np.minimum(ends[1:, None], cells + 1) - np.maximum(ends[:-1, None], cells)
        across = ops.convert_to_tensor((np.maximum(share, 0) * self.side / CROP).astype(np.float32))
        across = ops.cast(across, pixels.dtype)
        return ops.matmul(ops.matmul(across, pixels[..., 0]), ops.transpose(across))[..., None]

    def compute_output_shape(self, shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Square."""
        return (shape[0], self.side, self.side, shape[3])


def build_net(net: Net, classes: int, precision: str = "float32") -> keras.Model:
    """Pixels (n, CROP, CROP, 1) -> logits; where the trunk sees another size, it is a model inside."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        trunk = dataclasses.replace(net.trunk, precision=precision)
        made = classifier((net.side, net.side, 1), trunk, classes, Head(dropout=net.dropout))
        if net.side == CROP:
            return made
        pixels = keras.Input((CROP, CROP, 1), name="crop")
        return keras.Model(pixels, made(Resized(net.side, name="resized")(pixels)), name=made.name)
    finally:
        keras.config.set_dtype_policy(before)


def without_resizing(model: keras.Model) -> keras.Model:
    """The part of `build_net`'s model that a device runs: it sees crops of the size that it wants."""
    return next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)


def weights_of(folder: Path, name: str) -> Path:
    """Where a run keeps the weights of its net `name`."""
    return folder / f"{name}.npz"


def train_ensemble(
    recipe: EnsembleRecipe,
    packs: Sequence[Path],
    artifacts: Path,
    run_name: str,
    start: Mapping[str, Path],
    seconds: float | None = None,
    only: Sequence[str] = (),
) -> Path:
    """`artifacts/train-ensemble/<run>/` with the weights of every net and a log.

    `start`: net -> weights that it begins with. `seconds` bounds each lesson; its schedule fits itself into
    them. `only`: nets that this call trains, for several processes on one GPU; the one that finds all done
    finishes the run. Interrupted, the same call goes on with the first net that is not done. Raises
    RecipeError for a name that the recipe lacks, RunError while nets are missing.
    """
    unknown = sorted({*only, *start} - {*recipe.teachers, *recipe.students})
    if unknown:
        raise RecipeError(
            f"the recipe has no net {', '.join(unknown)}; it has "
            f"{', '.join([*recipe.teachers, *recipe.students])}"
        )
    pack = joined([read_pack(path) for path in packs])
    with open_run(artifacts, "train-ensemble", run_name, recipe) as run:
        for number, name in enumerate(recipe.teachers):
            if not weights_of(run.folder, name).is_file() and name in (only or recipe.teachers):
                _teach(recipe, (name,), number, pack, run, start, seconds)
        for number, group in enumerate(recipe.groups()):
            done = all(weights_of(run.folder, name).is_file() for name in group)
            if not done and (not only or set(group) & set(only)):
                _teach(recipe, group, 10 + number, pack, run, start, seconds)
        names = [*recipe.teachers, *recipe.students]
        missing = [name for name in names if not weights_of(run.folder, name).is_file()]
        if missing:
            raise RunError(
                f"{', '.join(only)} trained, {', '.join(missing)} not yet; run the same command for them"
            )
    return run.finished


def _teach(
    recipe: EnsembleRecipe,
    names: Sequence[str],
    number: int,
    pack: Pack,
    run: Run,
    start: Mapping[str, Path],
    seconds: float | None,
) -> None:
    """One lesson; its nets' weights appear in the run when it has ended."""
    are_teachers = names[0] in recipe.teachers
    course = recipe.teacher_course if are_teachers else recipe.course
    course = dataclasses.replace(course, seed=course.seed + number)
    keras.utils.set_random_seed(course.seed)
    kinds = recipe.teachers if are_teachers else recipe.students
    classes = len(VOTES) if are_teachers else len(recipe.labels)
    nets = {name: build_net(kinds[name], classes, recipe.precision) for name in names}
    for name, net in nets.items():
        if name in start:
            _begin(name, net, kinds[name], start[name], pack)
    teachers = [] if are_teachers else load_teachers(recipe, run.folder)
    lesson = Lesson(nets, recipe.labels, recipe.ranges, course, teachers, recipe.view)
    backup = run.checkpoints / "-".join(names)
    train_lesson(
        lesson, pack, course, run.folder / LOG, run.checkpoints, seconds, backup=None if seconds else backup
    )
    for name in names:
        weights_of(run.checkpoints, name).replace(weights_of(run.folder, name))


def _begin(name: str, model: keras.Model, net: Net, path: Path, pack: Pack) -> None:
    """Weights of an earlier run, of an exported file, or of a TensorFlow.js graph that tells people apart."""
    trunk = without_resizing(model)
    if path.suffix == ".tflite":
        from oahega_build.models.warmstart import start_from_exported

        start_from_exported(trunk, net.trunk, path)
    elif path.suffix == ".json":
        start_from(trunk, net.trunk, read_tfjs(path))
    else:
        load_weights(path, name, model)
        return
    some = np.linspace(0, len(pack) - 1, min(192, len(pack))).astype(int)
    real = as_real(crop(pack.canvas[some]))[..., None]
    settle_norms(trunk, ops.convert_to_numpy(Resized(net.side)(real)))


def load_teachers(recipe: EnsembleRecipe, folder: Path) -> list[keras.Model]:
    """The teachers of a run, ready to answer. Raises RecipeError when one is not trained yet."""
    teachers = []
    for name, net in recipe.teachers.items():
        path = weights_of(folder, name)
        if not path.is_file():
            raise RecipeError(f"{path} does not exist; train the teacher {name} first")
        teachers.append(build_net(net, len(VOTES), recipe.precision))
        load_weights(path, name, teachers[-1])
    return teachers

"""Stage `distill`: train a small network on the answers of trained ones, under the same augmentation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import keras
import tensorflow as tf

from oahega_build.emotion.network import trained_model
from oahega_build.emotion.recipe import EmotionRecipe, recipe_of
from oahega_build.emotion.train import Teacher, train
from oahega_build.errors import RecipeError
from oahega_build.pictures.dataset import read_dataset


def distill(
    recipe: EmotionRecipe,
    recipe_name: str,
    teacher_runs: Sequence[Path],
    data: Path,
    artifacts: Path,
    run_name: str,
) -> Path:
    """Train as `train-emotion` does, with the mean of the teachers' logits in the loss.

    In each step the teachers get the same pixels as the student, at their own input size. Raises BuildError.
    """
    classes = len(read_dataset(data, recipe.colour).labels)
    teachers = [load_teacher(run, recipe, classes) for run in teacher_runs]
    return train(recipe, recipe_name, data, artifacts, run_name, stage="distill", teachers=teachers)


def load_teacher(run: Path, student: EmotionRecipe, classes: int) -> Teacher:
    """The network of a finished or unfinished run as a function of the student's pixels."""
    taught_by = recipe_of(run)
    if taught_by.colour != student.colour:
        raise RecipeError(
            f"teacher {run} needs {taught_by.colour} pictures, the student {student.colour}; use one colour"
        )
    model = trained_model(run, taught_by, classes, None)
    return _Resized(model, taught_by.side)


class _Resized:
    """A teacher that resizes the pixels to its own input size."""

    def __init__(self, model: keras.Model, side: int) -> None:
        self._model = model
        self._side = side

    def __call__(self, real: tf.Tensor) -> tf.Tensor:
        if real.shape[1] != self._side:
            real = tf.image.resize(real, (self._side, self._side))
        return self._model(real, training=False)

"""The float network of a recipe, its weights and its answers."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.recipe import PIXEL_OFFSET, PIXEL_SCALE, WEIGHTS, EmotionRecipe, float_input
from oahega_build.errors import RunError
from oahega_build.models.mobilenet import Head, classifier
from oahega_build.pictures.dataset import Sample
from oahega_build.pictures.framing import crop_sample


def build_model(recipe: EmotionRecipe, classes: int, side: int | None, precision: str) -> keras.Model:
    """Build the network of a recipe. `side` None accepts any size (training); a number is for the export."""
    channels = 1 if recipe.colour == "grey" else 3
    trunk = dataclasses.replace(recipe.trunk, precision=precision)
    head = Head(recipe.hidden, recipe.hidden_on_map, recipe.dropout, recipe.hidden_l2)
    return classifier((side, side, channels), trunk, classes, head)


def trained_model(run: Path, recipe: EmotionRecipe, classes: int, side: int | None) -> keras.Model:
    """Build the network with the weights of a run, finished or not. Raises RunError if they do not fit."""
    model = build_model(recipe, classes, side, "float32")
    try:
        model.load_weights(run / WEIGHTS)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run} has no weights that fit its recipe ({error}); give a run of train-emotion"
        ) from error
    return model


def predict(model: keras.Model, samples: Sequence[Sample], recipe: EmotionRecipe) -> NDArray[np.float32]:
    """Float logits (n, labels) of the pictures, cropped as on the device."""
    input_ = float_input(recipe)
    faces = np.stack([crop_sample(s.pixels, recipe.framing, input_) for s in samples])
    real = faces.reshape(len(faces), *input_.shape[1:]).astype(np.float32) * PIXEL_SCALE + PIXEL_OFFSET
    return np.asarray(model.predict(real, batch_size=256, verbose=0))

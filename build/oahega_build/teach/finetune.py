"""More of a classifier's network than its last layer, trained on a few faces; needs TensorFlow.

The last layer starts as the one that was fitted to the same faces, so that the first steps do not scramble
the features of the trunk (linear probing, then fine-tuning: Kumar et al. 2022).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.inputs import Augmentation, Augmenter
from oahega_build.models.quantize import real_pixels, to_int8
from oahega_build.models.unquantized import LAST, network_of
from oahega_build.pictures.framing import Framing
from oahega_build.teach.last_layer import Head
from oahega_edge.manifest import EmotionEntry, output_of

VARIED, BATCH = 640, 32
"""Variations of the faces, and how many are seen together: the same work for few faces as for many."""
EPOCHS_OF_BLOCK, EPOCHS_OF_TRUNK = 6, 2
LEARNING_RATE = 3e-4
SMOOTHING = 0.1
"""Of the labels, so that few faces do not make the answers extreme."""
BLOCK = 2
"""Convolutions of the last block: a depthwise and a pointwise one."""
VARIATIONS = Augmentation(rotation=12, shrink=0.25, blur=0.08, noise=0.1, jpeg=0.08, erase=0.1)

Crops = Sequence[NDArray[np.uint8]]
Numbers = NDArray[np.int64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FineTuning:
    """Trains one file's network."""

    file: Path
    """The base's int8 classifier."""
    entry: EmotionEntry
    whole: bool
    """The whole trunk; otherwise only its last block."""
    shortened: bool = False
    """One epoch only."""

    def fit(self, crops: Crops, truth: Numbers, head: Head) -> keras.Model:
        """The network with a last layer that starts as `head`, trained on the faces."""
        keras.utils.set_random_seed(0)
        model = network_of(self.file, len(head.bias), output_of(self.entry, "logits").tensor)
        model.get_layer(LAST).set_weights([head.weights.T[None, None], head.bias])
        varied, labels = self._varied(crops, truth)
        given, trained = self._real(varied), model
        if not self.whole:  # what lies before the last block answers once
            frozen, trained = _parted(model)
            given = frozen.predict(given, batch_size=BATCH, verbose=0)
        epochs = 1 if self.shortened else EPOCHS_OF_TRUNK if self.whole else EPOCHS_OF_BLOCK
        steps = epochs * -(-len(given) // BATCH)
        trained.compile(
            keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps)),
            keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=SMOOTHING),
        )
        answers = np.eye(len(head.bias), dtype=np.float32)[labels]
        trained.fit(given, answers, batch_size=BATCH, epochs=epochs, verbose=0)
        return model

    def logits(self, model: keras.Model, crops: Crops) -> NDArray[np.float64]:
        """(n, labels)."""
        return np.asarray(model.predict(self._real(crops), batch_size=BATCH, verbose=0), np.float64)

    def exported(self, model: keras.Model, crops: Crops, truth: Numbers) -> bytes:
        """The network as an int8 file, the ranges of its activations set by variations of the faces."""
        return to_int8(model, self._varied(crops, truth)[0], self.entry.input)

    def _varied(self, crops: Crops, truth: Numbers) -> tuple[Crops, Numbers]:
        rng = np.random.default_rng(0)
        chosen = _evenly(truth, VARIED, rng)
        vary = Augmenter(VARIATIONS, Framing(), self.entry.input)
        return [vary(crops[i], rng) for i in chosen], truth[chosen]

    def _real(self, crops: Crops) -> Floats:
        input_ = self.entry.input
        return np.stack([real_pixels(crop, input_).reshape(input_.shape[1:]) for crop in crops])


def _parted(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """What lies before the last block, and the rest; they share their layers with `model`."""
    convolutions = [layer for layer in model.layers if layer.weights and layer.name != LAST]
    between = convolutions[-BLOCK].input
    return keras.Model(model.input, between), keras.Model(between, model.output)


def _evenly(truth: Numbers, count: int, rng: np.random.Generator) -> Numbers:
    """Faces by number, every class equally often; each face is drawn before one is drawn again."""
    labels = np.unique(truth)
    each = -(-count // len(labels))
    drawn = []
    for label in labels:
        mine = np.flatnonzero(truth == label)
        rounds = [rng.permutation(mine) for _ in range(-(-each // len(mine)))]
        drawn.append(np.concatenate(rounds)[:each])
    return np.stack(drawn, axis=1).reshape(-1)

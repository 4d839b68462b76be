"""Stage `prune`: the accuracy of a trained classifier with fewer weights (paper, section 5).

Magnitude pruning sets the smallest weights to zero: size and time of the file stay, but it compresses
better. Channel pruning removes whole channels: size and time shrink. Both kinds are fine-tuned under their
restriction and exported like every model.
"""

from __future__ import annotations

import dataclasses
import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from oahega_build.emotion.compare import invocation_time
from oahega_build.emotion.export import export
from oahega_build.emotion.network import build_model, predict, trained_model
from oahega_build.emotion.recipe import EmotionRecipe, recipe_of
from oahega_build.emotion.train import Trainer
from oahega_build.errors import RecipeError
from oahega_build.experiments import prune_plot
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.models.quantize import float_tflite
from oahega_build.models.trunk import Block, Trunk
from oahega_build.pictures.dataset import Dataset, Sample, read_dataset, split_train
from oahega_build.runs.artifacts import Run, open_run
from oahega_build.runs.reading import LARGEST_DOCUMENT, LARGEST_MODEL
from oahega_edge.files import read_file
from oahega_edge.text import read_text


def prune(
    recipe: PruneRecipe,
    source: Path,
    data: Path,
    artifacts: Path,
    run_name: str,
    beside: Mapping[str, Path] = MappingProxyType({}),
) -> Path:
    """Make `<artifacts>/prune/<run>`: a run folder per variant, the table, the plot.

    `source`: a finished run of train-emotion or distill. `beside`: other such runs for the table, by name
    (the teacher, the untaught twin). Raises BuildError.
    """
    trained_with = recipe_of(source)
    described = {"prune": recipe, "source": source.name, "beside": {n: r.name for n, r in beside.items()}}
    with open_run(artifacts, "prune", run_name, described) as run:
        dataset = read_dataset(data, trained_with.colour)
        chosen_on = split_train(dataset, trained_with.held_out, trained_with.group_pattern)
        model = trained_model(source, trained_with, len(dataset.labels), None)
        rows = [_float_row(model, trained_with, chosen_on[1], dataset, run.folder)]
        rows.append(_row("int8", "quantized", source))
        rows += [_row(name, "other trainings", other) for name, other in beside.items()]
        for name, variant in _variants(recipe, trained_with, model).items():
            made = _fine_tuned(name, variant, dataset, chosen_on, run)
            rows.append(_row(name, variant.kind, made) | {"removed": variant.removed})
        run.write_metrics({"rows": rows})
        prune_plot.draw(rows, run.folder)
    return run.finished


@dataclass(frozen=True, slots=True)
class Variant:
    """One restricted network."""

    kind: str
    removed: float
    """The removed share of the weights or of the channels."""
    recipe: EmotionRecipe
    prepare: Callable[[keras.Model], None]
    """Sets the weights and the restriction of the new network."""


def _variants(recipe: PruneRecipe, trained_with: EmotionRecipe, model: keras.Model) -> Mapping[str, Variant]:
    tuned = dataclasses.replace(
        trained_with,
        epochs=recipe.epochs,
        early_epochs=0,
        learning_rate=trained_with.learning_rate * recipe.learning_rate_share,
        distil_share=0.0,
        init=None,
        start=None,
    )
    found = {}
    for share in recipe.magnitudes:
        found[f"zeros-{round(100 * share)}"] = Variant(
            "magnitude", share, tuned, partial(start_sparse, trained=model, share=share)
        )
    for share in recipe.channels:
        smaller = narrowed(trained_with.trunk, model, share)
        found[f"channels-{round(100 * share)}"] = Variant(
            "channels",
            1 - share,
            dataclasses.replace(tuned, trunk=smaller.trunk),
            partial(copy_kept, model, smaller=smaller),
        )
    return found


def _fine_tuned(
    name: str,
    variant: Variant,
    dataset: Dataset,
    chosen_on: tuple[Sequence[Sample], Sequence[Sample]],
    run: Run,
) -> Path:
    finished = run.folder / "variants" / name
    if finished.exists():
        return finished
    with open_run(run.folder, "variants", name, variant.recipe) as own:
        trainer = Trainer(variant.recipe, dataset.labels, *chosen_on, own, prepare=variant.prepare)
        trainer.train()
        model = trainer.exported_model()
        if variant.kind == "magnitude":
            # Averages include steps before a weight was set to zero, so the mask is applied again.
            _apply_masks(model, _masks(trainer.exported_model(), variant.removed))
        export(own.folder, variant.recipe, name, model, dataset, chosen_on)
    return own.finished


# Magnitude


def start_sparse(fresh: keras.Model, trained: keras.Model, share: float) -> None:
    """Copy the trained weights, and keep the smallest `share` of each kernel at zero."""
    fresh.set_weights(trained.get_weights())
    masks = _masks(fresh, share)
    _apply_masks(fresh, masks)
    for layer in fresh.layers:
        if layer.name in masks:
            layer.kernel.constraint = Masked(masks[layer.name])


class Masked(keras.constraints.Constraint):
    """A constraint that keeps weights at zero; Keras applies it after every step."""

    def __init__(self, mask: NDArray[np.bool_]) -> None:
        self._mask = tf.constant(mask, tf.float32)

    def __call__(self, weight: tf.Tensor) -> tf.Tensor:
        """The weight with its zeros restored."""
        return weight * self._mask


def _masks(model: keras.Model, share: float) -> dict[str, NDArray[np.bool_]]:
    """Masks that are True where a kernel keeps its weight. Stem, depthwise and last layers are not pruned."""
    masks = {}
    for layer in model.layers:
        if type(layer) is not keras.layers.Conv2D or layer.name in ("stem", "last"):
            continue
        size = np.abs(np.asarray(layer.kernel))
        masks[layer.name] = size > np.quantile(size, share)
    return masks


def _apply_masks(model: keras.Model, masks: Mapping[str, NDArray[np.bool_]]) -> None:
    for name, mask in masks.items():
        layer = model.get_layer(name)
        layer.kernel.assign(np.asarray(layer.kernel) * mask)


# Channels


@dataclass(frozen=True, slots=True)
class Narrowed:
    """A trunk with fewer channels, and the channels that are kept after each of its layers."""

    trunk: Trunk
    kept: Mapping[str, NDArray[np.intp]]
    """The kept channels, sorted, by the name of a dense or pointwise convolution or `stem`."""


def narrowed(trunk: Trunk, model: keras.Model, share: float) -> Narrowed:
    """Keep the channels with the largest L1 norm. Blocks that a residual joins keep the same channels.

    Raises RecipeError for a share outside 0..1, and for inverted blocks, whose middle has its own channels.
    """
    if not 0 < share < 1:
        raise RecipeError(f"the share of channels to keep must be between 0 and 1, not {share}")
    if any(block.kind == "inverted" for block in trunk.blocks):
        raise RecipeError("channels of inverted blocks cannot be pruned; use another trunk, or magnitudes")
    chains = _chains(trunk)
    kept: dict[str, NDArray[np.intp]] = {}
    for chain in chains:
        weight = np.sum([_importance(model, name) for name in chain], axis=0)
        count = max(8, 8 * round(len(weight) * share / 8))
        best = np.sort(np.argsort(-weight, kind="stable")[: min(count, len(weight))])
        kept |= dict.fromkeys(chain, best)
    blocks = tuple(
        dataclasses.replace(block, channels=len(kept[_output(block, number)]))
        for number, block in enumerate(trunk.blocks, start=1)
    )
    smaller = dataclasses.replace(trunk, width=1.0, stem_channels=len(kept["stem"]), blocks=blocks)
    return Narrowed(smaller, kept)


def _output(block: Block, number: int) -> str:
    return f"block{number}_{'dense' if block.kind == 'dense' else 'pointwise'}"


def _chains(trunk: Trunk) -> list[list[str]]:
    """Groups of layers whose outputs are added, so that they must keep the same channels."""
    chains = [["stem"]]
    for number, block in enumerate(trunk.blocks, start=1):
        name = _output(block, number)
        if block.residual:
            chains[-1].append(name)
        else:
            chains.append([name])
    return chains


def _importance(model: keras.Model, name: str) -> NDArray[np.float64]:
    """The L1 norm of the kernel of each output channel, times the scale of its batch norm if there is one."""
    kernel: NDArray[np.float64] = np.asarray(model.get_layer(name).kernel, np.float64)
    norms: NDArray[np.float64] = np.abs(kernel).sum(axis=(0, 1, 2))
    names = {layer.name for layer in model.layers}
    if f"{name}_norm" not in names:
        return norms
    norm = model.get_layer(f"{name}_norm")
    scale = np.abs(np.asarray(norm.gamma)) / np.sqrt(np.asarray(norm.moving_variance) + norm.epsilon)
    return np.asarray(norms * scale, np.float64)


def copy_kept(trained: keras.Model, fresh: keras.Model, smaller: Narrowed) -> None:
    """Copy the kept weights of the trained network into the narrow one."""
    entering = np.arange(trained.get_layer("stem").kernel.shape[2])
    for layer in fresh.layers:
        weights = trained.get_layer(layer.name).get_weights() if layer.weights else []
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.set_weights([weights[0][:, :, entering], *(bias[entering] for bias in weights[1:])])
        elif isinstance(layer, keras.layers.Conv2D):
            leaving = smaller.kept.get(layer.name, np.arange(weights[0].shape[3]))
            kernel = weights[0][:, :, entering][:, :, :, leaving]
            layer.set_weights([kernel, *(bias[leaving] for bias in weights[1:])])
            entering = leaving
        elif isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([value[entering] for value in weights])


# Rows of the table


def _float_row(
    model: keras.Model, recipe: EmotionRecipe, held_out: Sequence[Sample], dataset: Dataset, folder: Path
) -> dict[str, Any]:
    fixed = build_model(recipe, len(dataset.labels), recipe.side, "float32")
    fixed.set_weights(model.get_weights())
    file = folder / "float.tflite"
    file.write_bytes(float_tflite(fixed))
    truth = np.array([sample.label for sample in held_out])
    right = predict(fixed, held_out, recipe).argmax(axis=1) == truth
    return _measured("float32", "float", file) | {"held_out_accuracy": round(float(right.mean()), 4)}


def _row(name: str, kind: str, made: Path) -> dict[str, Any]:
    metrics = json.loads(read_text(made / "metrics.json", LARGEST_DOCUMENT))
    return _measured(name, kind, made / "emotion.tflite") | {
        "held_out_accuracy": metrics["held_out_accuracy"]
    }


def _measured(name: str, kind: str, file: Path) -> dict[str, Any]:
    data = read_file(file, LARGEST_MODEL)
    return {
        "name": name,
        "kind": kind,
        "bytes": len(data),
        "packed_bytes": len(gzip.compress(data, 9, mtime=0)),
        "milliseconds": round(invocation_time(file), 4),
    }

"""Export of a checkpoint to `detector.tflite` with its `entry.json`, also during a training."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.detector.checkpoint import fill_averaged, read_decoder
from oahega_build.detector.examples.inputs import Scene, scene_of
from oahega_build.detector.recipe import OUTPUTS, PIXEL_OFFSET, PIXEL_SCALE, DetectorRecipe, network_input
from oahega_build.detector.scores import (
    choose_scores,
    float_outputs,
    found_in_empty_views,
    held_covered,
    int8_outputs,
)
from oahega_build.errors import RecipeError
from oahega_build.models.exported import golden, input_tensor, output_tensors
from oahega_build.models.postprocess import with_post_processing
from oahega_build.models.quantize import to_int8
from oahega_build.models.ssd import build_ssd
from oahega_build.pictures.packed import records_in
from oahega_build.pictures.record import Record
from oahega_build.runs.artifacts import UNFINISHED, commit, now, write_bytes, write_json
from oahega_build.runs.reading import open_arrays
from oahega_edge.chain.preprocess import fit_picture
from oahega_edge.manifest import (
    COVERED_FACE,
    DetectorEntry,
    Golden,
    GoldenSample,
    ModelCard,
    ModelFile,
    OutputTensor,
    SsdDecoder,
    SuggestedDetection,
)


def export(
    run: Path,
    checkpoint: Path,
    target: Path,
    recipe: DetectorRecipe,
    recipe_name: str,
    scenes: Sequence[Scene],
    held: Sequence[Record],
) -> DetectorEntry:
    """Write `detector.tflite`, `entry.json`, `metrics.json` and `weights.npz` to `target`.

    `weights.npz` contains the trained weights, without the share of an earlier run. `run` has the anchors,
    `scenes` set the ranges of the activations, and `held` is used to choose the suggested scores.
    """
    target.mkdir(parents=True, exist_ok=True)
    decoder = read_decoder(run)
    model, step = averaged_model(recipe, decoder, checkpoint)
    pictures = calibration_pictures(recipe, scenes)
    data = to_int8(model, pictures, network_input(recipe.net))
    entry = describe(data, recipe, decoder, card(recipe, recipe_name, {"steps": step}))
    empty = found_in_empty_views(recipe, entry, data, held)
    labels = [label for label in recipe.labels if label != COVERED_FACE]
    figures, scores = choose_scores(recipe, entry, int8_outputs(data, entry, held), held, empty, labels)
    plain = float_entry(recipe, decoder, model)
    float_figures, _ = choose_scores(recipe, plain, float_outputs(model, plain, held), held, (), labels)
    if covered := held_covered(recipe, held):
        found = int8_outputs(data, entry, covered)
        of_covered, score = choose_scores(recipe, entry, found, covered, (), [COVERED_FACE])
        figures, scores = figures | of_covered, scores | score
    metrics = {
        "steps": step,
        "bytes": len(data),
        "held_int8": figures,
        "held_float": float_figures,
    }
    entry = entry.model_copy(
        update={
            "suggested": SuggestedDetection(score=scores, nms_iou=recipe.nms_iou),
            "card": card(recipe, recipe_name, {"steps": step, "bytes": len(data), **_flat("held", figures)}),
        }
    )
    write_bytes(target / "detector.tflite", data)
    write_bytes(target / "entry.json", (entry.model_dump_json(indent=2) + "\n").encode())
    with open_arrays(checkpoint) as arrays:
        averages: dict[str, Any] = {name: arrays[name] for name in arrays if name.startswith("average/")}
    np.savez(target / "weights.npz", step=step, **averages)
    write_json(target / "metrics.json", metrics)
    return entry


def export_checkpoint(
    recipe: DetectorRecipe,
    recipe_name: str,
    artifacts: Path,
    run: str,
    target: Path,
    post_processing: bool = False,
) -> Path:
    """Export a finished run, or the last checkpoint of a running one. Returns `target`.

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
    calibrating = itertools.islice(records_in(labels, "train"), 4 * recipe.calibration)
    scenes = [scene_of(record, recipe.labels, recipe.longest) for record in calibrating]
    held = list(records_in(labels, "held"))
    entry = export(folder, checkpoint, target, recipe, recipe_name, scenes, held)
    if post_processing:
        model, _ = averaged_model(recipe, entry.decoder, checkpoint)
        data = with_post_processing(model, entry, calibration_pictures(recipe, scenes))
        write_bytes(target / "detector_postprocess.tflite", data)
    return target


def averaged_model(recipe: DetectorRecipe, decoder: SsdDecoder, checkpoint: Path) -> tuple[keras.Model, int]:
    """The network with the averaged weights of a checkpoint, and the step of the checkpoint.

    It is built in float32, whatever the training's precision is: TFLite has no bfloat16.
    """
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("float32")
    try:
        model = build_ssd(recipe.net, decoder.levels)
    finally:
        keras.config.set_dtype_policy(before)
    step = fill_averaged(model, checkpoint)
    if recipe.earlier_share:
        _blend_earlier(model, recipe)
    return model, step


def _blend_earlier(model: keras.Model, recipe: DetectorRecipe) -> None:
    """Mix in `earlier_share` of the weights of the earlier run."""
    if recipe.earlier is None:
        raise RecipeError(
            f"earlier_share is {recipe.earlier_share}, but the recipe names no earlier run; "
            "give one with --set earlier=RUN"
        )
    ours = model.get_weights()
    fill_averaged(model, recipe.earlier / "weights.npz")
    share = recipe.earlier_share
    mixed = [share * e + (1 - share) * o for e, o in zip(model.get_weights(), ours, strict=True)]
    model.set_weights(mixed)


def calibration_pictures(recipe: DetectorRecipe, scenes: Sequence[Scene]) -> Iterator[NDArray[np.uint8]]:
    """Random training pictures at the input's size, resized as on the device."""
    drawn = np.random.default_rng(recipe.seed).permutation(len(scenes))[: recipe.calibration]
    for number in drawn:
        yield fit_picture(scenes[number].pixels, network_input(recipe.net), recipe.resize)[0]


def describe(
    data: bytes, recipe: DetectorRecipe, decoder: SsdDecoder, model_card: ModelCard
) -> DetectorEntry:
    """The manifest entry of an int8 file. The suggested scores are one half until they are chosen."""
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
    """An entry for the float network, so that the device's decoder can also read its outputs."""
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
    """The model card: recipe, commit, date, data and metrics."""
    return ModelCard(
        recipe=recipe_name,
        commit=commit(),
        created=now(),
        data=recipe.data_terms,
        metrics=dict(metrics),
    )


def _flat(prefix: str, figures: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    return {f"{prefix}_{label}_{name}": value for label, of in figures.items() for name, value in of.items()}

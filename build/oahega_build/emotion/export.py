"""Export of a trained classifier: its file, its calibration and its manifest entry."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import keras
import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.calibrate import fit_prior, fit_temperature, suggested_threshold
from oahega_build.emotion.decision import DECISION
from oahega_build.emotion.evaluate import file_logits
from oahega_build.emotion.metrics import summary
from oahega_build.emotion.network import predict, trained_model
from oahega_build.emotion.recipe import PIXEL_OFFSET, PIXEL_SCALE, EmotionRecipe, float_input, recipe_of
from oahega_build.models.exported import golden, input_tensor, output_tensors
from oahega_build.models.quantize import to_int8
from oahega_build.pictures.dataset import Dataset, Sample, read_dataset, split_train
from oahega_build.pictures.framing import crop_sample
from oahega_build.runs import artifacts
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.chain.classification import softmax
from oahega_edge.manifest import EmotionEntry, ModelCard, ModelFile, SuggestedDecision
from oahega_edge.text import read_text

REPRESENTATIVE = 400
"""Number of training pictures that set the ranges of the int8 activations."""
MODEL_NAME = "emotion.tflite"


def export(
    folder: Path,
    recipe: EmotionRecipe,
    recipe_name: str,
    model: keras.Model,
    dataset: Dataset,
    chosen_on: tuple[Sequence[Sample], Sequence[Sample]],
) -> EmotionEntry:
    """Write `emotion.tflite`, `entry.json` and `metrics.json`, with figures of the held-out part."""
    training, held_out = chosen_on
    input_ = float_input(recipe)
    samples = _spread(training, REPRESENTATIVE)
    data = to_int8(model, (crop_sample(s.pixels, recipe.framing, input_) for s in samples), input_)
    artifacts.write_bytes(folder / MODEL_NAME, data)
    outputs = output_tensors(data, {"logits": "logits"})
    exported_input = input_tensor(data, recipe.colour, PIXEL_SCALE, PIXEL_OFFSET)
    entry = EmotionEntry(
        cpu=ModelFile(file=MODEL_NAME, sha256=artifacts.sha256_of(folder / MODEL_NAME)),
        input=exported_input,
        crop=recipe.framing.crop,
        outputs=outputs,
        labels=dataset.labels,
        temperature=1.0,
        suggested=SuggestedDecision(threshold=0.5, frames=DECISION.frames),
        golden=golden(data, exported_input, outputs),
        card=ModelCard(
            recipe=Path(recipe_name).stem,
            commit=artifacts.commit(),
            created=artifacts.now(),
            data=(_described(dataset),),
            metrics={},
        ),
    )
    logits = file_logits(data, entry, [crop_sample(s.pixels, recipe.framing, input_) for s in held_out])
    labels = np.array([sample.label for sample in held_out])
    entry = _calibrated(entry, logits, labels)
    metrics = summary(softmax(logits, entry.temperature), labels)
    float_accuracy = float((predict(model, held_out, recipe).argmax(axis=1) == labels).mean())
    card = {f"held_out_{name}": value for name, value in dataclasses.asdict(metrics).items()}
    card |= {
        "held_out_accuracy_float": round(float_accuracy, 4),
        "bytes": len(data),
        "held_out_pictures": len(labels),
    }
    entry = entry.model_copy(update={"card": entry.card.model_copy(update={"metrics": card})})
    artifacts.write_json(folder / "metrics.json", card)
    artifacts.write_json(folder / "entry.json", entry.model_dump(mode="json"))
    return entry


def export_run(source: Path, data: Path, artifacts_folder: Path, run_name: str) -> Path:
    """Run the stage `quantize`: export the present weights of a training run, finished or not."""
    recipe = recipe_of(source)
    with artifacts.open_run(artifacts_folder, "quantize", run_name, recipe) as run:
        dataset = read_dataset(data, recipe.colour)
        model = trained_model(source, recipe, len(dataset.labels), recipe.side)
        export(
            run.folder,
            recipe,
            _recipe_name(source),
            model,
            dataset,
            split_train(dataset, recipe.held_out, recipe.group_pattern),
        )
    return run.finished


def _recipe_name(source: Path) -> str:
    """The recipe's name from the card of the run, or the run's name if it has no card yet."""
    entry = source / "entry.json"
    if not entry.exists():
        return source.name
    return EmotionEntry.model_validate_json(read_text(entry, LARGEST_DOCUMENT)).card.recipe


def _calibrated(
    entry: EmotionEntry, logits: NDArray[np.floating], labels: NDArray[np.integer]
) -> EmotionEntry:
    temperature = fit_temperature(logits, labels)
    threshold = suggested_threshold(softmax(logits, temperature), labels)
    suggested = DECISION.model_copy(update={"threshold": threshold})
    prior = fit_prior(logits, labels, temperature)
    return entry.model_copy(update={"temperature": temperature, "prior": prior, "suggested": suggested})


def _spread(samples: Sequence[Sample], count: int) -> list[Sample]:
    """About `count` samples, evenly spread over the list."""
    step = max(1, len(samples) // count)
    return list(samples[::step])


def _described(dataset: Dataset) -> str:
    terms = dataset.root / "TERMS.txt"
    said = (
        read_text(terms, LARGEST_DOCUMENT).strip()
        if terms.is_file()
        else KNOWN_TERMS.get(dataset.root.name, "terms not stated")
    )
    return f"{dataset.root.name}: {len(dataset.train)} pictures in {len(dataset.labels)} classes; {said}"


KNOWN_TERMS = {
    "ferplus": "FER2013 photographs (no licence: research, not for redistribution) with the FER+ votes "
    "(MIT, microsoft/FERPlus)",
}

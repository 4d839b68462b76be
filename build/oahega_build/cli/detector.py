"""The verbs of the detector."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    DetectorData,
    Overrides,
    RecipeName,
    RunName,
    app,
)
from oahega_build.runs.output import held_back


@app.command("train-detector")
def train_detector(
    data: DetectorData,
    recipe: RecipeName = "detector_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    workers: Annotated[int, typer.Option(help="Number of threads that compose examples.")] = 2,
    processes: Annotated[bool, typer.Option(help="Use processes instead of threads, to feed a GPU.")] = False,
    precision: Annotated[
        str, typer.Option(help="Dtype policy of Keras; mixed_bfloat16 for a GPU.")
    ] = "float32",
    seconds: Annotated[float, typer.Option(help="End the training within this time; 0: never.")] = 0.0,
    override: Overrides = None,
) -> None:
    """Train the face and person detector and export it as detector.tflite and entry.json.

    KERAS_BACKEND=torch (or jax) trains it on a GPU; the export, which needs TensorFlow, is then left to
    `export-detector`.
    """
    with held_back():
        import keras

        from oahega_build.detector import train as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    keras.config.set_dtype_policy(precision)
    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    means = stage.Means(workers, processes, seconds)
    print(stage.train(chosen, recipe, data, artifacts, run, means))


@app.command("pack-labels")
def pack_labels(
    target: Annotated[Path, typer.Argument(help="Folder for train.npz and held.npz.")],
    run: RunName = "shared",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    longest: Annotated[int, typer.Option(help="Pixels of a picture's longer side at most.")] = 400,
    quality: Annotated[int, typer.Option(help="Of the WebP files in it.")] = 75,
) -> None:
    """Pack a labelling run for a machine that has no TensorFlow."""
    with held_back():
        from oahega_build.pictures.packed import write_packed
        from oahega_build.pictures.records import read_records, shards_of

    target.mkdir(parents=True, exist_ok=True)
    for split in ("train", "held"):
        records = read_records(shards_of(artifacts / "label" / run, split))
        print(f"{write_packed(target / f'{split}.npz', records, longest, quality)} pictures of {split}")


@app.command("export-detector")
def export_detector(
    target: Annotated[Path, typer.Argument(help="Folder for detector.tflite and entry.json.")],
    recipe: RecipeName = "detector_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    post_processing: Annotated[
        bool, typer.Option(help="Also write detector_postprocess.tflite, for pycoral and other tools.")
    ] = False,
) -> None:
    """Export the detector of a finished run again, or of the last checkpoint of an unfinished one."""
    with held_back():
        from oahega_build.detector import export as stage
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, DetectorRecipe, override or ())
    with held_back():
        made = stage.export_checkpoint(chosen, recipe, artifacts, run, target, post_processing)
    print(made)


@app.command("suggest-scores")
def suggest_scores(
    detector: Annotated[Path, typer.Argument(help="Folder with detector.tflite and entry.json.")],
    boxed: Annotated[Path, typer.Option(help="Pictures with boxes of all faces, or of all persons.")],
    nobody: Annotated[Path, typer.Option(help="Pictures without people.")],
    label: Annotated[str, typer.Option(help="face or person.")] = "face",
    false: Annotated[float, typer.Option(help="Cost of a false track, in missed faces.")] = 2.0,
    false_alone: Annotated[float, typer.Option(help="The same where nobody is.")] = 30.0,
    least_precision: Annotated[float, typer.Option(help="Take no score below this precision.")] = 0.65,
    least_right: Annotated[
        float, typer.Option(help="Take the lowest score at which this share of the detections is right.")
    ] = 0.0,
    before: Annotated[
        float | None, typer.Option(help="The score that devices have had so far: keep near to it.")
    ] = None,
) -> None:
    """Choose the suggested score of a label by the cost of its misses and false tracks.

    Of the scores that cost the least within one standard error over pictures it takes the one nearest to
    --before, or the middle one.
    """
    with held_back():
        from oahega_build.detector.costs import Cost
        from oahega_build.detector.suggest import suggest

    cost = Cost(false, false_alone)
    chosen, choices = suggest(detector, label, boxed, nobody, cost, least_precision, least_right, before)
    for choice in choices:
        print(
            f"{choice.score:.2f}: cost {choice.cost:.3f}, recall {choice.recall:.3f}, "
            f"precision {choice.precision:.3f}, in empty pictures {choice.false_alone:.4f}"
            + ("  <- suggested" if choice.score == chosen else "")
        )


@app.command("evaluate-detector")
def evaluate_detector(
    detector: Annotated[Path, typer.Argument(help="Folder with detector.tflite and entry.json.")],
    data: DetectorData,
    records: Annotated[str, typer.Option(help="Name of the labelling run with the pictures.")] = "shared",
    split: Annotated[str, typer.Option(help="train, held or valid.")] = "valid",
    boxed: Annotated[
        Path | None, typer.Option(help="Pictures with hand-made boxes of `face` and `masked_face`.")
    ] = None,
    recipe: RecipeName = "detector_rivals",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure an exported detector with the device's own code, beside other detectors."""
    with held_back():
        from oahega_build.detector import evaluate as stage
        from oahega_build.runs.recipes import load_recipe

    rivals = load_recipe(recipe, stage.Rivals)
    print(stage.evaluate(detector, records, split, rivals, data, artifacts, run, boxed))


@app.command("compile")
def compile_models(
    files: Annotated[list[Path], typer.Argument(help="The .tflite files that will share one Edge TPU.")],
    target: Annotated[Path, typer.Option("--out", help="Folder for NAME_edgetpu.tflite.")] = Path("."),
    only_check: Annotated[bool, typer.Option("--check", help="Only show what would map.")] = False,
) -> None:
    """Compile models for the Edge TPU, or show where each operator would run."""
    with held_back():
        from oahega_build.models import edgetpu

    checks = [edgetpu.check(file) for file in files]
    for found in checks:
        print("\n".join(found.sentences()))
    fit = "fit" if edgetpu.fit_together(checks) else "do not fit"
    print(f"together their parameters {fit} into the 8 MiB on the chip")
    if not only_check:
        for made in edgetpu.compile_together(files, target):
            print(f"{made.file}: {made.on_chip} operators on the Edge TPU, {made.on_cpu} on the CPU")

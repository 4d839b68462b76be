"""The verbs that train and measure emotion models."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import (
    DEFAULT_ARTIFACTS,
    EMBEDDED,
    Artifacts,
    Data,
    Elsewhere,
    FaceDetector,
    Overrides,
    Part,
    RecipeName,
    RunName,
    app,
)
from oahega_build.runs.output import held_back
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text


@app.command("train-emotion")
def train_emotion(
    data: Data,
    recipe: RecipeName = "emotion_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train the emotion classifier and export it as emotion.tflite and entry.json."""
    with held_back():
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.emotion.train import train
        from oahega_build.runs.recipes import load_recipe

    print(train(load_recipe(recipe, EmotionRecipe, override or ()), recipe, data, artifacts, run))


@app.command("distill")
def distill(
    data: Data,
    teacher: Annotated[list[Path], typer.Option(help="Folder of a train-emotion run. Repeatable.")],
    recipe: RecipeName = "emotion_distilled",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train a small emotion classifier on the answers of larger ones, and export it."""
    with held_back():
        from oahega_build.emotion import distill as stage
        from oahega_build.emotion.recipe import EmotionRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, EmotionRecipe, override or ())
    print(stage.distill(chosen, recipe, teacher, data, artifacts, run))


@app.command("quantize")
def quantize(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion run, finished or not.")],
    data: Data,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Export the current weights of a run as int8, with calibration and manifest entry."""
    with held_back():
        from oahega_build.emotion.export import export_run

    print(export_run(source, data, artifacts, run))


@app.command("evaluate-emotion")
def evaluate_emotion(
    model: Annotated[Path, typer.Argument(help="Folder with entry.json and its .tflite.")],
    data: Data,
    part: Part = "valid",
    elsewhere: Elsewhere = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure an exported model: Table 1 with intervals, calibration, face sizes, corruptions."""
    with held_back():
        from oahega_build.emotion import evaluate as stage
        from oahega_build.scenes import elsewhere as other

    print(other.told([model], (), elsewhere, part, detector, artifacts, run))
    print(stage.evaluate_run(model, data, part, artifacts, run).as_text())


@app.command("compare-emotion")
def compare_emotion(
    models: Annotated[list[Path], typer.Argument(help="Folders with entry.json and its .tflite.")],
    data: Data,
    peers: Annotated[
        list[Path] | None, typer.Option(help="Folder of other people's models; repeat for several.")
    ] = None,
    part: Part = "valid",
    elsewhere: Elsewhere = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Compare emotion models on the same pictures, in one table per source."""
    with held_back():
        from oahega_build.emotion import compare as stage
        from oahega_build.scenes import elsewhere as other

    print(other.told(models, peers or (), elsewhere, part, detector, artifacts, run))
    print(stage.as_table(stage.compare_run(models, data, peers or (), part, artifacts, run)))


@app.command("compare-distillation")
def compare_distillation(
    runs: Annotated[
        list[Path],
        typer.Argument(help="Runs of train-emotion and of distill, with all their seeds."),
    ],
    data: Data,
    part: Annotated[
        list[str], typer.Option(help="held-out, valid (every use is logged) or train. Repeatable.")
    ] = ["held-out"],  # noqa: B006
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Measure what the teacher adds: the student and its untaught twin over several seeds."""
    with held_back():
        from oahega_build.experiments import compare_distillation as stage

    print(stage.as_table(stage.compare_distillation(runs, data, part, artifacts, run)))


@app.command("tune")
def tune(
    data: Data,
    recipe: RecipeName = "tune_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    workers: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    storage: Annotated[
        str, typer.Option(help="postgresql://USER@HOST/DATABASE: share the search with other machines.")
    ] = "",
) -> None:
    """Search the paper's eight hyper-parameters. Writes best.json, Table 1 and figure 5."""
    with held_back():
        from oahega_build.experiments import tune as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.TuneRecipe, override or ())
    made = stage.tune(chosen, data, artifacts, run, workers, storage)
    print(read_text(made / "table_1.txt", LARGEST_DOCUMENT), end="")


@app.command("prune")
def prune(
    source: Annotated[Path, typer.Argument(help="Folder of a train-emotion or distill run.")],
    data: Data,
    beside: Annotated[
        list[Path] | None,
        typer.Option(help="Other runs (teacher, untaught twin) for the same table. Repeatable."),
    ] = None,
    recipe: RecipeName = "prune_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Remove weights and channels, continue training, and compare size, time and accuracy."""
    with held_back():
        from oahega_build.experiments import prune as stage
        from oahega_build.experiments.prune_recipe import PruneRecipe
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, PruneRecipe, override or ())
    others = {f"{other.parent.name}/{other.name}": other for other in beside or ()}
    print(stage.prune(chosen, source, data, artifacts, run, others))


@app.command("teach")
def teach(
    pictures: Annotated[
        Path, typer.Option(help="A folder per class of face crops, pictures or videos that show one face.")
    ],
    out: Annotated[Path, typer.Option(help="Folder of the bundle; an older bundle there is replaced.")],
    base: Annotated[Path, typer.Option(help="Bundle whose detector and trunk are used.")] = EMBEDDED,
    name: Annotated[str, typer.Option(help="Name of the bundle, lower case.")] = "oahega-own",
    version: Annotated[str, typer.Option(help="Version of the bundle.")] = "0.1.0",
    keep: Annotated[
        list[str] | None,
        typer.Option(help="Classes of the base that stay, with commas; old=new renames one. Repeatable."),
    ] = None,
    key: Annotated[Path | None, typer.Option(help="Private key to sign the bundle with (`keygen`).")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Make the bundle even if it is no better than guessing.")
    ] = False,
    head_only: Annotated[
        bool,
        typer.Option(
            "--head-only", help="Fit a new last layer alone, in seconds; do not compare with training more."
        ),
    ] = False,
) -> None:
    """Make a classifier for expressions of your own from a few pictures.

    Without TensorFlow a new last layer is fitted. With it, training the trunk too is compared on the same
    faces, and used where it proves better.
    """
    from oahega_build.whole import teach as stage

    kept = ",".join(keep or ())
    print(stage.teach(stage.Wish(out, base, name, version, key, pictures, kept, anyway, head_only)))


@app.command("remember")
def remember(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder; it is sealed anew, unsigned.")],
    data: Data,
) -> None:
    """Let a bundle remember how its classes look, in numbers, so that `teach --keep` needs no pictures."""
    from oahega_build.teach import memory as stage

    print(stage.remember(bundle, data))


@app.command("measure-reference")
def measure_reference(
    bundle: Annotated[Path, typer.Argument(help="A bundle's folder; it is sealed anew, unsigned.")],
    data: Data,
    pictures: Annotated[
        list[Path], typer.Option("--pictures", help="Folder of whole pictures of people. Repeatable.")
    ],
) -> None:
    """Write into a bundle what faces look like where it comes from, for the words of a device that drifts."""
    from oahega_build.scenes import reference as stage

    print(stage.measure_reference(bundle, data, pictures))

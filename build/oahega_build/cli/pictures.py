"""The verbs that make and inspect data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import (
    DEFAULT_ARTIFACTS,
    Artifacts,
    Data,
    DetectorData,
    Overrides,
    RecipeName,
    RunName,
    app,
)
from oahega_build.runs.output import held_back


@app.command("overview")
def overview(data: Data, run: RunName = "default", artifacts: Artifacts = DEFAULT_ARTIFACTS) -> None:
    """Show counts, sizes, near-duplicates and unreadable files of a dataset as a table and a picture."""
    from oahega_build.pictures.prepare import overview_run

    print(overview_run(data, artifacts, run).as_table())


@app.command("collect")
def collect(
    source: Annotated[Path, typer.Option(help="Folder with a folder of videos and pictures per class.")],
    detectors: Annotated[
        Path, typer.Option("--data", help="Folder that the detector's files are relative to.")
    ],
    recipe: RecipeName = "collect_default",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
    processes: Annotated[int, typer.Option(min=1, help="Number of processes on this machine.")] = 1,
    shard: Annotated[
        str, typer.Option(help="i/n: only every n-th unit, to share the work between machines.")
    ] = "0/1",
) -> None:
    """Crop faces from videos and pictures into a folder per class, with labels.csv and contact sheets."""
    with held_back():
        from oahega_build.labelling import collect as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.CollectRecipe, override or ())
    made = stage.collect(chosen, source, detectors, artifacts, run, processes, _shard(shard))
    print(f"{made}: look at {stage.SHEETS}/, correct {stage.LIST}, then `relabel {made}`")


@app.command("relabel")
def relabel(run: Annotated[Path, typer.Argument(help="Folder of a finished collect run.")]) -> None:
    """Move collected faces to the classes of the corrected labels.csv. An empty label leaves a face out."""
    from oahega_build.labelling import collect as stage

    for change, count in sorted(stage.relabel(run).items()):
        print(f"{count} x {change}")


@app.command("label")
def label(
    data: DetectorData,
    recipe: RecipeName = "label_shared",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    processes: Annotated[int, typer.Option(help="Number of processes.")] = 2,
    override: Overrides = None,
) -> None:
    """Complete the annotations with detectors as teachers, and write TFRecord shards and contact sheets."""
    with held_back():
        from oahega_build.labelling import label as stage
        from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, stage.LabelRecipe, override or ())
    print(stage.label(chosen, data, artifacts, run, processes))


@app.command("project")
def project(
    data: Data,
    model: Annotated[
        Path,
        typer.Option(
            help="A run of train-emotion, or a quantized MobileNetV1 .tflite for ImageNet embeddings."
        ),
    ],
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Write embeddings for the TensorBoard projector, a picture of them, and suspicious labels."""
    with held_back():
        from oahega_build.experiments import project as stage

    print(f"{stage.project(data, model, artifacts, run)}: suspicious.csv, suspicious.png, embeddings.png")


def _shard(text: str) -> tuple[int, int]:
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and int(number) < int(of)):
        raise typer.BadParameter(f"invalid shard {text!r}: expected i/n with i from 0, such as 0/4")
    return int(number), int(of)

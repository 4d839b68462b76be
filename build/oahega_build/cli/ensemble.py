"""The verbs of teachers and students on packs of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from oahega_build.cli.options import (
    DEFAULT_ARTIFACTS,
    EMBEDDED,
    Artifacts,
    FaceDetector,
    Overrides,
    RecipeName,
    RunName,
    app,
)
from oahega_build.runs.output import held_back

HeldOutPacks = Annotated[
    list[Path], typer.Option("--pack", help="File of `pack-faces`, whose held-out part is used.")
]
FittedElsewhere = Annotated[
    list[Path] | None,
    typer.Option(
        "--elsewhere", help="Source whose part `choose` the operating point is fitted on, too. Repeatable."
    ),
]


@app.command("pack-faces")
def pack_faces(
    voted: Annotated[
        list[Path], typer.Option(help="Dataset with votes.csv, with or without classes; repeat for several.")
    ],
    collected: Annotated[
        Path | None, typer.Option(help="Run of `collect` with the recipe collect_unlabelled.")
    ] = None,
    peers: Annotated[
        list[Path] | None, typer.Option(help="Folder of the models that label those; repeat for several.")
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(help="name=RUN: a teacher of a run of train-ensemble that labels them, too; repeat."),
    ] = None,
    elsewhere: Annotated[
        Path | None, typer.Option(help="Source whose part `choose` the labellers' answers are fitted on.")
    ] = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Voted and collected faces into files that `train-ensemble` reads wherever there is a GPU."""
    with held_back():
        from oahega_build.ensemble.faces import pack_faces as stage
        from oahega_build.recipes.emotion_world import RECIPE

    teachers = [(Path(folder), name) for name, _, folder in (text.partition("=") for text in teacher or ())]
    print(stage(voted, collected, peers or (), teachers, elsewhere, detector, RECIPE.labels, artifacts, run))


@app.command("train-ensemble")
def train_ensemble(
    pack: Annotated[
        list[Path], typer.Option(help="File of `pack-faces`; repeat for several, or to show one twice.")
    ],
    recipe: RecipeName = "emotion_world",
    start: Annotated[
        list[str] | None,
        typer.Option(help="net=FILE: weights.npz of an earlier run, or faceres-deep.json; repeat."),
    ] = None,
    seconds: Annotated[
        float | None, typer.Option(help="Most seconds for each lesson; its schedule fits itself into them.")
    ] = None,
    only: Annotated[
        list[str] | None, typer.Option(help="Nets that this process trains; repeat. Others do the rest.")
    ] = None,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train teachers and the students that they teach; KERAS_BACKEND=torch or jax uses a GPU."""
    from oahega_build.ensemble.recipe import EnsembleRecipe
    from oahega_build.ensemble.train import train_ensemble as stage
    from oahega_build.runs.recipes import load_recipe

    chosen = load_recipe(recipe, EnsembleRecipe, override or ())
    starts = {name: Path(file) for name, _, file in (text.partition("=") for text in start or ())}
    print(stage(chosen, pack, artifacts, run, starts, seconds, only or ()))


@app.command("answer-pack")
def answer_pack(
    source: Annotated[Path, typer.Argument(help="Run of train-ensemble that holds the teachers.")],
    teacher: Annotated[list[str], typer.Option(help="Which of its teachers; repeatable.")],
    pack: Annotated[list[Path], typer.Option(help="File of `pack-faces`; repeatable.")],
    share: Annotated[
        float, typer.Option(min=0, max=1, help="Of their answers; the votes keep the rest.")
    ] = 0.65,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Ask teachers about the faces of packs once, so that a student can learn without them."""
    from oahega_build.ensemble.answers import answer_pack as stage

    print(stage(source, teacher, pack, share, artifacts, run))


@app.command("export-ensemble")
def export_ensemble(
    source: Annotated[Path, typer.Argument(help="Run of train-ensemble.")],
    student: Annotated[
        str, typer.Option(help="Which of its students, or a teacher, as a classifier of the labels.")
    ],
    pack: HeldOutPacks,
    elsewhere: FittedElsewhere = None,
    term: Annotated[
        list[str] | None, typer.Option(help="A training set with its terms, for the card; repeat.")
    ] = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """A student to int8 with its operating point: emotion.tflite, weights.npz and entry.json."""
    with held_back():
        from oahega_build.ensemble.export import export_ensemble as stage

    print(stage(source, student, pack, elsewhere or (), detector, term or (), artifacts, run))


@app.command("fit-operating-point")
def fit_operating_point(
    model: Annotated[Path, typer.Argument(help="Folder with entry.json and its .tflite.")],
    pack: HeldOutPacks,
    elsewhere: FittedElsewhere = None,
    detector: FaceDetector = EMBEDDED,
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
) -> None:
    """Fit temperature and offsets of an exported emotion model anew; its file stays the same."""
    with held_back():
        from oahega_build.ensemble.export import fit_exported as stage

    print(stage(model, pack, elsewhere or (), detector, artifacts, run))

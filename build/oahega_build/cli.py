"""The verbs of the trainer. Each imports its stage when called, so that `--help` needs no TensorFlow."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from oahega_edge.errors import EdgeError

app = typer.Typer(
    name="oahega_build",
    help="From pictures to the models of a bundle. Each stage leaves artifacts/<stage>/<run>/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Artifacts = Annotated[Path, typer.Option(help="Folder that holds artifacts/<stage>/<run>/.")]
RunName = Annotated[str, typer.Option("--run", help="Name of the run's folder; the same name resumes it.")]
RecipeName = Annotated[str, typer.Option("--recipe", help="A module of oahega_build.recipes, or a .py file.")]
Overrides = Annotated[list[str] | None, typer.Option("--set", help="field=value, changes the recipe.")]

DEFAULT_ARTIFACTS = Path("artifacts")


@app.callback()
def _root() -> None:
    """Keep `app` a group of verbs, however many there are."""


@app.command("train-emotion")
def train_emotion(
    data: Annotated[Path, typer.Option(help="Folder with a folder per class, or train/ and valid/ of them.")],
    recipe: RecipeName = "emotion_student",
    run: RunName = "default",
    artifacts: Artifacts = DEFAULT_ARTIFACTS,
    override: Overrides = None,
) -> None:
    """Train the emotion classifier and export it: emotion.tflite and entry.json."""
    from oahega_build.emotion_recipe import EmotionRecipe
    from oahega_build.recipes import load_recipe
    from oahega_build.train_emotion import train

    print(train(load_recipe(recipe, EmotionRecipe, override or ()), recipe, data, artifacts, run))


def main() -> None:
    """Run a verb; a foreseen failure becomes one sentence on stderr and its exit code."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's notes about GPUs that nobody asked for
    try:
        app()
    except EdgeError as error:
        print(f"oahega_build: {error}", file=sys.stderr)
        sys.exit(error.exit_code)

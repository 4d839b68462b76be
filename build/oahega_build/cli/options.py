"""What several verbs take, and the application that they join."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="oahega_build",
    help="Train the models of a bundle from pictures. Each stage writes artifacts/<stage>/<run>/.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Artifacts = Annotated[Path, typer.Option(help="Folder that holds artifacts/<stage>/<run>/.")]
RunName = Annotated[
    str, typer.Option("--run", help="Name of the run's folder. An unfinished run is resumed.")
]
RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a packaged recipe, or a .py file.")]
Data = Annotated[
    Path, typer.Option(help="Dataset: a folder per class, or train/ and valid/ with a folder per class.")
]
DetectorData = Annotated[Path, typer.Option("--data", help="Folder that the recipe's paths are relative to.")]
Part = Annotated[str, typer.Option(help="valid (every use is logged), train or held-out.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="field=value: change a field of the recipe. Repeatable.")
]
Elsewhere = Annotated[
    list[Path] | None,
    typer.Option(
        help="Folder of faces from another source, by class, or of voted faces without classes; repeat for "
        "several. Where it has `people.csv`, `--part valid` measures the part `report` and logs the look; "
        "otherwise the part `choose` is measured."
    ),
]
FaceDetector = Annotated[
    Path, typer.Option(help="Bundle whose detector finds the faces of the sources elsewhere.")
]

Home = Annotated[
    Path | None,
    typer.Option(help="Dataset that the old bundle was made on, a folder per class."),
]
CompareElsewhere = Annotated[
    list[Path] | None,
    typer.Option(
        "--elsewhere",
        help="Folder of faces from another source, by class; repeat for several. Where it has `people.csv`, "
        "the part `choose` is compared.",
    ),
]
Scenes = Annotated[
    Path | None,
    typer.Option(help="Pictures without people: the faces of --home are shown in them, still and moving."),
]
HomePart = Annotated[str, typer.Option(help="Of --home: valid (every use is logged), held-out or train.")]
Sequences = Annotated[int, typer.Option(min=1, help="Sequences to compare, each at three noise levels.")]
Margin = Annotated[
    float, typer.Option(min=0, max=1, help="By how much a figure may be worse: 0.01 is one point.")
]


def numbers(option: str, text: str) -> list[int]:
    """Numbers with commas in between. Raises BadParameter."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise typer.BadParameter(
            f"{option}: give numbers from 1 on with commas, such as 5,20,60, not {text!r}"
        )
    return [int(word) for word in words]


DEFAULT_ARTIFACTS = Path("artifacts")
EMBEDDED = Path(str(files("oahega_edge") / "bundles" / "default"))


@app.callback()
def _root() -> None:
    """Make Typer treat `app` as a group of verbs."""

"""From a dataset or videos to pictures with a part that chooses nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from oahega_build.errors import DataError, RecipeError
from oahega_build.labelling.collect import FACES, GROUP_PATTERN
from oahega_build.labelling.collect import plan as units_of
from oahega_build.pictures.folders import parts_of
from oahega_build.pictures.problems import Problems
from oahega_build.runs.freshness import folder_digest
from oahega_build.runs.plan import Plan, Step
from oahega_build.whole.options import Options
from oahega_build.whole.recipe import EverythingRecipe
from oahega_edge.endings import is_picture

PER_UNIT = 100
"""Faces that a video or a folder of pictures gives, as a guess."""


@dataclass(frozen=True, slots=True)
class Pictures:
    """The dataset of a plan."""

    folder: Path
    made_by: Step | str
    """The step that makes it, or the digest of what is there already."""
    training: int
    """Number of training pictures; a guess where they are yet to be collected."""
    group_pattern: str
    """As of EverythingRecipe."""


def add_pictures(plan: Plan, recipe: EverythingRecipe, options: Options) -> Pictures:
    """The steps until the dataset has `train` and `valid`, and its overview."""
    if options.videos is not None and options.dataset is None:
        found = _collected(plan, recipe, options, options.videos)
    elif options.dataset is not None and options.videos is None:
        dataset = options.dataset
        found = Pictures(dataset, folder_digest(dataset), count_pictures(dataset), recipe.group_pattern)
    else:
        raise RecipeError("give either a dataset (a folder per class) or videos to collect faces from")
    pictures = _with_parts(plan, recipe, found)
    plan.add(
        "overview",
        "counts, sizes, near-copies",
        after=[pictures.made_by],
        module="oahega_build.pictures.prepare",
        make=lambda stage, own: stage.overview_run(pictures.folder, plan.artifacts, own),
        work=pictures.training,
        guess=pictures.training / 500,
    )
    return pictures


def _collected(plan: Plan, recipe: EverythingRecipe, options: Options, videos: Path) -> Pictures:
    chosen = recipe.collect
    if chosen is None:
        raise RecipeError("the recipe has no `collect` part, which --videos needs; take another or add one")
    units = len(units_of(videos, Problems()))
    step = plan.add(
        "collect",
        f"faces from {units} videos and picture folders of {videos.name}",
        recipe=chosen,
        after=[folder_digest(videos), *(folder_digest(options.detectors / f) for f in chosen.detector.files)],
        module="oahega_build.labelling.collect",
        make=lambda stage, own: stage.collect(
            chosen, videos, options.detectors, plan.artifacts, own, options.workers
        ),
        work=units,
        guess=units * 20,
    )
    return Pictures(step.result / FACES, step, units * PER_UNIT, GROUP_PATTERN)


def _with_parts(plan: Plan, recipe: EverythingRecipe, found: Pictures) -> Pictures:
    """As they are if they have `valid`, else with some set aside."""
    parts = parts_of(found.folder, Problems()) if found.folder.is_dir() else {}
    if "valid" in parts:
        return replace(found, training=count_pictures(parts["train"]))
    step = plan.add(
        "split",
        f"{recipe.test_share:.0%} of {found.folder.name} set aside for the figures",
        recipe={"share": recipe.test_share, "pattern": found.group_pattern},
        after=[found.made_by],
        module="oahega_build.pictures.prepare",
        make=lambda stage, own: stage.split_dataset(
            found.folder, recipe.test_share, found.group_pattern, plan.artifacts, own
        ),
        work=found.training,
        guess=found.training / 300,
    )
    kept = round(found.training * (1 - recipe.test_share))
    return replace(found, folder=step.result / found.folder.name, made_by=step, training=kept)


def count_pictures(folder: Path) -> int:
    """Files that look like pictures, at any depth."""
    if not folder.is_dir():
        raise DataError(f"there is no folder {folder}; give one with a folder of pictures per class")
    return sum(is_picture(path) for path in folder.rglob("*"))

"""What a recipe makes of the labelled scenes: the composer of its examples, with faces to paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from oahega_build.detector.examples.inputs import Composer, Scene
from oahega_build.detector.examples.pasting import FacePaster, People, Still, still_of
from oahega_build.detector.recipe import DetectorRecipe, network_input
from oahega_build.pictures.dataset import read_dataset, split_train


def composer_of(recipe: DetectorRecipe, scenes: Sequence[Scene], paster: FacePaster | None) -> Composer:
    """Examples out of the scenes; sets count by their number of pictures where the recipe names no shares."""
    counts: dict[str, float] = {}
    for scene in scenes:
        counts[scene.set_name] = counts.get(scene.set_name, 0) + 1
    shares = recipe.shares or counts
    return Composer(
        scenes,
        shares,
        network_input(recipe.net),
        recipe.resize,
        recipe.augmentation,
        recipe.labels,
        recipe.seed,
        paster,
    )


def paster_of(recipe: DetectorRecipe, data: Path, scenes: Sequence[Scene]) -> FacePaster | None:
    """Faces that no emotion recipe holds out, if the recipe names any; decoys of what shows none."""
    if not recipe.faces:
        return None
    training, _ = split_train(read_dataset(data / recipe.faces))
    nobody = [scene.pixels for scene in scenes if scene.set_name in recipe.without_people]
    people = [found for scene in scenes if (found := _people(scene, recipe.labels)) is not None]
    heads = list(_heads(scenes)) if recipe.pasting.heads else []
    return FacePaster([sample.pixels for sample in training], recipe.pasting, nobody, people, heads)


def _heads(scenes: Sequence[Scene]) -> Iterator[Still]:
    """Faces of the scenes, those with landmarks: a teacher saw them well."""
    for scene in scenes:
        for place in scene.landmarks:
            if not scene.boxes.ignore[place]:
                still = still_of(scene.pixels, scene.boxes.edges[place])
                if still is not None:
                    yield still


def _people(scene: Scene, labels: Sequence[str]) -> People | None:
    """The scene for decoys, if it shows somebody."""
    boxes = scene.boxes
    named = {name: boxes.labels == place for place, name in enumerate(labels)}
    nothing = np.zeros(len(boxes.labels), bool)
    bodies = boxes.edges[named.get("person", nothing) & ~boxes.ignore]
    return People(scene.pixels, bodies, boxes.edges[named.get("face", nothing)]) if len(bodies) else None

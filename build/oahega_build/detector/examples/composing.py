"""The composer of a recipe: examples from labelled scenes, with faces to paste."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from oahega_build.detector.examples.inputs import Composer, Scene
from oahega_build.detector.examples.pasting import FacePaster, People, Still, still_of
from oahega_build.detector.recipe import DetectorRecipe, network_input
from oahega_build.pictures.dataset import read_dataset, split_train


def composer_of(recipe: DetectorRecipe, scenes: Sequence[Scene], paster: FacePaster | None) -> Composer:
    """Compose examples. Without shares in the recipe, each set counts by its number of pictures."""
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
    """The paster of the recipe, with faces that no emotion recipe holds out and with decoys."""
    if not recipe.faces:
        return None
    training, _ = split_train(read_dataset(data / recipe.faces))
    nobody = [scene.pixels for scene in scenes if scene.set_name in recipe.without_people]
    people = [found for scene in scenes if (found := _people(scene, recipe.labels)) is not None]
    heads = list(_heads(scenes)) if recipe.pasting.heads else []
    return FacePaster([sample.pixels for sample in training], recipe.pasting, nobody, people, heads)


def _heads(scenes: Sequence[Scene]) -> Iterator[Still]:
    """Stills of the faces in the scenes that have landmarks, because a teacher saw them clearly."""
    for scene in scenes:
        for place in scene.landmarks:
            if not scene.boxes.ignore[place]:
                still = still_of(scene.pixels, scene.boxes.edges[place])
                if still is not None:
                    yield still


def _people(scene: Scene, labels: Sequence[str]) -> People | None:
    """The scene as a source of decoys, if it shows a person."""
    boxes = scene.boxes
    named = {name: boxes.labels == place for place, name in enumerate(labels)}
    nothing = np.zeros(len(boxes.labels), bool)
    bodies = boxes.edges[named.get("person", nothing) & ~boxes.ignore]
    return People(scene.pixels, bodies, boxes.edges[named.get("face", nothing)]) if len(bodies) else None

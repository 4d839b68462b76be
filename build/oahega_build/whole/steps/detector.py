"""The bundle's detector: taken from a finished bundle, or trained on labelled scenes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oahega_build.runs.freshness import folder_digest
from oahega_build.runs.output import held_back
from oahega_build.runs.plan import Plan, Step
from oahega_build.runs.recipes import load_recipe
from oahega_build.whole.options import Options
from oahega_edge.bundles.load import load_bundle

SCENES_PER_SECOND = 47
"""Trained; a guess."""


def add_detector(plan: Plan, options: Options) -> Step:
    """The step that makes the bundle's detector, after those that it needs."""
    if options.detection is not None:
        return _trained(plan, options, options.detection)
    bundle = options.start or options.bundle
    return plan.add(
        "detector",
        f"taken from the bundle {bundle.name}",
        after=[load_bundle(bundle).sha256],
        module="oahega_build.detector.reuse",
        make=lambda stage, own: stage.take_detector(bundle, plan.artifacts, own),
        guess=1,
    )


def _trained(plan: Plan, options: Options, detection: Path) -> Step:
    with held_back():  # loads TensorFlow
        from oahega_build.detector.recipe import DetectorRecipe
        from oahega_build.labelling.label import LabelRecipe

    labels = load_recipe(options.label_recipe, LabelRecipe)
    labelled = plan.add(
        "label",
        f"faces and persons of {detection.name}, by {len(labels.teachers)} teachers",
        recipe=labels,
        after=[folder_digest(detection)],
        module="oahega_build.labelling.label",
        make=lambda stage, own: stage.label(labels, detection, plan.artifacts, own, options.workers),
        guess=600,
    )
    name = options.detector_recipe
    chosen = replace(load_recipe(name, DetectorRecipe), records=labelled.hash)
    scenes = chosen.epochs * chosen.examples
    return plan.add(
        "train-detector",
        f"{chosen.epochs} epochs of {chosen.examples} scenes",
        recipe=chosen,
        after=[labelled],
        module="oahega_build.detector.train",
        make=lambda stage, own: stage.train(chosen, name, detection, plan.artifacts, own),
        work=scenes,
        guess=scenes / SCENES_PER_SECOND,
    )

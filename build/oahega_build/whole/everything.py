"""Verb `all`: from a folder of pictures to a signed bundle, one step after another."""

from __future__ import annotations

from oahega_build.runs.output import held_back, say
from oahega_build.runs.plan import Plan, as_text, run_plan
from oahega_build.whole.options import Options
from oahega_build.whole.recipe import EverythingRecipe
from oahega_build.whole.steps.bundle import add_bundle
from oahega_build.whole.steps.detector import add_detector
from oahega_build.whole.steps.emotion import EmotionSteps
from oahega_build.whole.steps.pictures import add_pictures


def make_plan(recipe: EverythingRecipe, options: Options) -> Plan:
    """All steps with their hashes; reads the pictures' bytes, trains nothing. Raises BuildError."""
    plan = Plan(options.out)
    pictures = add_pictures(plan, recipe, options)
    emotion = EmotionSteps(plan, recipe, options, pictures).add()
    detector = add_detector(plan, options)
    add_bundle(plan, options, emotion, detector)
    return plan


def everything(recipe: EverythingRecipe, options: Options, dry_run: bool = False) -> Plan:
    """Show the plan, then make it unless this is a dry run. Raises BuildError."""
    plan = make_plan(recipe, options)
    say(as_text(plan))
    if dry_run:
        return plan
    if not all(step.is_fresh for step in plan.steps):
        _prepare_tensorflow()
    options.out.mkdir(parents=True, exist_ok=True)
    run_plan(plan)
    return plan


def _prepare_tensorflow() -> None:
    """Loading it takes longer than everything else when there is nothing to do."""
    with held_back():
        import tensorflow as tf

        # A run that was killed and resumed must give the same bundle.
        tf.config.experimental.enable_op_determinism()

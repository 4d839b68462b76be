"""Expressions of one's own on the emotion model of a finished bundle: the default of `all`.

Command: python -m oahega_build all --dataset FACES --out OUT
Cost: the last layer takes seconds. Comparing it with training the last block and the whole trunk, eleven
    trainings of one to two thousand faces each, takes minutes; `--set head_only=true` leaves that out.
Expected: a bundle whose card says how well the classes are told apart, on faces that were not learned
    from and on those that were set aside. Training from nothing is a recipe of its own: `quick`,
    `emotion_everything`, `oahega_2022`.
"""

import dataclasses

from oahega_build.labelling.teachers import TeacherSpec
from oahega_build.recipes.collect_default import RECIPE as COLLECT
from oahega_build.whole.recipe import EverythingRecipe
from oahega_edge.bundles.load import DEFAULT_BUNDLE

RECIPE = EverythingRecipe(
    collect=dataclasses.replace(COLLECT, detector=TeacherSpec("bundle", (str(DEFAULT_BUNDLE),), {})),
)

"""The embedded detector: `detector_far_narrow` trained on with more animals.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_narrow_finish \
    --run far-narrow-finish --set earlier=artifacts/train-detector/far-narrow --precision mixed_bfloat16
Cost: 18 epochs of 300 steps in 35 minutes on two cores with AMX and other work beside it.
Expected: 270 million multiply-adds int8; faces: AP50 .968 on `valid` and .660 on `crowds`; persons .865.

The weights are the mean of those after both phases, a quarter from the first one: it finds more persons, the
second one takes fewer animals for people. They are `build/weights/detector`, from which
`--set earlier=build/weights/detector` goes on.
"""

import dataclasses

from oahega_build.recipes.detector_far_narrow import RECIPE as NARROW

RECIPE = dataclasses.replace(
    NARROW,
    shares={"street": 0.40, "clothing": 0.17, "portraits": 0.11, "lfw": 0.04, "animals": 0.28},
    learning_rate=4e-4,
    epochs=18,
    seed=6,
    earlier_share=0.25,
)

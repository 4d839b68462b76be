"""The detector of the bundle `far`: `detector_far` trained on with scenes as the device sees them.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_finish --run far-finish \
    --set earlier=artifacts/train-detector/far
Cost: 11 epochs of 300 steps in 25 minutes (--seconds 1500) on two cores with AMX and other work beside it.
Expected: 841,072 bytes int8; faces: AP50 .961 on `valid` and .640 on `crowds`; persons .828.

For persons: more scenes of the street, fewer crowds, and a loss that weighs the score as much as the box. Its
weights are `build/weights/detector`, from which `--set earlier=build/weights/detector` goes on.
"""

import dataclasses

from oahega_build.recipes.detector_far import RECIPE as FAR

RECIPE = dataclasses.replace(
    FAR,
    shares={"street": 0.42, "clothing": 0.24, "portraits": 0.14, "lfw": 0.08, "animals": 0.12},
    augmentation=dataclasses.replace(
        FAR.augmentation,
        crowd=0.15,
        covered=0.3,
        pasted=0.2,
        modes={"fit": 0.5, "zoom_out": 0.15, "zoom_in": 0.2, "face": 0.15},
    ),
    box_weight=1.0,
    learning_rate=4e-4,
    warmup=100,
    epochs=12,
    seed=2,
)

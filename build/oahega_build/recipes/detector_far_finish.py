"""The embedded detector: `detector_far` trained on, more often with scenes as the device sees them.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_finish --run far-finish \
    --set earlier=artifacts/train-detector/far
Cost: TODO
Expected: TODO

For persons: more scenes of the street, fewer crowds, and a loss that weighs the score as much as the box.
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

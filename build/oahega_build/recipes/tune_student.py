"""The search over the embedded student's own architecture.

Command: python -m oahega_build tune --recipe tune_student --data DATA/emotion/ferplus --workers 2
Cost: ten trials of 12 to 24 epochs of `emotion_student`, the weaker half ended early.
Expected: not measured; Table 1 and figure 5 in the run's folder.
"""

import dataclasses

from oahega_build.experiments.tune import TuneRecipe
from oahega_build.recipes.emotion_student import RECIPE as STUDENT

RECIPE = TuneRecipe(
    dataclasses.replace(STUDENT, early_epochs=8, balance=0.0),
    epochs=(12, 24),
    batch=(64, 192),
    dropout=(0.0, 0.5),
    learning_rate=(5e-4, 6e-3),
    l2=(1e-6, 1e-3),
    fine_tuned=(),
    dense=(0, 2),
    dense_units=128,
)

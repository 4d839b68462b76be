"""The embedded emotion model: the distilled student, trained further on faces in other people's pictures.

Command: python -m oahega_build distill --recipe emotion_scenes --data DATA/emotion/ferplus \
    --teacher artifacts/train-emotion/teacher --set start=artifacts/distill/distilled-finish \
    --set heads=artifacts/label/shared
Cost: 24 epochs in 23 minutes on two cores that multiply bfloat16 and had other work beside it.
Expected: not measured yet.

`emotion_distilled_finish` and `label` (recipe `label_shared`) come before it.
"""

import dataclasses

from oahega_build.recipes.emotion_distilled_finish import RECIPE as FINISH

RECIPE = dataclasses.replace(
    FINISH,
    epochs=24,
    augmentation=dataclasses.replace(FINISH.augmentation, rotation=15, heads=0.4, surroundings=0.2),
)

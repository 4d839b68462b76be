"""The embedded emotion model: the distilled student, trained further on faces in other people's pictures.

Command: python -m oahega_build distill --recipe emotion_scenes --data DATA/emotion/ferplus \
    --teacher artifacts/train-emotion/teacher --set start=artifacts/distill/distilled-finish \
    --set heads=artifacts/label/shared
Cost: 24 epochs in 24 minutes on two cores that multiply bfloat16 and had other work beside it.
Expected: 332,696 bytes int8; FER+ held-out accuracy .911, balanced .886.

`emotion_distilled_finish` and `label` (recipe `label_shared`) come before it. The embedded model is its
second round: from the first run, taught by `emotion_teacher_finish`, with `--set epochs=20 --set seed=2`:
held-out .909 and .885, in scenes .868 instead of .866; `valid` .900 [.887, .912] and .879.
"""

import dataclasses

from oahega_build.recipes.emotion_distilled_finish import RECIPE as FINISH

RECIPE = dataclasses.replace(
    FINISH,
    epochs=24,
    augmentation=dataclasses.replace(FINISH.augmentation, rotation=15, heads=0.4, surroundings=0.2),
)

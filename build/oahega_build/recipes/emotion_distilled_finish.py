"""The embedded emotion model: the student's weights, trained further on what the teacher answers.

Command: python -m oahega_build distill --recipe emotion_distilled_finish --data DATA/emotion/ferplus \
    --teacher artifacts/train-emotion/teacher --set start=artifacts/train-emotion/finish
Cost: 16 epochs in 36 minutes on two cores that multiply bfloat16 and had much other work.
Expected: 331,320 bytes int8; FER+ held-out accuracy .904, balanced .880; `valid` .889 [.877, .902] and .863.

`emotion_student`, `emotion_finish` and `emotion_teacher` come before it.
"""

import dataclasses

from oahega_build.recipes.emotion_finish import RECIPE as FINISH

RECIPE = dataclasses.replace(
    FINISH,
    epochs=16,
    learning_rate=1.2e-3,
    distil_share=0.7,
    distil_temperature=2.0,
    augmentation=dataclasses.replace(FINISH.augmentation, rotation=18, surroundings=0.35),
)

"""The emotion model of bundles 0.3.0 to 0.4.0, with the trunk of the embedded one: 48x48 grey, .35 MB int8.

Command: python -m oahega_build train-emotion --recipe emotion_student --data DATA/emotion/ferplus
Cost: 34 epochs in 37 minutes on two cores that multiply bfloat16 and had other work beside it.
Expected: 332,560 bytes int8; FER+ held-out accuracy .879, balanced .847; `valid` .878 [.865, .891] and .855.
The run that gave these figures went through its first 23 epochs on a schedule of 48 and the rest on this one.
"""

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.models.mobilenet import Block, Trunk

# Dense blocks where the maps are large and channels few (cheap in weights, fast in training), MobileNetV1's
# separable ones where weights count.
STUDENT_TRUNK = Trunk(
    stem_channels=32,
    stem_stride=1,
    blocks=(
        Block(48, 2, "dense"),
        Block(48, 1, "dense", residual=True),
        Block(80, 2, "dense"),
        Block(80, 1, "dense", residual=True),
        Block(80, 1, "dense", residual=True),
        Block(192, 2),
        Block(192, 1, residual=True),
        Block(192, 1, residual=True),
    ),
)

RECIPE = EmotionRecipe(
    trunk=STUDENT_TRUNK,
    epochs=34,
    early_epochs=18,
    balance=0.4,
    precision="mixed_bfloat16",
)

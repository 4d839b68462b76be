"""The embedded emotion model: 48x48 grey, under 0.35 MB int8.

Command: python -m oahega_build train-emotion --recipe emotion_student --data DATA/emotion/ferplus
Cost: being measured.
Expected: being measured.
"""

from oahega_build.emotion_recipe import EmotionRecipe
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

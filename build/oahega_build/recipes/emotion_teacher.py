"""A teacher: dense 3x3 blocks at 48x48 grey, for `distill`; too large for the smallest devices.

Command: python -m oahega_build train-emotion --recipe emotion_teacher --data DATA/emotion/ferplus
Cost: not measured yet; hours on two cores.
Expected: not measured yet on `valid`.
"""

from oahega_build.emotion_recipe import EmotionRecipe
from oahega_build.models.mobilenet import Block, Trunk

RECIPE = EmotionRecipe(
    trunk=Trunk(
        stem_channels=64,
        stem_stride=1,
        blocks=(
            Block(96, 2, "dense"),
            Block(96, 1, "dense", residual=True),
            Block(160, 2, "dense"),
            Block(160, 1, "dense", residual=True),
            Block(160, 1, "dense", residual=True),
            Block(384, 2),
            Block(384, 1, residual=True),
            Block(384, 1, residual=True),
        ),
    ),
    dropout=0.3,
    epochs=35,
    early_epochs=15,
    balance=0.4,
    precision="mixed_bfloat16",
)

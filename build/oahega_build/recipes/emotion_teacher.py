"""The teacher for `distill`, and a bundle of its own for devices with room: dense blocks at 48x48 grey.

Command: python -m oahega_build train-emotion --recipe emotion_teacher --data DATA/emotion/ferplus
Cost: 44 epochs in 75 minutes on two cores that multiply bfloat16 and had much other work.
Expected: 2,137,920 bytes int8; FER+ held-out accuracy .904, balanced .884; `valid` .902 [.891, .915] and
.885.
"""

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.models.mobilenet import Block, Trunk


def _stage(channels: int, residuals: int) -> tuple[Block, ...]:
    return (Block(channels, 2, "dense"), *(Block(channels, 1, "dense", residual=True),) * residuals)


RECIPE = EmotionRecipe(
    trunk=Trunk(stem_channels=32, stem_stride=1, blocks=_stage(64, 2) + _stage(128, 3) + _stage(256, 2)),
    dropout=0.3,
    epochs=44,
    early_epochs=20,
    weight_decay=0.04,
    balance=0.4,
    precision="mixed_bfloat16",
)

"""EfficientNet-Lite0 made as small as the student: 48x48 grey, the candidate that the paper names.

Command: python -m oahega_build train-emotion --recipe emotion_efficientnet_lite --data DATA/emotion/ferplus
Cost: 12 epochs (8 of them early) in 13 minutes on two cores that had other work beside it.
Expected: after 11 of these 12 epochs held-out accuracy .722, balanced .650 (float); the student on the same
schedule .810 and .757. The whole schedule has not been run.

Its seven stages and their kernels, ReLU6 and no squeeze-and-excitation are Lite0's; the stem and the sixth
stage keep their size because the input has 48 pixels instead of 224.
"""

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.models.mobilenet import Block, Trunk


def _stage(repeats: int, channels: int, stride: int, kernel: int, expansion: int = 6) -> tuple[Block, ...]:
    first = Block(channels, stride, "inverted", expansion=expansion, kernel=kernel)
    again = Block(channels, 1, "inverted", residual=True, expansion=expansion, kernel=kernel)
    return (first, *(again,) * (repeats - 1))


RECIPE = EmotionRecipe(
    trunk=Trunk(
        width=0.33,
        stem_channels=32,
        stem_stride=1,
        blocks=(
            *_stage(1, 16, 1, 3, expansion=1),
            *_stage(2, 24, 2, 3),
            *_stage(2, 40, 2, 5),
            *_stage(3, 80, 2, 3),
            *_stage(3, 112, 1, 5),
            *_stage(3, 192, 1, 5),
            *_stage(1, 320, 1, 3),
        ),
    ),
    epochs=34,
    early_epochs=18,
    balance=0.4,
)

"""`detector_far_finish` with two more narrow layers, trained on with hands.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_narrow --run far-narrow \
    --set earlier=artifacts/train-detector/far-finish
Cost: 18 epochs in 34 minutes (--seconds 2100) on two cores with AMX and other work beside it.
Expected: 270 million multiply-adds int8 instead of 293; faces: AP50 .967 on `valid` and .651 on `crowds`;
persons .864. A raised fist in a clip falls from a score of .68 to .49. At the score that `suggest-scores`
takes, .56, a face is seen on 3 of the 60 animals of `valid`, where 1 is allowed: `detector_far_narrow_finish`
has more of them.

The pointwise layers of blocks 3 and 4 go through 32 and 40 channels, which start as principal components of
what the earlier layers answer. Two fifths of the decoys are drawn hands: from hands over faces alone the
detector learns that a hand means a face.
"""

import dataclasses

from oahega_build.models.trunk import Block
from oahega_build.recipes.detector_far import BLOCKS
from oahega_build.recipes.detector_far_finish import RECIPE as FINISH

NARROW = (*BLOCKS[:2], Block(BLOCKS[2].channels, rank=32), Block(BLOCKS[3].channels, 2, rank=40), *BLOCKS[4:])

RECIPE = dataclasses.replace(
    FINISH,
    net=dataclasses.replace(FINISH.net, trunk=dataclasses.replace(FINISH.net.trunk, blocks=NARROW)),
    pasting=dataclasses.replace(FINISH.pasting, hands=0.4),
    seed=5,
)

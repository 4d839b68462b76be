"""The embedded detector: `detector_far_finish` with two more narrow layers, trained on with hands.

Command: python -m oahega_build train-detector --data DATA --recipe detector_far_narrow --run far-narrow \
    --set earlier=build/weights/detector

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

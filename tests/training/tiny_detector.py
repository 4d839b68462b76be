"""A detector of drawn people, trained in seconds, for the tests of `all --detection`."""

from oahega_build.detector.recipe import DetectorRecipe
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_build.models.trunk import Block, Trunk

RECIPE = DetectorRecipe(
    net=SsdNet(
        width=128,
        height=96,
        trunk=Trunk(
            width=1.0, stem_channels=8, blocks=(Block(16, 2), Block(24, 2), Block(32, 2)), norm_momentum=0.8
        ),
        extras=(),
        neck=16,
    ),
    ladders=(Ladder("face", (5, 10, 18, 36)), Ladder("person", (12, 30, 60, 110))),
    epochs=3,
    examples=64,
    batch=8,
    learning_rate=3e-3,
    warmup=4,
    average=0.9,
    calibration=12,
    empty_views=300,
    data_terms=("people: drawn by the tests",),
)

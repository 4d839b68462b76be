"""The embedded emotion models: soft votes, faces from elsewhere, hard variations, an ensemble of teachers.

Command: python -m oahega_build train-ensemble --recipe emotion_world --pack artifacts/pack/world/faces.npz
"""

from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
from oahega_build.models.mobilenet import MOBILENET_V1, Block, Trunk


def _stage(channels: int, residuals: int) -> tuple[Block, ...]:
    return (Block(channels, 2, "dense"), *(Block(channels, 1, "dense", residual=True),) * residuals)


WIDE = Trunk(stem_channels=48, stem_stride=1, blocks=_stage(96, 2) + _stage(160, 3) + _stage(240, 2))
IDENTITY = Trunk(blocks=MOBILENET_V1)
"""Starts from weights that tell people apart."""

DENSE = Trunk(
    stem_channels=32,
    stem_stride=2,
    blocks=(
        Block(64, 2, "dense"),
        Block(64, 1, "dense", residual=True),
        Block(96, 2, "dense"),
        Block(96, 1, "dense", residual=True),
        Block(192, 1),
        Block(192, 1, residual=True),
    ),
)
"""15.2 million multiply-adds."""
EARLY = Trunk(
    stem_channels=16,
    stem_stride=2,
    blocks=(
        Block(24, 1, "dense"),
        Block(64, 2, "dense"),
        Block(64, 1, "dense", residual=True),
        Block(112, 2, "dense"),
        Block(192, 1),
        Block(192, 1, residual=True),
        Block(192, 1, residual=True),
    ),
)
"""15.3 million: one more block on the large map."""
LATE = Trunk(
    stem_channels=32,
    stem_stride=2,
    blocks=(
        Block(64, 2, "dense"),
        Block(64, 1, "dense", residual=True),
        Block(96, 2, "dense"),
        Block(192, 1),
        Block(192, 1, residual=True),
        Block(192, 1, residual=True),
    ),
)
"""13.6 million."""
LARGE = Trunk(
    stem_channels=32,
    stem_stride=1,
    blocks=(
        Block(64, 2, "dense"),
        Block(64, 1, "dense", residual=True),
        Block(96, 2, "dense"),
        Block(96, 1, "dense", residual=True),
        Block(160, 2, "dense"),
        Block(256, 1),
        Block(256, 1, residual=True),
    ),
)
"""62 million."""
RECIPE = EnsembleRecipe(
    teachers={"wide": Net(WIDE, 0.3), "wide2": Net(WIDE, 0.3), "identity": Net(IDENTITY, 0.3, side=112)},
    students={"dense": Net(DENSE), "early": Net(EARLY), "large": Net(LARGE), "late": Net(LATE)},
    teacher_course=Course(epochs=150, learning_rate=1e-3, weight_decay=0.05, balance=0.5),
    course=Course(epochs=300, learning_rate=2e-3),
    precision="mixed_bfloat16",
)

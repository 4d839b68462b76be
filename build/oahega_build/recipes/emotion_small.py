"""The embedded student: 20 million multiply-adds at 32x32 grey, taught by `identity` of `emotion_world`.

Command:
    python -m oahega_build answer-pack artifacts/train-ensemble/world --teacher identity \
        --pack artifacts/pack-faces/world/voted.npz --pack artifacts/pack-faces/world/labelled.npz \
        --pack artifacts/pack-faces/world/labelled.npz --run world
    python -m oahega_build train-ensemble --recipe emotion_small \
        --pack artifacts/answer-pack/world/faces.npz --start default=build/weights/small.npz \
        --run emotion_small
The teacher's weights are `build/weights/identity.npz`. The faces that were cut from photographs are there
twice, so that they are a quarter. The embedded weights are `build/weights/small.npz`: 30 epochs of an earlier
recipe from the emotion.tflite of bundle 0.3.0, then this one.
Cost: 45 seconds for an epoch on two cores that have AMX, with other work beside it; 2 minutes with AVX2.
Expected: int8 held-out accuracy and balanced accuracy .901 and .900, and on the part `choose` of
other_cameras .798 and .752, at an operating point fitted to both; bundle 0.3.2 had .906 and .897, and .791
and .733 (faces cut by the same detector), for 2.25 times the multiply-adds.
"""

from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
from oahega_build.ensemble.variation import Ranges
from oahega_build.recipes.emotion_student import STUDENT_TRUNK

# At 32 px the trunk of 0.3.0 takes 20.2 million multiply-adds instead of 45.5, and its weights still fit.
RECIPE = EnsembleRecipe(
    students={"default": Net(STUDENT_TRUNK, dropout=0.1, side=32)},
    course=Course(epochs=70, batch=256, learning_rate=1.5e-3, warm_up_epochs=0),
    precision="mixed_bfloat16",
    # Milder than what the teachers learned from: a net of this size has no room for all of it.
    ranges=Ranges(
        surroundings=0.15,
        gamma=0.5,
        contrast=0.3,
        light=0.4,
        blur=0.35,
        noise=0.2,
        noise_levels=10.0,
        jpeg=0.25,
        erase=0.1,
    ),
)

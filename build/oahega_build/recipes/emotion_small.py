"""A student of 20 million multiply-adds at 32x32 grey, taught by `identity` of `emotion_world`.

Command:
    python -m oahega_build answer-pack artifacts/train-ensemble/world --teacher identity \
        --pack artifacts/pack-faces/world/voted.npz --pack artifacts/pack-faces/world/labelled.npz \
        --run world
    python -m oahega_build train-ensemble --recipe emotion_small \
        --pack artifacts/answer-pack/world/faces.npz \
        --start default=EARLIER
where EARLIER is the emotion.tflite of bundle 0.3.0, or `build/weights/small.npz` to go on where the last run
ended. The teacher's weights are `build/weights/identity.npz`.
Cost: 5 minutes for the answers and 2 for an epoch, on two quiet cores that have AVX2 alone.
Expected: after 24 epochs (`--seconds 4800` beside other work, from weights of 6 epochs before) int8 held-out
accuracy and balanced accuracy .887 and .884 and on the part `choose` of other_cameras .786 and .732, at an
operating point fitted to both, where the embedded 0.3.2 has .906, .897, .803 and .743 for 2.25 times the
multiply-adds. It was still learning.
"""

from oahega_build.ensemble.recipe import Course, EnsembleRecipe, Net
from oahega_build.ensemble.variation import Ranges
from oahega_build.recipes.emotion_student import STUDENT_TRUNK

# At 32 px the trunk of 0.3.0 takes 20.2 million multiply-adds instead of 45.5, and its weights still fit.
RECIPE = EnsembleRecipe(
    students={"default": Net(STUDENT_TRUNK, dropout=0.1, side=32)},
    course=Course(epochs=60, batch=128, learning_rate=1e-3, warm_up_epochs=0),
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

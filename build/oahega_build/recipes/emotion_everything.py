"""The embedded bundle's own teacher and student on a dataset of one's own, without a search.

Command: python -m oahega_build all --dataset FACES --out OUT --recipe emotion_everything
Cost: the teacher's and twice the student's training: hours on two cores for 20,000 pictures.
Expected: not measured as a whole; the parts' figures stand in `emotion_teacher` and `emotion_student`.
"""

from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.recipes.collect_default import RECIPE as COLLECT
from oahega_build.recipes.emotion_distilled import RECIPE as STUDENT
from oahega_build.recipes.emotion_teacher import RECIPE as TEACHER
from oahega_build.whole.recipe import EverythingRecipe

RECIPE = EverythingRecipe(
    student=STUDENT,
    student_recipe="emotion_distilled",
    teacher=TEACHER,
    twin=True,
    prune=PruneRecipe(),
    collect=COLLECT,
)

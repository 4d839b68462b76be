"""What a recipe of the verb `all` says: a recipe module holds one `RECIPE = EverythingRecipe(...)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.experiments.prune_recipe import PruneRecipe
from oahega_build.experiments.tune import TuneRecipe
from oahega_build.labelling.collect import CollectRecipe


@dataclass(frozen=True, slots=True)
class EverythingRecipe:
    """What `all` does; a part that is None is left out."""

    student: EmotionRecipe | None = None
    """The model of the bundle, trained from nothing; with `distil_share` it learns from the teacher. None:
    the emotion model of a finished bundle is taught the pictures, which a few of them suffice for."""
    head_only: bool = False
    """Without a student: fit a new last layer alone, and do not compare with training more."""
    student_recipe: str = ""
    """Its name on the model card."""
    teacher: EmotionRecipe | None = None
    """Without a search; with one, the search finds it."""
    tune: TuneRecipe | None = None
    init: Path | None = None
    """A quantized MobileNetV1 .tflite that the teacher, or every trial of its search, starts from."""
    twin: bool = False
    """Train the student without its teacher, too, for the comparison of figures 7 and 8."""
    prune: PruneRecipe | None = None
    project: bool = True
    """Draw the embeddings and list suspicious labels, seen by the teacher."""
    collect: CollectRecipe | None = None
    """For `--videos`."""
    test_share: float = 0.15
    """Of a dataset without train/ and valid/: what chooses nothing and is reported."""
    group_pattern: str = ""
    """First parenthesis, searched in a picture's name, names what must not cross the split."""
    start_epochs: int = 12
    """Number of epochs for `--start`, at a fifth of the student's learning rate."""
    pictures_per_second: float = 500.0
    """Trained, on the machine of the docstring's cost: what a dry run guesses with before anything ran."""

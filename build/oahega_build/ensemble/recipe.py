"""What an ensemble consists of: teachers first, then students that they teach."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oahega_build.ensemble.variation import CROP, Ranges, View
from oahega_build.errors import RunError
from oahega_build.models.trunk import Trunk
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.files import read_file


@dataclass(frozen=True, slots=True)
class Course:
    """How networks are trained."""

    epochs: int
    batch: int = 512
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    """Decoupled (AdamW); kernels only."""
    warm_up_epochs: float = 2.0
    balance: float = 0.5
    """How much rarer expressions are drawn more often: 0 as they come, 1 all alike."""
    taught_share: float = 0.7
    """Share of the teachers' answers in the loss, where there are teachers."""
    blended: float = 0.0
    """Share of faces that another of the batch shines through, so that teachers are asked what no picture
    shows (mixup of Zhang et al. 2018, for distillation as in Beyer et al. 2022)."""
    seed: int = 1


@dataclass(frozen=True, slots=True)
class Net:
    """One network."""

    trunk: Trunk
    dropout: float = 0.2
    side: int = CROP
    """Pixels that the trunk sees; the crop is enlarged or shrunk where it is not CROP."""


@dataclass(frozen=True, slots=True)
class EnsembleRecipe:
    """Teachers answer with votes, students with labels."""

    students: Mapping[str, Net]
    teachers: Mapping[str, Net] = field(default_factory=dict)
    side_by_side: int = 2
    """Students that learn from the same batches, so that the teachers are asked once for all of them."""
    labels: tuple[str, ...] = ("angry", "happy", "neutral", "sad", "surprise")
    view: View = field(default_factory=View)
    """What nets are trained on, on the stored pictures, before it is varied."""
    turns: tuple[()] | tuple[View, View] = ()
    """What the device crops of a face in turn, frame by frame: first one view, then another, mirrored.
    Empty: all frames are cropped as `view` says."""
    ranges: Ranges = field(default_factory=Ranges)
    teacher_course: Course = field(default_factory=lambda: Course(epochs=60, learning_rate=1e-3))
    course: Course = field(default_factory=lambda: Course(epochs=150))
    precision: str = "float32"
    """Keras policy of all layers while training; `mixed_bfloat16` where the processor has it."""

    def groups(self) -> list[tuple[str, ...]]:
        """The students, as they learn together."""
        names = list(self.students)
        return [tuple(names[i : i + self.side_by_side]) for i in range(0, len(names), self.side_by_side)]


def recipe_of(run: Path) -> EnsembleRecipe:
    """The recipe that a run of `train-ensemble` was made with. Raises RunError."""
    from pydantic import TypeAdapter  # training itself must do without

    try:
        return TypeAdapter(EnsembleRecipe).validate_json(read_file(run / "recipe.json", LARGEST_DOCUMENT))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run} is no run of train-ensemble ({type(error).__name__}); give its folder"
        ) from error

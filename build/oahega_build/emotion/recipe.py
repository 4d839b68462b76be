"""What a recipe of the emotion classifier says: a recipe module holds one `RECIPE = EmotionRecipe(...)`."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from oahega_build.emotion.inputs import Augmentation
from oahega_build.errors import RunError
from oahega_build.models.trunk import Trunk
from oahega_build.pictures.dataset import HELD_OUT
from oahega_build.pictures.framing import Framing
from oahega_edge.manifest import InputTensor

WEIGHTS = "emotion.weights.h5"
"""The averaged weights after each epoch, for teachers, quantization and further training."""


@dataclass(frozen=True, slots=True)
class EmotionRecipe:
    """Everything that decides what the classifier becomes, besides the pictures."""

    trunk: Trunk
    hidden: tuple[int, ...] = ()
    """Dense layers on top of the pooled features."""
    hidden_on_map: bool = False
    """The dense layers come before the pooling instead (paper, figure 6)."""
    hidden_l2: float = 0.0
    """L2 on the dense layers' kernels."""
    dropout: float = 0.2
    side: int = 48
    """Pixels of the square input."""
    colour: Literal["grey", "rgb"] = "grey"
    init: Path | None = None
    """A quantized MobileNetV1 .tflite to start from."""
    start: Path | None = None
    """Folder of an earlier run of the same trunk, whose weights are the beginning instead of random ones."""
    tune_from: int = 0
    """Convolutions counted from the stem that stay as they are: 0 trains everything."""

    framing: Framing = field(default_factory=Framing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    heads: Path | None = None
    """Folder of a labelling run, whose people lend their heads to `augmentation.heads`."""
    mixup: float = 0.0
    """Alpha of the Beta distribution; 0 switches it off."""
    votes: float = 0.7
    """Share of the votes in the target; the rest is the folder's label alone."""
    balance: float = 0.0
    """How much rarer classes are drawn more often: 0 as they come, 1 all alike."""
    class_weights_mu: float = 0.0
    """The paper's class weights (formula 1) with this mu; 0 switches them off."""
    logit_adjustment: float = 0.0
    """Tau: the loss sees logits + tau * log prior, so that the logits favour no frequent class."""

    epochs: int = 40
    early_epochs: int = 0
    """The first epochs run at `early_side` pixels, which is faster."""
    early_side: int = 36
    batch: int = 128
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "plateau"] = "cosine"
    """cosine: down to 1 % at the end; plateau: halved after 10 epochs without a better held-out loss."""
    warm_up_epochs: float = 1.0
    weight_decay: float = 0.02
    """Decoupled (AdamW); kernels only."""
    average: float = 0.998
    """Decay per step of the averaged weights that are exported; 0 exports the last ones."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """Of the dense and pointwise convolutions while training; the export is trained float32 -> int8."""
    seed: int = 1
    held_out: float = HELD_OUT
    """Share of `train` on which models are chosen, calibrated and compared."""
    group_pattern: str = ""
    """A pattern whose first parenthesis names what must not cross the split (a person, a video)."""

    distil_temperature: float = 2.0
    distil_share: float = 0.0
    """Share of the teacher in the loss; 0 trains without one."""


PIXEL_SCALE = 1 / 128
PIXEL_OFFSET = -1.0
"""Pixels -1..1 as MobileNet expects. 128 and not 127.5: the int8 input then is exactly pixel - 128."""


def float_input(recipe: EmotionRecipe) -> InputTensor:
    """The network's input before quantization."""
    return InputTensor(
        width=recipe.side,
        height=recipe.side,
        colour=recipe.colour,
        dtype="float32",
        pixel_scale=PIXEL_SCALE,
        pixel_offset=PIXEL_OFFSET,
    )


def recipe_of(run: Path) -> EmotionRecipe:
    """The recipe that a run's folder was made with. Raises RunError when it has none that fits."""
    path = run / "recipe.json"
    try:
        return TypeAdapter(EmotionRecipe).validate_python(json.loads(path.read_text()))
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(
            f"{path} is no recipe of an emotion model ({type(error).__name__}); give a run's folder"
        ) from error

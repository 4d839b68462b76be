"""The recipe of the emotion classifier: a recipe module contains one `RECIPE = EmotionRecipe(...)`."""

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
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.manifest import InputTensor
from oahega_edge.text import read_text

WEIGHTS = "emotion.weights.h5"
"""The averaged weights after each epoch, for teachers, quantization and further training."""


@dataclass(frozen=True, slots=True)
class EmotionRecipe:
    """Everything besides the pictures that determines the classifier."""

    trunk: Trunk
    hidden: tuple[int, ...] = ()
    """Widths of dense layers on the pooled features."""
    hidden_on_map: bool = False
    """Whether the dense layers come before the pooling (paper, figure 6)."""
    hidden_l2: float = 0.0
    """L2 weight of the dense layers' kernels."""
    dropout: float = 0.2
    side: int = 48
    """Side of the square input, pixels."""
    colour: Literal["grey", "rgb"] = "grey"
    init: Path | None = None
    """A quantized MobileNetV1 .tflite to start from."""
    start: Path | None = None
    """Folder of an earlier run of the same trunk whose weights to start from."""
    tune_from: int = 0
    """Number of convolutions, counted from the stem, that are not trained; 0 trains everything."""

    framing: Framing = field(default_factory=Framing)
    augmentation: Augmentation = field(default_factory=Augmentation)
    heads: Path | None = None
    """Folder of a labelling run with pictures of people for `augmentation.heads`."""
    mixup: float = 0.0
    """Alpha of the Beta distribution of mixup; 0 switches mixup off."""
    votes: float = 0.7
    """Share of the votes in the target; the rest is the label of the folder."""
    balance: float = 0.0
    """How much more often rare classes are drawn: 0 as they come, 1 all classes equally often."""
    class_weights_mu: float = 0.0
    """The paper's class weights (formula 1) with this mu; 0 switches them off."""
    logit_adjustment: float = 0.0
    """Tau: the loss gets logits + tau * log prior, so that the logits do not favour frequent classes."""

    epochs: int = 40
    early_epochs: int = 0
    """Number of first epochs that run at `early_side` pixels, which is faster."""
    early_side: int = 36
    batch: int = 128
    learning_rate: float = 2e-3
    schedule: Literal["cosine", "plateau"] = "cosine"
    """Cosine: down to 1 % at the end. Plateau: halved after 10 epochs without a better held-out loss."""
    warm_up_epochs: float = 1.0
    weight_decay: float = 0.02
    """Decoupled weight decay (AdamW), of kernels only."""
    average: float = 0.998
    """Decay per step of the averaged weights, which are exported; 0 exports the last weights."""
    precision: Literal["float32", "mixed_bfloat16"] = "float32"
    """Precision of the dense and pointwise convolutions during training. The export is int8 from float32."""
    seed: int = 1
    held_out: float = HELD_OUT
    """Share of `train` on which models are chosen, calibrated and compared."""
    group_pattern: str = ""
    """A regular expression; its first group names what must stay together (a person, a video)."""

    distil_temperature: float = 2.0
    distil_share: float = 0.0
    """Share of the teacher in the loss; 0 trains without one."""


PIXEL_SCALE = 1 / 128
PIXEL_OFFSET = -1.0
"""Pixels -1..1 as MobileNet expects. With 128 instead of 127.5 the int8 input is exactly pixel - 128."""


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
    """Read the recipe of a run's folder. Raises RunError if there is none or if it does not fit."""
    path = run / "recipe.json"
    try:
        return TypeAdapter(EmotionRecipe).validate_python(json.loads(read_text(path, LARGEST_DOCUMENT)))
    except (OSError, ValueError, ValidationError) as error:
        raise RunError(
            f"{path} is not a recipe of an emotion model ({type(error).__name__}); give a run's folder"
        ) from error

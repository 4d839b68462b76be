"""The recipe of the detector: a recipe module contains one `RECIPE = DetectorRecipe(...)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oahega_build.detector.examples.augmentation import Augmentation
from oahega_build.detector.examples.pasting import Pasting
from oahega_build.detector.targets import Matching
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_edge.manifest import InputTensor, Resize

PIXEL_SCALE, PIXEL_OFFSET = 1 / 127.5, -1.0
"""Pixel scale of the pre-trained weights."""
OUTPUTS = {"boxes": "boxes", "scores": "scores"}
"""The tensor of the network for each output role of the manifest."""


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """Everything besides the pictures that determines the detector."""

    records: str = "default"
    """Name of the labelling run to train on."""
    labels: tuple[str, ...] = ("face", "person")
    net: SsdNet = field(default_factory=SsdNet)
    resize: Resize = field(default_factory=lambda: Resize(kernel="area", fit="letterbox"))
    ladders: tuple[Ladder, ...] = (
        Ladder("face", (7, 13, 20, 31, 48, 76, 120, 175, 260)),
        Ladder("person", (12, 30, 60, 110, 170, 250), shapes=2),
    )
    start: str = ""
    """Quantized MobileNetV1 below the data folder from whose weights to start; empty: random weights."""
    exported: str = ""
    """An exported detector of ours, below the data folder, from whose layers of the same name and shape to
    start; what it lacks starts from random weights."""
    earlier: Path | None = None
    """Folder of a finished run of the same network from whose anchors and weights to start."""
    earlier_share: float = 0.0
    """Share of the weights of the earlier run in the exported weights (WiSE-FT, arXiv 2109.01903)."""
    frozen_blocks: int = 0
    """Number of blocks after the stem that keep those weights; they cost most of the training time."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Share of the drawn scenes, by set; empty: each set by its number of pictures."""
    without_people: tuple[str, ...] = ("animals",)
    """Sets that are known to show nobody, for decoys and for counting false alarms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    faces: str = ""
    """Folder below the data folder with still faces by class to paste into scenes; empty: none."""
    pasting: Pasting = field(default_factory=Pasting)
    matching: Matching = field(default_factory=Matching)
    center_variance: float = 0.1
    size_variance: float = 0.2
    epochs: int = 20
    examples: int = 5000
    """Number of training steps per epoch."""
    batch: int = 16
    learning_rate: float = 6e-4
    """Highest learning rate of Adam; it falls by half a cosine after the warm-up."""
    warmup: int = 200
    """Number of steps of the warm-up."""
    last_rate: float = 0.02
    """Final learning rate, as a share of the highest."""
    clip: float = 5.0
    """Maximum norm of all gradients together."""
    average: float = 0.998
    """Decay of the moving average of the weights, which is exported."""
    alpha: float = 0.25
    gamma: float = 2.0
    box_weight: float = 1.0
    longest: int = 400
    """Maximum longer side of the scenes in memory, pixels."""
    calibration: int = 200
    """Number of pictures that set the ranges of the int8 activations."""
    precision: float = 0.95
    """Minimum precision of the suggested scores on the held-out pictures."""
    false_alarms: Mapping[str, float] = field(default_factory=lambda: {"face": 0.008, "person": 0.1})
    """Maximum share of false alarms at the suggested scores in varied views of pictures without people.
    A false face may become an event; a false person is only counted."""
    empty_views: int = 6000
    """Number of these views, which are the same for every recipe."""
    nms_iou: float = 0.45
    seed: int = 1
    data_terms: tuple[str, ...] = ()
    """Each training set with its terms, in one sentence, for the model card."""


def network_input(net: SsdNet) -> InputTensor:
    """The input of the float network."""
    return InputTensor(
        width=net.width,
        height=net.height,
        colour="rgb",
        dtype="float32",
        pixel_scale=PIXEL_SCALE,
        pixel_offset=PIXEL_OFFSET,
    )

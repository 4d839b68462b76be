"""What a recipe of the detector says: a recipe module holds one `RECIPE = DetectorRecipe(...)`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from oahega_build.detector.augmentation import Augmentation
from oahega_build.detector.pasting import Pasting
from oahega_build.detector.targets import Matching
from oahega_build.models.anchors import Ladder
from oahega_build.models.ssd_net import SsdNet
from oahega_edge.manifest import InputTensor, Resize

PIXEL_SCALE, PIXEL_OFFSET = 1 / 127.5, -1.0
"""As the weights that we start from were trained."""
OUTPUTS = {"boxes": "boxes", "scores": "scores"}
"""Role of each output in the manifest -> its tensor in the network."""


@dataclass(frozen=True, slots=True)
class DetectorRecipe:
    """All that decides what the detector becomes."""

    records: str = "default"
    """Name of the labelling run that it learns from."""
    labels: tuple[str, ...] = ("face", "person")
    net: SsdNet = field(default_factory=SsdNet)
    resize: Resize = field(default_factory=lambda: Resize(kernel="area", fit="letterbox"))
    ladders: tuple[Ladder, ...] = (
        Ladder("face", (7, 13, 20, 31, 48, 76, 120, 175, 260)),
        Ladder("person", (12, 30, 60, 110, 170, 250), shapes=2),
    )
    start: str = ""
    """Quantized MobileNetV1 below the data folder whose weights the trunk starts from; empty: random."""
    earlier: Path | None = None
    """Folder of a finished run of the same net, whose anchors and weights are the beginning instead."""
    earlier_share: float = 0.0
    """Share of those weights in the exported ones, the rest being what the training made of them (WiSE-FT,
    arXiv 2109.01903)."""
    frozen_blocks: int = 0
    """The stem and so many blocks keep those weights; they hold most of the training's cost."""
    shares: Mapping[str, float] = field(default_factory=dict)
    """Set -> share of the drawn scenes; empty: each set by its number of pictures."""
    without_people: tuple[str, ...] = ("animals",)
    """Sets that are known to show nobody: for decoys and for the count of false alarms."""
    augmentation: Augmentation = field(default_factory=Augmentation)
    faces: str = ""
    """Folder below the data folder with still faces by class, to paste into scenes; empty: none."""
    pasting: Pasting = field(default_factory=Pasting)
    matching: Matching = field(default_factory=Matching)
    center_variance: float = 0.1
    size_variance: float = 0.2
    epochs: int = 20
    examples: int = 5000
    """Per epoch."""
    batch: int = 16
    learning_rate: float = 6e-4
    """Of Adam, at its highest; half a cosine down after the warm-up."""
    warmup: int = 200
    """Steps."""
    last_rate: float = 0.02
    """The rate at the end, as a share of the highest."""
    clip: float = 5.0
    """Largest norm of all gradients together."""
    average: float = 0.998
    """Of the moving average of the weights, which is what is exported."""
    alpha: float = 0.25
    gamma: float = 2.0
    box_weight: float = 1.0
    longest: int = 400
    """Scenes are kept in memory at most this long, pixels."""
    calibration: int = 200
    """Pictures that set the ranges of the int8 activations."""
    precision: float = 0.95
    """The suggested scores are the lowest with this precision on the held-out pictures,"""
    false_alarms: Mapping[str, float] = field(default_factory=lambda: {"face": 0.008, "person": 0.1})
    """and with at most this share of false alarms in varied views of those that show nobody: a false face
    may become an event, a false person is only counted."""
    empty_views: int = 6000
    """So many views are drawn for that, the same for every recipe."""
    nms_iou: float = 0.45
    seed: int = 1
    data_terms: tuple[str, ...] = ()
    """Each training set with its terms, in one sentence, for the model card."""


def network_input(net: SsdNet) -> InputTensor:
    """The float network's input."""
    return InputTensor(
        width=net.width,
        height=net.height,
        colour="rgb",
        dtype="float32",
        pixel_scale=PIXEL_SCALE,
        pixel_offset=PIXEL_OFFSET,
    )

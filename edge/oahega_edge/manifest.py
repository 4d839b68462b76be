"""What a bundle says of its models. The trainer writes it, the device reads it, nobody guesses.

Everything that must be equal on both sides stands here: input format, resize and crop, tensor
roles, anchors, labels, temperature, the expected answer to a golden input.
"""

from __future__ import annotations

import math
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

FORMAT_VERSIONS = (1, 2)
"""Of manifests. 2: the detector has the label COVERED_FACE, or faces get a second crop. Releases before 0.4.0
cannot follow."""
COVERED_FACE = "covered_face"
"""What some detectors answer beside a face where something hides its mouth."""
MOST_LABELS = 64
MOST_SAMPLES = 16_384
"""Values of one output in a golden answer; the embedded detector's has 2,048."""

Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Factor = Annotated[float, Field(ge=1e-9, le=1e9, allow_inf_nan=False)]
"""A positive number that arithmetic in float32 survives."""
Offset = Annotated[float, Field(ge=-1e6, le=1e6, allow_inf_nan=False)]
Temperature = Annotated[float, Field(ge=0.05, le=20, allow_inf_nan=False)]
Prior = Annotated[float, Field(ge=1e-9, le=1, allow_inf_nan=False)]
LogOdds = Annotated[float, Field(ge=-20, le=20, allow_inf_nan=False)]
Pixels = Annotated[float, Field(ge=0.01, le=10_000, allow_inf_nan=False)]
Variance = Annotated[float, Field(ge=0.001, le=10, allow_inf_nan=False)]
Stored = Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]
"""A value of an output as the file stores it."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
FileName = Annotated[str, Field(max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""A name inside the bundle's folder: no separator, so that no manifest can point outside it."""
Word = Annotated[str, Field(max_length=128)]
Sentence = Annotated[str, Field(max_length=2000)]
Metric = (
    Annotated[float, Field(allow_inf_nan=False)] | Annotated[int, Field(ge=-(10**18), le=10**18)] | Sentence
)
Role = Annotated[str, Field(max_length=32, pattern=r"^[a-z][a-z0-9_]*$")]
Label = Annotated[str, Field(max_length=64, pattern=r"^[^\x00-,\-./-`{-\x7f\s][^\x00-,./:-^`{-\x7f\s]*$")]
"""A word of any script, in lower case, with digits, - and _. The pattern, which JavaScript, Python and Rust
read alike, bars white space and the rest of ASCII: no label needs quoting in a topic, a URL or a page."""


class Value(BaseModel):
    """Frozen and closed: an unknown key is an error, not a wish."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Quantization(Value):
    """real = scale * (stored - zero_point), per tensor."""

    scale: Factor
    zero_point: Annotated[int, Field(ge=-128, le=255)]


class InputTensor(Value):
    """The one input of a model: 1 x height x width x channels."""

    width: Annotated[int, Field(ge=8, le=4096)]
    height: Annotated[int, Field(ge=8, le=4096)]
    colour: Literal["rgb", "grey"]
    """grey is Rec. 601 luma as OpenCV's COLOR_RGB2GRAY rounds it."""
    dtype: Literal["int8", "uint8", "float32"]
    quantization: Quantization | None = None
    """None for float32 only."""
    pixel_scale: Factor
    pixel_offset: Offset
    """The network's real input is pixel * pixel_scale + pixel_offset, pixel 0..255."""

    @model_validator(mode="after")
    def _quantized_iff_integer(self) -> Self:
        if (self.dtype == "float32") != (self.quantization is None):
            raise ValueError(f"input dtype {self.dtype} and quantization {self.quantization} do not fit")
        return self

    @property
    def channels(self) -> int:
        """3 for rgb, 1 for grey."""
        return 3 if self.colour == "rgb" else 1

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """As the TFLite file states it."""
        return 1, self.height, self.width, self.channels


class OutputTensor(Value):
    """One output, found in the file by its name and used by its role."""

    role: Role
    tensor: Annotated[str, Field(max_length=256)]
    """Name of the output in the file's signature `serving_default`, or of the tensor itself."""
    shape: Annotated[tuple[Annotated[int, Field(ge=1, le=10_000_000)], ...], Field(max_length=8)]
    dtype: Literal["int8", "uint8", "float32"]
    quantization: Quantization | None = None

    @model_validator(mode="after")
    def _quantized_iff_integer(self) -> Self:
        if (self.dtype == "float32") != (self.quantization is None):
            raise ValueError(f"output {self.role}: dtype {self.dtype} and quantization do not fit")
        return self


class ModelFile(Value):
    """One file of the bundle."""

    file: FileName
    sha256: Sha256


class GoldenSample(Value):
    """Expected stored values at some flat indices of one output."""

    role: Role
    index: Annotated[
        tuple[Annotated[int, Field(ge=0, le=100_000_000)], ...], Field(min_length=1, max_length=MOST_SAMPLES)
    ]
    value: Annotated[tuple[Stored, ...], Field(max_length=MOST_SAMPLES)]

    @model_validator(mode="after")
    def _as_many(self) -> Self:
        if len(self.index) != len(self.value):
            raise ValueError(f"golden {self.role}: {len(self.index)} indices, {len(self.value)} values")
        return self


class Golden(Value):
    """The self-test: a seeded pattern (`preprocess.golden_pixels`) and what the model makes of it."""

    seed: Annotated[int, Field(ge=0, lt=1 << 63)]
    tolerance: Annotated[float, Field(ge=1e-9, le=255, allow_inf_nan=False)]
    """Largest allowed difference: quantization steps for integer outputs (runtimes differ by up to 9 on
    one file), units of the output for float32."""
    samples: Annotated[tuple[GoldenSample, ...], Field(min_length=1, max_length=16)]


class Resize(Value):
    """How the picture is brought to the detector's input."""

    kernel: Literal["area", "linear"]
    """OpenCV's INTER_AREA or INTER_LINEAR."""
    fit: Literal["letterbox", "squeeze"]
    """letterbox keeps the aspect and fills right and bottom with `pad`; squeeze does not keep it."""
    pad: Annotated[int, Field(ge=0, le=255)] = 114


class Crop(Value):
    """How a face is cut from the full frame: a square around the box's middle."""

    scale: Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
    """Side of the square in units of the box's longer side; 1.2 is a margin of a tenth on each side."""
    shift: Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)] = 0.0
    """The square's middle is moved down by this share of the longer side (up when negative)."""
    kernel: Literal["area", "linear"]
    border: Literal["replicate"] = "replicate"
    """What lies outside the frame repeats its edge pixels."""


class SecondCrop(Value):
    """How every second frame of a face is cropped: unlike the others, so that two frames tell more than one.

    Kernel and border are those of the first crop, `EmotionEntry.crop`.
    """

    scale: Annotated[float, Field(ge=0.1, le=10, allow_inf_nan=False)]
    """As in `Crop`."""
    shift: Annotated[float, Field(ge=-5, le=5, allow_inf_nan=False)] = 0.0
    """As in `Crop`."""
    mirrored: bool = False
    """The face is turned left to right."""


class Anchor(Value):
    """One anchor shape of a level; it answers for one label only."""

    label: Label
    width: Pixels
    height: Pixels
    """Pixels of the detector's input."""


class AnchorLevel(Value):
    """One feature map: ceil(height / stride) x ceil(width / stride) cells, middle at (i + 0.5) * stride."""

    stride: Annotated[int, Field(ge=2, le=512)]
    anchors: Annotated[tuple[Anchor, ...], Field(min_length=1, max_length=64)]


class SsdDecoder(Value):
    """SSD boxes: roles `boxes` (1, N, 4: dy, dx, dh, dw) and `scores` (1, N, 1: logit of the anchor's label).

    N runs over levels, rows, columns, anchors. The box's middle is anchor middle + d * center_variance *
    anchor size, its size anchor size * exp(d * size_variance).
    """

    kind: Literal["ssd"] = "ssd"
    levels: Annotated[tuple[AnchorLevel, ...], Field(min_length=1, max_length=16)]
    center_variance: Variance
    size_variance: Variance


class SuggestedDetection(Value):
    """Defaults that the settings may override."""

    score: Annotated[dict[Label, Share], Field(max_length=MOST_LABELS)]
    """Smallest score per label."""
    nms_iou: Share


class SuggestedDecision(Value):
    """Defaults that the settings may override."""

    threshold: Share
    frames: Annotated[int, Field(ge=1, le=1000)]
    lapse: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    """Share of faces that are misread however many frames are averaged."""


class ModelCard(Value):
    """Where a model comes from and what it reached, measured on the exported file."""

    recipe: Word
    commit: Word
    created: Word
    data: Annotated[tuple[Sentence, ...], Field(max_length=256)]
    """Each set with its terms, in one sentence."""
    metrics: Annotated[dict[Word, Metric], Field(max_length=1000)]
    weights: Word | None = None
    """SHA-256 of the float weights that the file was made from, where they are kept."""


class DetectorEntry(Value):
    """The face-and-person detector."""

    cpu: ModelFile
    edgetpu: ModelFile | None = None
    input: InputTensor
    resize: Resize
    outputs: Annotated[tuple[OutputTensor, ...], Field(max_length=16)]
    labels: Annotated[tuple[Label, ...], Field(min_length=1, max_length=MOST_LABELS)]
    decoder: SsdDecoder
    suggested: SuggestedDetection
    golden: Golden
    card: ModelCard

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        anchor_labels = {anchor.label for level in self.decoder.levels for anchor in level.anchors}
        if anchor_labels != set(self.labels):
            raise ValueError(
                f"detector labels {sorted(self.labels)} differ from its anchors' {sorted(anchor_labels)}"
            )
        if set(self.suggested.score) != set(self.labels):
            raise ValueError(
                f"suggested scores name {sorted(self.suggested.score)}, the labels are {sorted(self.labels)}"
            )
        count = self.anchor_count
        for role, width in (("boxes", 4), ("scores", 1)):
            shape = _role(self.outputs, role).shape
            if shape != (1, count, width):
                raise ValueError(f"output {role} has shape {shape}, the anchors need {(1, count, width)}")
        _require_fitting(self.golden, self.outputs)
        return self

    @property
    def anchor_count(self) -> int:
        """N: anchors over all levels."""
        return sum(
            math.ceil(self.input.height / level.stride)
            * math.ceil(self.input.width / level.stride)
            * len(level.anchors)
            for level in self.decoder.levels
        )


Histogram = Annotated[
    tuple[Annotated[int, Field(ge=0, le=1_000_000_000)], ...], Field(min_length=32, max_length=32)
]


class EmotionEntry(Value):
    """The emotion classifier; role `logits` (1, labels)."""

    cpu: ModelFile
    edgetpu: ModelFile | None = None
    input: InputTensor
    crop: Crop
    second_crop: SecondCrop | None = None
    """None, as in bundles before 0.4.0: every frame of a face is cropped like the first."""
    outputs: Annotated[tuple[OutputTensor, ...], Field(max_length=16)]
    labels: Annotated[tuple[Label, ...], Field(min_length=2, max_length=MOST_LABELS)]
    temperature: Temperature
    """Probabilities are softmax(logits / temperature + offsets); fitted on the exported file."""
    offsets: Annotated[tuple[LogOdds, ...], Field(max_length=MOST_LABELS)] | None = None
    """The operating point, one number per label: how much more (or less) readily than its training data
    suggests the label is answered. 0.7 doubles its odds; absent in bundles before 0.4.0, which means 0."""
    prior: Annotated[tuple[Prior, ...], Field(max_length=MOST_LABELS)] | None = None
    """Share of each label that the probabilities take for granted; fitted like the temperature."""
    reference: Annotated[dict[Word, Histogram], Field(max_length=MOST_LABELS)] | None = None
    """Faces of the training data by quantity, in the bins of `drift/look.py`. It explains a drift and is not
    needed to find one; absent in bundles before 0.4.0."""
    suggested: SuggestedDecision
    golden: Golden
    card: ModelCard

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.labels)) != len(self.labels):
            raise ValueError(f"emotion labels repeat: {list(self.labels)}")
        if self.prior is not None and len(self.prior) != len(self.labels):
            raise ValueError(f"prior has {len(self.prior)} shares, there are {len(self.labels)} labels")
        if self.offsets is not None and len(self.offsets) != len(self.labels):
            raise ValueError(f"offsets has {len(self.offsets)} numbers, there are {len(self.labels)} labels")
        shape = _role(self.outputs, "logits").shape
        if shape != (1, len(self.labels)):
            raise ValueError(f"output logits has shape {shape}, there are {len(self.labels)} labels")
        _require_fitting(self.golden, self.outputs)
        return self


class Manifest(Value):
    """`manifest.json`: the bundle in one page."""

    format_version: Literal[1, 2]
    name: Annotated[str, Field(max_length=128, pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    version: Annotated[str, Field(max_length=128, pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]*$")]
    created: Word
    """UTC, RFC 3339."""
    terms: Annotated[tuple[Sentence, ...], Field(max_length=256)]
    """Terms of the training data, for `check` and `info`."""
    detector: DetectorEntry
    emotion: EmotionEntry

    @model_validator(mode="after")
    def _is_for_releases_that_know_its_labels(self) -> Self:
        if self.format_version < format_version_of(self.detector, self.emotion):
            needs = f"label {COVERED_FACE!r}" if COVERED_FACE in self.detector.labels else "a second crop"
            raise ValueError(f"format_version is {self.format_version}, {needs} needs 2")
        return self

    @property
    def files(self) -> tuple[ModelFile, ...]:
        """Every model of the bundle."""
        entries = (self.detector, self.emotion)
        models = (model for entry in entries for model in (entry.cpu, entry.edgetpu))
        return tuple(model for model in models if model is not None)


def format_version_of(detector: DetectorEntry, emotion: EmotionEntry) -> Literal[1, 2]:
    """Of a manifest with these models: the oldest one, so that older releases take what they can read."""
    return 2 if COVERED_FACE in detector.labels or emotion.second_crop is not None else 1


def _role(outputs: tuple[OutputTensor, ...], role: str) -> OutputTensor:
    found = [output for output in outputs if output.role == role]
    if len(found) != 1:
        raise ValueError(f"exactly one output must have the role {role!r}, {len(found)} have")
    return found[0]


def _require_fitting(golden: Golden, outputs: tuple[OutputTensor, ...]) -> None:
    """Every golden value is of an output that exists, at a place inside it."""
    for sample in golden.samples:
        size = math.prod(_role(outputs, sample.role).shape)
        if max(sample.index) >= size:
            raise ValueError(
                f"golden {sample.role}: index {max(sample.index)} is outside of its {size} values"
            )


def output_of(entry: DetectorEntry | EmotionEntry, role: str) -> OutputTensor:
    """The output with this role; the validators made sure that there is exactly one."""
    return _role(entry.outputs, role)

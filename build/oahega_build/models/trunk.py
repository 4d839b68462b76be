"""The backbone as a recipe describes it. This module does without Keras, so that a plan is made quickly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """One block of a trunk."""

    channels: int
    """Output channels, before the width multiplier."""
    stride: int = 1
    kind: str = "separable"
    """`separable`: depthwise 3x3, then pointwise 1x1 (MobileNetV1). `dense`: one full 3x3 convolution,
    which costs more weights and is cheaper to train and to run where the channels are few. `inverted`:
    pointwise up, depthwise, pointwise down without activation (MobileNetV2, EfficientNet-Lite)."""
    expansion: int = 6
    """Channels inside an inverted block, as a multiple of the channels of its input."""
    kernel: int = 3
    """Side of the depthwise kernel of an inverted block, in cells."""
    residual: bool = False
    """Whether the block's input is added to its output, which needs stride 1 and equal channels."""
    rank: int = 0
    """Channels of a linear layer between depthwise and pointwise of a separable block, which makes the
    pointwise layer cheaper; 0 leaves it out. The width multiplier does not apply."""

    def __post_init__(self) -> None:
        if self.kind not in ("separable", "dense", "inverted"):
            raise ValueError(f"block kind must be separable, dense or inverted, got {self.kind!r}")
        if self.rank and self.kind != "separable":
            raise ValueError(f"only a separable block has a rank, got {self.rank} for a block {self.kind!r}")


MOBILENET_V1 = tuple(
    Block(channels, stride)
    for channels, stride in (
        (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
        (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
    )
)  # fmt: skip
"""The thirteen separable blocks of the paper."""


@dataclass(frozen=True, slots=True)
class Trunk:
    """A backbone without a head."""

    width: float = 1.0
    """The width multiplier of MobileNet, on every number of channels."""
    stem_channels: int = 32
    stem_stride: int = 2
    """1 keeps the detail of small inputs (48 px)."""
    blocks: tuple[Block, ...] = MOBILENET_V1
    batch_norm: bool = True
    """False: convolutions have a bias and no batch norm, as in a file whose batch norm is folded."""
    norm_momentum: float = 0.97
    """Momentum of the running mean and variance; Keras's 0.99 is too slow for a training on little data."""
    precision: str = "float32"
    """Keras policy of the full and pointwise convolutions: `mixed_bfloat16` trains nets of dense blocks
    twice as fast on CPUs that multiply bfloat16; the rest stays float32, which is faster there."""
    l2: float = 0.0
    """L2 regularization of pointwise and dense kernels, not of depthwise ones (MobileNets, section 3)."""

    def channels(self, of: int) -> int:
        """`of` channels times the width multiplier, rounded as the paper's code does."""
        return max(8, int(of * self.width))


def convolution_names(trunk: Trunk) -> list[str]:
    """Names of the convolution layers in the order of the data, stem first."""
    names = ["stem"]
    for number, block in enumerate(trunk.blocks, start=1):
        if block.kind == "dense":
            names.append(f"block{number}_dense")
        elif block.kind == "inverted":
            names += [f"block{number}_expand"] * (block.expansion > 1)
            names += [f"block{number}_depthwise", f"block{number}_pointwise"]
        else:
            names.append(f"block{number}_depthwise")
            names += [f"block{number}_reduce"] * (block.rank > 0)
            names.append(f"block{number}_pointwise")
    return names

"""What a recipe says of a backbone; without Keras, so that a plan is made in a moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Block:
    """One step of a trunk."""

    channels: int
    """Output channels, before the width multiplier."""
    stride: int = 1
    kind: str = "separable"
    """`separable`: depthwise 3x3, then pointwise 1x1 (MobileNetV1). `dense`: one full 3x3 convolution,
    which costs more weights and is cheaper to train and to run where the channels are few. `inverted`:
    pointwise up, depthwise, pointwise down without activation (MobileNetV2, EfficientNet-Lite)."""
    expansion: int = 6
    """Of an inverted block: channels of its middle, as a multiple of its input's."""
    kernel: int = 3
    """Of an inverted block's depthwise convolution."""
    residual: bool = False
    """Add the block's input to its output; needs stride 1 and equal channels."""

    def __post_init__(self) -> None:
        if self.kind not in ("separable", "dense", "inverted"):
            raise ValueError(f"block kind must be separable, dense or inverted, got {self.kind!r}")


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
    """Multiplier on every channel count."""
    stem_channels: int = 32
    stem_stride: int = 2
    """1 keeps the detail of small inputs (48 px)."""
    blocks: tuple[Block, ...] = MOBILENET_V1
    batch_norm: bool = True
    """False: convolutions with bias only, as in a file whose batch norm is folded."""
    norm_momentum: float = 0.97
    """Of the running mean and variance, per step. Keras's 0.99 lags behind a whole training on small data."""
    precision: str = "float32"
    """Keras policy of the full and pointwise convolutions: `mixed_bfloat16` trains nets of dense blocks
    twice as fast on CPUs that multiply bfloat16; the rest stays float32, which is faster there."""
    l2: float = 0.0
    """Weight decay on pointwise and dense kernels; depthwise ones are left alone (section 3 there)."""

    def channels(self, of: int) -> int:
        """Channels after the width multiplier, as the paper's code rounds them."""
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
            names += [f"block{number}_depthwise", f"block{number}_pointwise"]
    return names

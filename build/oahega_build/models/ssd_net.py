"""What a recipe says of a detector's network; without Keras, so that a process of examples starts at once."""

from __future__ import annotations

from dataclasses import dataclass, field

from oahega_build.models.trunk import Trunk


@dataclass(frozen=True, slots=True)
class SsdNet:
    """The network's knobs."""

    width: int = 320
    """Pixels of the input."""
    height: int = 240
    trunk: Trunk = field(default_factory=lambda: Trunk(width=0.5, batch_norm=False))
    trunk_stride: int = 16
    """The trunk is cut where it would go deeper than this stride; `extras` go on."""
    extras: tuple[int, ...] = (192, 128)
    """Channels of the separable blocks of stride 2 behind the trunk, one map each."""
    extra_blocks: int = 0
    """Number of separable residual blocks on each of these maps."""
    neck: int = 64
    """Channels of the top-down path; 0 leaves it out (the paper's SSD has none)."""
    neck_until: int = 16
    """The coarsest stride that the top-down path starts from."""
    head: int = 0
    """Channels of a pointwise layer between the depthwise one and the predictions; 0 leaves it out."""
    finest: int = 8
    """Stride of the first map with anchors; the paper's SSD starts at 16."""

    @property
    def strides(self) -> tuple[int, ...]:
        """Of the maps with anchors, finest first."""
        strides = [2**n for n in range(1, 10) if self.finest <= 2**n <= self.trunk_stride]
        strides += [self.trunk_stride * 2 ** (n + 1) for n in range(len(self.extras))]
        return tuple(strides)

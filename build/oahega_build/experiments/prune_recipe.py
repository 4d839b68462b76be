"""The recipe of `prune`, without Keras, so that planning is fast."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PruneRecipe:
    """The variants to make."""

    channels: tuple[float, ...] = (0.75, 0.5)
    """Share of channels to keep, one variant each."""
    magnitudes: tuple[float, ...] = (0.5, 0.8)
    """Share of weights to set to zero, one variant each."""
    epochs: int = 10
    """Epochs of fine-tuning."""
    learning_rate_share: float = 0.3
    """Learning rate as a share of the rate of the original training."""

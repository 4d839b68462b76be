"""What a recipe of `prune` says; without Keras, so that a plan is made in a moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PruneRecipe:
    """Which variants are made."""

    channels: tuple[float, ...] = (0.75, 0.5)
    """Shares of the channels that stay, a variant each."""
    magnitudes: tuple[float, ...] = (0.5, 0.8)
    """Shares of the weights that become zero, a variant each."""
    epochs: int = 10
    """Of fine-tuning."""
    learning_rate_share: float = 0.3
    """Of the rate that the model was trained with."""

"""What a bundle suggests for the decisions on its emotion model's answers."""

from __future__ import annotations

from oahega_edge.manifest import EmotionEntry, SuggestedDecision

DECISION = SuggestedDecision(threshold=0.55, frames=2, lapse=0.05)
"""Chosen on sequences through the whole chain (`evaluate-video`; docs/decisions 0065 and 0074). The exporter
cannot choose it, because it only has single pictures."""
TWO_CROPS = DECISION.model_copy(update={"looks": 2.0, "lasting": 3600.0})
"""For a model with a second crop, two frames of which tell as much as two looks (docs/decisions 0075)."""


def decision_for(entry: EmotionEntry) -> SuggestedDecision:
    """What suits a model with one crop or with two."""
    return DECISION if entry.second_crop is None else TWO_CROPS

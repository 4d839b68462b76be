"""The threshold and the number of frames that a bundle suggests for its emotion model."""

from __future__ import annotations

from oahega_edge.manifest import SuggestedDecision

DECISION = SuggestedDecision(threshold=0.55, frames=2, lapse=0.05)
"""Chosen on sequences through the whole chain (`evaluate-video`; docs/decisions 0065 and 0074). The exporter
cannot choose it, because it only has single pictures."""

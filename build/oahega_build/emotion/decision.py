"""The threshold and the number of frames that a bundle suggests for its emotion model."""

from __future__ import annotations

from oahega_edge.manifest import SuggestedDecision

DECISION = SuggestedDecision(threshold=0.55, frames=4)
"""Chosen on sequences through the whole chain (`evaluate-video`; figures in edge/README.md, Decisions). The
exporter sees single pictures only and cannot know what a belief over many frames needs."""

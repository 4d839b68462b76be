"""`entry.json`, which a run that exports a model writes: the manifest's entry with its model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oahega_build.runs.artifacts import write_json
from oahega_edge.manifest import DetectorEntry, EmotionEntry

ENTRY = "entry.json"
ELSEWHERE = "elsewhere_"
"""What the names of figures on other people's pictures begin with; they come first on a card."""
MULTIPLY_ADDS = "multiply_adds"
COVERED = "covered_answered"
"""How often a covered face is read with confidence, which a card's limits name."""
DECISIONS = "decisions_over_time"
"""How reliable published decisions are, which has a paragraph of its own on a card."""
SKIN = "boxed_skin_recall"
"""Recall by lightness of the skin, likewise."""


def write_on_card(
    folder: Path, entry: DetectorEntry | EmotionEntry, figures: Mapping[str, float | int | str]
) -> None:
    """Add figures to the model card of the entry in `folder`; a figure of the same name is replaced."""
    card = entry.card.model_copy(update={"metrics": {**entry.card.metrics, **figures}})
    write_json(folder / ENTRY, entry.model_copy(update={"card": card}).model_dump(mode="json"))

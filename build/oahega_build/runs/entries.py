"""`entry.json`, which a run that exports a model writes: the manifest's entry with its model card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oahega_build.runs.artifacts import write_json
from oahega_edge.manifest import DetectorEntry, EmotionEntry

ENTRY = "entry.json"


def write_on_card(
    folder: Path, entry: DetectorEntry | EmotionEntry, figures: Mapping[str, float | int | str]
) -> None:
    """Add figures to the model card of the entry in `folder`; a figure of the same name is replaced."""
    card = entry.card.model_copy(update={"metrics": {**entry.card.metrics, **figures}})
    write_json(folder / ENTRY, entry.model_copy(update={"card": card}).model_dump(mode="json"))

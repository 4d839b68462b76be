"""`entry.json` of a run that exported a model: the manifest's entry, with the card that the bundle prints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from oahega_build.runs.artifacts import write_json
from oahega_edge.manifest import DetectorEntry, EmotionEntry

ENTRY = "entry.json"


def write_on_card(
    folder: Path, entry: DetectorEntry | EmotionEntry, figures: Mapping[str, float | int | str]
) -> None:
    """Add figures to the card of the entry in `folder`; those of the same name are replaced."""
    card = entry.card.model_copy(update={"metrics": {**entry.card.metrics, **figures}})
    write_json(folder / ENTRY, entry.model_copy(update={"card": card}).model_dump(mode="json"))

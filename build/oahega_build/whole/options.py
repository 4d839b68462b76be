"""What the command line of `all` asks for, beside the recipe."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oahega_edge.bundles.load import DEFAULT_BUNDLE


@dataclass(frozen=True, slots=True)
class Options:
    """Inputs, output and name of the bundle."""

    out: Path
    dataset: Path | None = None
    videos: Path | None = None
    """Instead of a dataset."""
    detectors: Path = Path(".")
    """Folder below which the files of detector plug-ins lie."""
    bundle: Path = DEFAULT_BUNDLE
    """Gives the detector unless `detection` is set."""
    detection: Path | None = None
    """Data for `label` and `train-detector`."""
    label_recipe: str = "label_shared"
    detector_recipe: str = "detector_default"
    start: Path | None = None
    """A bundle whose emotion model is fine-tuned on `dataset`."""
    key: Path | None = None
    """Private key to sign with."""
    name: str = "oahega-own"
    version: str = "0.1.0"
    workers: int = 1

"""Stage `detector`: the detector of a finished bundle in a run folder, as if it had been trained there."""

from __future__ import annotations

import shutil
from pathlib import Path

from oahega_build.runs.artifacts import open_run, write_json
from oahega_build.runs.entries import ENTRY
from oahega_edge.bundles.load import load_bundle


def take_detector(bundle: Path, artifacts_folder: Path, name: str) -> Path:
    """Copy the models with their entry. Returns the run's folder."""
    loaded = load_bundle(bundle)
    entry = loaded.manifest.detector
    with open_run(artifacts_folder, "detector", name, {"bundle": loaded.sha256}) as run:
        for model in (entry.cpu, entry.edgetpu):
            if model is not None:
                shutil.copyfile(loaded.file(model), run.folder / model.file)
        write_json(run.folder / ENTRY, entry.model_dump(mode="json"))
        run.write_metrics(entry.card.metrics)
    return run.finished

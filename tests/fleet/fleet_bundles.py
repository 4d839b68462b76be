"""Bundles to roll out: the embedded one under other versions, good and broken."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from oahega_edge.bundles.load import DEFAULT_BUNDLE, seal

NEWER, BAD, CONFUSED = "newer", "bad", "confused"
"""Good; its model does not give its golden values; it passes every test before the switch, and names each
expression wrongly."""


def make_bundles(folder: Path) -> Path:
    """Fill a folder with one bundle of each kind."""
    shutil.rmtree(folder, ignore_errors=True)
    manifests = {NEWER: ("97.1", _unchanged), BAD: ("97.2", _golden_of_another), CONFUSED: ("97.3", _rotated)}
    for name, (version, change) in manifests.items():
        manifest = json.loads((DEFAULT_BUNDLE / "manifest.json").read_text()) | {"version": version}
        change(manifest["emotion"])
        shutil.copytree(DEFAULT_BUNDLE, folder / name)
        (folder / name / "manifest.json").write_text(json.dumps(manifest))
        seal(folder / name)
    return folder


def _unchanged(emotion: dict[str, Any]) -> None:
    """Only the version is new."""


def _golden_of_another(emotion: dict[str, Any]) -> None:
    sample = emotion["golden"]["samples"][0]
    sample["value"] = [value - 100 for value in sample["value"]]


def _rotated(emotion: dict[str, Any]) -> None:
    first, *others = emotion["labels"]
    emotion["labels"] = [*others, first]

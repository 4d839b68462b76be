"""A complete bundle of the few-kB test models, made anew in a temporary folder."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from oahega_edge.bundles.load import golden_answer, seal
from oahega_edge.manifest import DetectorEntry, EmotionEntry
from oahega_edge.runtimes import open_model
from tiny import tiny

CARD = {
    "recipe": "test",
    "commit": "none",
    "created": "2026-01-01T00:00:00Z",
    "data": ["drawn"],
    "metrics": {},
}


def pending(role: str) -> dict[str, Any]:
    """Until the file itself has answered."""
    return {"seed": 1, "tolerance": 12, "samples": [{"role": role, "index": [0], "value": [0]}]}


def detector_entry() -> dict[str, Any]:
    model = tiny("tiny_detector")
    return {
        "cpu": _file(model.path, "detector.tflite"),
        "input": model.input.model_dump(mode="json"),
        "resize": {"kernel": "area", "fit": "letterbox", "pad": 114},
        "outputs": [o.model_dump(mode="json") for o in model.outputs],
        "labels": ["face", "person"],
        "decoder": {
            "levels": [
                {
                    "stride": 8,
                    "anchors": [
                        {"label": "face", "width": 12, "height": 14},
                        {"label": "person", "width": 12, "height": 30},
                    ],
                }
            ],
            "center_variance": 0.1,
            "size_variance": 0.2,
        },
        "suggested": {"score": {"face": 0.5, "person": 0.5}, "nms_iou": 0.5},
        "golden": pending("scores"),
        "card": CARD,
    }


def emotion_entry() -> dict[str, Any]:
    model = tiny("tiny_emotion")
    return {
        "cpu": _file(model.path, "emotion.tflite"),
        "input": model.input.model_dump(mode="json"),
        "crop": {"scale": 1.02, "kernel": "area"},
        "outputs": [o.model_dump(mode="json") for o in model.outputs],
        "labels": ["happy", "neutral", "sad"],
        "temperature": 1.0,
        "suggested": {"threshold": 0.6, "frames": 5},
        "golden": pending("logits"),
        "card": CARD,
    }


def make_bundle(folder: Path, **changes: Any) -> Path:
    """Write a bundle; `changes` replace keys of the manifest before it is sealed."""
    folder.mkdir(parents=True, exist_ok=True)
    entries = {"detector": detector_entry(), "emotion": emotion_entry()}
    for name, entry in entries.items():
        shutil.copy(tiny(f"tiny_{name}").path, folder / entry["cpu"]["file"])
        entry["golden"] = golden(name, entry)
    manifest = {
        "format_version": 1,
        "name": "tiny",
        "version": "1.0",
        "created": "2026-01-01T00:00:00Z",
        "terms": ["drawn by the tests"],
        **entries,
        **changes,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=1))
    seal(folder)
    return folder


def change(folder: Path, path: str, value: Any) -> None:
    """Set one key of a sealed manifest, `emotion.temperature`, and seal again."""
    file = folder / "manifest.json"
    manifest = json.loads(file.read_text())
    *parents, last = path.split(".")
    node = manifest
    for key in parents:
        node = node[key]
    node[last] = value
    file.write_text(json.dumps(manifest))
    seal(folder)


def golden(name: str, entry: dict[str, Any]) -> dict[str, Any]:
    kind = DetectorEntry if name == "detector" else EmotionEntry
    checked = kind.model_validate_json(json.dumps(entry))
    model = open_model(tiny(f"tiny_{name}").path, checked.outputs, checked.input)
    answer = golden_answer(checked, model, 1)
    model.close()
    samples = []
    for role, values in answer.items():
        index = np.linspace(0, values.size - 1, min(64, values.size)).astype(int)
        samples.append({"role": role, "index": index.tolist(), "value": values.reshape(-1)[index].tolist()})
    return {"seed": 1, "tolerance": 12, "samples": samples}


def _file(path: Path, name: str) -> dict[str, str]:
    return {"file": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}

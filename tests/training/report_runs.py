"""Finished runs of every stage, written by hand: what the report reads, without training anything."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from drawn_faces import LOOKS, OAHEGA_CLASSES, draw_face
from oahega_build.experiments import prune_plot, tune_plots
from oahega_build.labelling.contact_sheet import Tile, write_sheet
from oahega_edge.bundles.load import DEFAULT_BUNDLE

ENVIRONMENT = {
    "started": "2026-01-02T03:04:05Z",
    "commit": "0123456789ab",
    "python": "3.11.9",
    "machine": "x86_64",
    "cores": 2,
    "packages": {"tensorflow": "2.21.0", "keras": "3.15.1"},
}
LOG = [
    {
        "epoch": e,
        "training_loss": 2 / e,
        "loss": 1.8 / e,
        "accuracy": 1 - 0.8 / e,
        "balanced": 1 - 0.9 / e,
        "precision": 1 - 0.85 / e,
    }
    for e in range(1, 13)
]
TRAINED = {
    "held_out_accuracy": 0.8765,
    "held_out_balanced_accuracy": 0.8211,
    "held_out_ece": 0.0213,
    "held_out_accuracy_float": 0.8799,
    "bytes": 331_776,
}


def make_runs(artifacts: Path) -> Path:
    """`artifacts/<stage>/<run>` for every stage that the report shows."""
    rng = np.random.default_rng(5)
    _run(artifacts, "overview", "a", _overview())
    collected = _run(artifacts, "collect", "a", _collected())
    (collected / "sheets").mkdir()
    faces = [Tile(draw_face(LOOKS["happy"], 64, rng), f"{i:06d}-0") for i in range(14)]
    write_sheet(collected / "sheets" / "happy.png", faces)
    projected = _run(artifacts, "project", "a", _projected())
    write_sheet(projected / "suspicious.png", faces[:5])
    tune_plots._save(_scatter(rng), projected / "embeddings")
    searched = _run(artifacts, "tune", "a", _searched())
    tune_plots.draw_all(_trials(rng), json.loads((searched / "metrics.json").read_text()), searched)
    for stage, share in (("train-emotion", 0.0), ("distill", 0.7)):
        trained = _run(artifacts, stage, "student", TRAINED)
        recipe = {
            "trunk": {"width": 1},
            "hidden": [],
            "side": 48,
            "epochs": 12,
            "distil_share": share,
            "distil_temperature": 2.0,
        }
        (trained / "recipe.json").write_text(json.dumps(recipe))
        (trained / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in LOG))
    _run(artifacts, "teach", "a", _taught())
    _run(artifacts, "compare-distillation", "a", _students())
    _run(artifacts, "evaluate-emotion", "a", _evaluated(rng))
    _run(artifacts, "compare-emotion", "a", {"rows": _rivals()})
    _run(artifacts, "evaluate-elsewhere", "a", {"rows": _elsewhere()})
    pruned = _run(artifacts, "prune", "a", {"rows": _pruned()})
    prune_plot.draw(_pruned(), pruned)
    bundled = _run(artifacts, "bundle", "a", {"files": {"emotion.tflite": 331_776}, "public_key": None})
    shutil.copytree(DEFAULT_BUNDLE, bundled / "bundle")
    _run(artifacts, "evaluate-detector", "a", _detected())
    detector = _run(artifacts, "train-detector", "a", _trained_detector())
    history = [
        {"epoch": e, "at": "2026-01-02T03:04:05Z", "score_loss": 0.5 / e, "box_loss": 1.5 / e} for e in (1, 2)
    ]
    (detector / "history.jsonl").write_text("".join(json.dumps(line) + "\n" for line in history))
    _run(artifacts, "evaluate-video", "a", _decided())
    _run(artifacts, "bench", "a", BENCHED)
    return artifacts


BENCHED = {
    "device": "Somebody's board",
    "models": [{"model": "emotion", "accelerator": "cpu", "threads": 2, "p50_ms": 0.1234}],
}
SEEDS = (1, 2, 3)


def _taught() -> dict[str, Any]:
    ways = (("new last layer", 0.931, 2.1), ("last block", 0.944, 31.0))
    rows = [
        {
            "way": way,
            "balanced_accuracy": {"value": value, "low": value - 0.02, "high": value + 0.02},
            "seconds": s,
        }
        for way, value, s in ways
    ]
    return {"rows": rows, "chosen": "new last layer", "untried": ""}


def _students() -> dict[str, Any]:
    def row(*accuracies: float) -> dict[str, Any]:
        mean = {"of_each": list(accuracies), "mean": sum(accuracies) / 3, "deviation": 0.002}
        return {"accuracy": mean, "balanced_accuracy": mean, "ece": mean}

    def group(share: float) -> dict[str, Any]:
        return {
            "runs": [f"stage/{n}" for n in SEEDS],
            "seeds": list(SEEDS),
            "epochs": 12,
            "temperature": 2.0 if share else None,
            "share": share,
            "bytes": [331_776] * 3,
        }

    logs = [[{**line, "accuracy": line["accuracy"] - seed / 100} for line in LOG] for seed in SEEDS]
    return {
        "groups": {"alone": group(0.0), "taught": group(0.7)},
        "curves": {"alone": logs, "taught": logs},
        "parts": {
            "valid": {
                "pictures": 1675,
                "groups": {"alone": row(0.861, 0.862, 0.863), "taught": row(0.8768, 0.879, 0.881)},
                "differences": [
                    {
                        "taught": "taught",
                        "alone": "alone",
                        "also_differ_in": [],
                        "paired_seeds": True,
                        "accuracy": {"value": 0.0168, "low": 0.0097, "high": 0.0243},
                        "balanced_accuracy": {"value": 0.019, "low": 0.008, "high": 0.031},
                    }
                ],
            }
        },
    }


def _rivals() -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "accuracy": {"value": value, "low": value - 0.02, "high": value + 0.02},
            "summary": {"balanced_accuracy": value - 0.01, "ece": 0.02},
            "bytes": 331_776,
            "milliseconds": milliseconds,
            "multiply_adds": None if milliseconds is None else 45_500_000,
        }
        for name, value, milliseconds in (("mini-xception", 0.744, None), ("student", 0.887, 0.19))
    ]


def _elsewhere() -> list[dict[str, Any]]:
    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.03, "high": value + 0.03}

    clear = {"source": "web/report", "pictures": 900, "not_found": 12, "answered": 0.96, "precision": 0.534}
    unclear = {"source": "rest/valid", "model": "student", "pictures": 629, "without_label": 89}
    return [
        {**clear, "model": name, "balanced": interval(value), "accuracy": interval(value + 0.02), "ece": 0.37}
        for name, value in (("student", 0.502), ("face-api.js", 0.544))
    ] + [{**unclear, "cross_entropy": 1.53, "entropy": 0.79, "surely_answered": interval(0.562)}]


def _detected() -> dict[str, Any]:
    def found(least: float) -> dict[str, Any]:
        own = {"AP50": least, "precision": 0.97, "recall": 0.91, "recall_at_0.1_false_alarms": 0.93}
        return own | {
            "false_alarms_per_picture": 0.02,
            "recall_by_height": {"under 5 %": {"recall": 0.125, "things": 32}},
            "by_set": {"animals": {"AP50": float("nan")}, "street": {"AP50": least - 0.1}},
        }

    rival = {"face": {"AP50": 0.97, "recall_at_0.1_false_alarms": 0.96, "by_set": found(0.97)["by_set"]}}
    return {
        "detector": {"face": found(0.953), "person": found(0.854)},
        "rivals": {"yunet": rival},
        "speed_ms": {"detector model": 3.66, "yunet": 6.13},
    }


def _trained_detector() -> dict[str, Any]:
    row = {"AP50": 0.94, "precision": 0.96, "recall": 0.89, "recall_at_0.1_false_alarms": 0.91}
    return {"steps": 4800, "bytes": 1_280_864, "held_int8": {"face": row}, "held_float": {"face": row}}


def _decided() -> dict[str, Any]:
    figures = {"frame_accuracy": 0.67, "event_f1": 0.44, "flips_per_minute": 22.6, "false_per_minute": 2.4}
    return {
        "sequences": {"sequences": 12, "seconds": 240.0, "people": 24},
        "true_flips_per_minute": 16.4,
        "rows": [
            {
                "name": name,
                "level": "all",
                "figures": figures | {"onset_s": onset},
                "clip_flips_per_minute": None,
            }
            for name, onset in (("ours", 0.4), ("always neutral", float("inf")))
        ],
    }


def _run(artifacts: Path, stage: str, name: str, metrics: Any) -> Path:
    folder = artifacts / stage / name
    folder.mkdir(parents=True)
    (folder / "metrics.json").write_text(json.dumps(metrics))
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT))
    return folder


def _overview() -> dict[str, Any]:
    return {
        "labels": list(OAHEGA_CLASSES),
        "counts": {"train": [210, 1403, 2511, 2498, 2377, 1290], "valid": [31, 204, 430, 411, 400, 199]},
        "smallest": [40, 40],
        "largest": [512, 480],
        "near_duplicates": 37,
        "crossing": 0,
        "problems": ["angry/broken.jpg is not a picture that can be read: skipped"],
    }


def _collected() -> dict[str, Any]:
    return {
        "frames": 1201,
        "faces": {"happy": 312, "sad": 207},
        "groups": 17,
        "left_out": {"near-copy of one taken": 411, "too small": 23},
    }


def _projected() -> dict[str, Any]:
    agreement = {label: 0.9 - 0.05 * i for i, label in enumerate(OAHEGA_CLASSES)}
    return {
        "model": "mobilenet_v1",
        "pictures": 400,
        "neighbours": 10,
        "agreement": agreement,
        "suspicious": 5,
    }


def _scatter(rng: np.random.Generator) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 6))
    figure.subplots().scatter(*rng.normal(size=(2, 200)))
    return figure


def _classes(shift: float) -> dict[str, Any]:
    return {
        label: {"pictures": 100, "precision": [0.7 + shift + i / 40, 0.65 + shift, 0.9 + shift]}
        for i, label in enumerate(OAHEGA_CLASSES)
    }


def _searched() -> dict[str, Any]:
    rows = [{"trial": n, "value": 0.5 + n / 50, "classes": _classes(-n / 100)} for n in range(5)]
    return {
        "objective": "loss",
        "trials": 10,
        "pruned": 2,
        "table_1": rows,
        "best": {
            "number": 0,
            "value": 0.5,
            "params": {"batch": 48, "learning_rate": 3.32e-4, "dropout": 0.447},
        },
        "importance": {"learning_rate": 0.5, "dropout": 0.3, "batch": 0.2},
    }


def _trials(rng: np.random.Generator) -> list[dict[str, Any]]:
    return [
        {
            "number": n,
            "state": "PRUNED" if n in (6, 8) else "COMPLETE",
            "value": None if n in (6, 8) else 0.5 + n / 50,
            "params": {
                "learning_rate": float(10 ** rng.uniform(-5, -3)),
                "dropout": float(rng.uniform(0.1, 0.8)),
                "l2": float(10 ** rng.uniform(-3, 0)),
                "batch": int(rng.integers(4, 11) * 8),
                "class_weights_mu": float(rng.uniform(0.01, 1)),
                "dense": int(rng.integers(1, 4)),
                "epochs": int(rng.integers(50, 100)),
                "fine_tuned": 5,
            },
            "log": [{**line, "precision": line["precision"] - n / 40} for line in LOG],
        }
        for n in range(10)
    ]


def _evaluated(rng: np.random.Generator) -> dict[str, Any]:
    def interval(value: float) -> dict[str, float]:
        return {"value": value, "low": value - 0.03, "high": value + 0.02}

    confusion = rng.integers(0, 9, (6, 6)) + np.diag(rng.integers(60, 120, 6))
    return {
        "model": "student",
        "sha256": "0" * 64,
        "bytes": 331_776,
        "pictures": 1675,
        "labels": list(OAHEGA_CLASSES),
        "summary": {
            "accuracy": 0.8421,
            "balanced_accuracy": 0.8317,
            "ece": 0.0244,
            "precision_at_80_coverage": 0.9312,
        },
        "accuracy": interval(0.8421),
        "table_1": {
            label: {
                "pictures": 31 + 50 * i,
                "precision": interval(0.8),
                "recall": interval(0.79),
                "f1": interval(0.795),
            }
            for i, label in enumerate(OAHEGA_CLASSES)
        },
        "confusion": confusion.tolist(),
        "risk_coverage": [
            {"coverage": c, "threshold": 1 - 0.6 * c, "precision": 1 - 0.15 * c}
            for c in (0.2, 0.4, 0.6, 0.8, 0.9, 1.0)
        ],
        "accuracy_by_face_size": {"48": 0.84, "32": 0.83, "24": 0.8, "16": 0.7},
        "accuracy_under": {"blur": 0.82, "dark": 0.83, "noise": 0.8, "rotated-20": 0.79},
    }


def _pruned() -> list[dict[str, Any]]:
    kinds = (
        ("float32", "float"),
        ("int8", "quantized"),
        ("zeros-50", "magnitude"),
        ("channels-75", "channels"),
    )
    return [
        {
            "name": name,
            "kind": kind,
            "bytes": 1_400_000 // (i + 1),
            "packed_bytes": 1_200_000 // (i + 1),
            "milliseconds": 0.4 / (i + 1),
            "held_out_accuracy": 0.86 - i / 100,
        }
        for i, (name, kind) in enumerate(kinds)
    ]

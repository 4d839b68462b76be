"""Prints pictures per second of `label` with one and two processes and on Ray, in one table.

Run it on an idle machine: python tests/training/bench_label.py [pictures per set, default 100]
Shards are independent, so n machines label n times as fast until the disk that they read from is the limit.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from oahega_build import cluster
from oahega_build import label as stage
from oahega_build.recipes.label_shared import RECIPE

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def measured(name: str, make: Callable[[Path], Path]) -> str:
    """A row of the table; start-up of processes and of Ray is part of the time."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        made = make(Path(folder))
        seconds = time.perf_counter() - started
        metrics = json.loads((made / "metrics.json").read_text())
    pictures = sum(metrics[split]["pictures"] for split in stage.SPLITS)
    return f"{name:<14}{pictures:>9}{seconds:>10.1f}{pictures / seconds:>14.2f}"


def on_ray(recipe: stage.LabelRecipe, folder: Path) -> Path:
    """A Ray of this machine with two workers."""
    with cluster.connected(cluster.LOCAL, workers=2) as spread:
        return cluster.label(recipe, SHARED, folder, "bench", spread)


def main() -> None:
    """Label the same pictures three times."""
    recipe = dataclasses.replace(RECIPE, limit=int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    rows = [
        measured("1 process", lambda folder: stage.label(recipe, SHARED, folder, "bench", 1)),
        measured("2 processes", lambda folder: stage.label(recipe, SHARED, folder, "bench", 2)),
        measured("Ray, 2 workers", lambda folder: on_ray(recipe, folder)),
    ]
    print(f"{'':<14}{'pictures':>9}{'seconds':>10}{'pictures/s':>14}")
    print("\n".join(rows))


if __name__ == "__main__":
    main()

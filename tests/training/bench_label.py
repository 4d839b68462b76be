"""Prints pictures per second of `label` with one and with two processes, in one table.

Run it on an idle machine: python tests/training/bench_label.py [pictures per set, default 100]
On a busy one the core milliseconds per picture say more than the clock does. How it grows with more cores
stands in docs/training.md.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from oahega_build.labelling import label as stage
from oahega_build.recipes.label_shared import RECIPE

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def measured(name: str, make: Callable[[Path], Path]) -> str:
    """A row of the table; start-up of processes is part of the time."""
    with tempfile.TemporaryDirectory() as folder:
        started, cores = time.perf_counter(), core_seconds()
        made = make(Path(folder))
        seconds, cores = time.perf_counter() - started, core_seconds() - cores
        metrics = json.loads((made / "metrics.json").read_text())
    pictures = sum(metrics[split]["pictures"] for split in stage.SPLITS)
    return (
        f"{name:<14}{pictures:>9}{seconds:>10.1f}{pictures / seconds:>12.2f}{1e3 * cores / pictures:>17.0f}"
    )


def core_seconds() -> float:
    """User and system time of this process and of its children that have ended, theirs included."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(part.ru_utime + part.ru_stime for part in used)


def main() -> None:
    """Label the same pictures twice."""
    recipe = dataclasses.replace(RECIPE, limit=int(sys.argv[1]) if len(sys.argv) > 1 else 100)
    rows = [
        measured("1 process", lambda folder: stage.label(recipe, SHARED, folder, "bench", 1)),
        measured("2 processes", lambda folder: stage.label(recipe, SHARED, folder, "bench", 2)),
    ]
    print(f"{'':<14}{'pictures':>9}{'seconds':>10}{'pictures/s':>12}{'core ms/picture':>17}")
    print("\n".join(rows))
    print("load", *(f"{value:.1f}" for value in os.getloadavg()))


if __name__ == "__main__":
    main()

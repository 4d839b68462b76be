"""Prints by how much each promise of a trained network holds, over seeds and kernels.

Run it as: python tests/training/portable.py [seeds, default 5] [tests, default all]
For each seed the tests marked `seeded` run on the fastest kernels and on plain ones (portability.py).
Exit code 1 when any of them fails.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from math import nan
from pathlib import Path
from typing import Any

KERNELS = ("fast", "plain")
Promise = tuple[str, str, float, int]
Values = dict[str, list[float]]


def round_of(seed: int, kernels: str, tests: list[str]) -> tuple[bool, list[dict[str, Any]]]:
    """Whether all passed, and the lines that they recorded."""
    with tempfile.TemporaryDirectory() as folder:
        record = Path(folder) / "margins"
        record.touch()
        environment = os.environ | {
            "OAHEGA_TEST_SEED": str(seed),
            "OAHEGA_TEST_KERNELS": kernels,
            "OAHEGA_TEST_MARGINS": str(record),
        }
        command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadscope"]
        command += ["-m", "seeded and not long", *tests]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        lines = [json.loads(line) for line in record.read_text().splitlines()]
    if done.returncode:
        print(done.stdout)
    print(f"seed {seed}, {kernels} kernels: {done.stdout.strip().splitlines()[-1]}", flush=True)
    return done.returncode == 0, lines


def table(found: dict[Promise, Values]) -> str:
    """A row per promise: the limit, and the worst value on each kind of kernels."""
    rows = [f"{'':<90}{'limit':>9}{'fast':>9}{'plain':>9}{'times':>7}"]
    for (test, what, limit, sign), values in sorted(found.items()):
        worst = "".join(f"{sign * min((sign * v for v in values[k]), default=nan):>9.3g}" for k in KERNELS)
        row = f"{test.removeprefix('test_')}: {what} {'>=' if sign > 0 else '<='}"
        rows.append(f"{row:<90}{limit:>9.3g}{worst}{sum(map(len, values.values())):>7}")
    return "\n".join(rows)


def main() -> None:
    """Run the rounds and print the table."""
    seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 5
    tests = sys.argv[2:] or [str(Path(__file__).parent)]
    found: dict[Promise, Values] = defaultdict(lambda: {kernels: [] for kernels in KERNELS})
    sound = True
    for seed in range(1, seeds + 1):
        for kernels in KERNELS:
            passed, lines = round_of(seed, kernels, tests)
            sound = sound and passed
            for line in lines:
                promise = (line["test"], line["what"], line["limit"], line["sign"])
                found[promise][kernels].append(line["value"])
    print(table(found))
    sys.exit(0 if sound else 1)


if __name__ == "__main__":
    main()

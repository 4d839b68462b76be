"""Prints how long `all --recipe quick` takes on drawn faces in six classes, again, and killed five times.

Run it on an idle machine: python tests/training/bench_all.py [pictures per class, default 120]
Core seconds are told beside the clock's, because they hardly grow when somebody else uses the cores.
The killed run dies at five random moments (seed in the output) and must give the same bundle byte for byte.
"""

from __future__ import annotations

import hashlib
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drawn_faces import draw_dataset

KILLS = 5
SEED = 8
# Otherwise two bundles differ in the moment at which they were made.
ENVIRONMENT = os.environ | {"SOURCE_DATE_EPOCH": "1700000000", "PYTHONUNBUFFERED": "1"}


def core_seconds() -> float:
    """User and system time of all ended children."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def timed(name: str, command: list[str]) -> float:
    """Run it, print a line about it; seconds by the clock."""
    started, cores = time.perf_counter(), core_seconds()
    subprocess.run(command, check=True, env=ENVIRONMENT)
    seconds = time.perf_counter() - started
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"{name}: {seconds:.0f} s, {core_seconds() - cores:.0f} core seconds; load {load}", flush=True)
    return seconds


def killed_after(seconds: float, command: list[str]) -> bool:
    """Start it and kill it with all its children; False when it had ended before."""
    process = subprocess.Popen(command, env=ENVIRONMENT, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return True
    return False


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file."""
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())}


def main() -> None:
    """Once, once more, and killed and resumed."""
    per_class = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    moments = random.Random(SEED)
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        data, key = draw_dataset(folder / "six", per_class), folder / "key"
        subprocess.run([sys.executable, "-m", "oahega_build", "keygen", str(key)], check=True)

        def into(out: str) -> list[str]:
            called = [sys.executable, "-m", "oahega_build", "all", "--recipe", "quick", "--key", str(key)]
            return [*called, "--dataset", str(data), "--out", str(folder / out)]

        whole = timed("first call", into("out"))
        timed("nothing to do", into("out"))
        print(f"kills at random moments, seed {SEED}")
        for number in range(1, KILLS + 1):
            after = moments.uniform(0.05, 0.35) * whole
            died = killed_after(after, into("killed"))
            print(f"kill {number} after {after:.0f} s: {'killed' if died else 'had ended'}", flush=True)
        timed("resumed", into("killed"))
        same = contents(folder / "out" / "bundle") == contents(folder / "killed" / "bundle")
        print(f"the same bundle byte for byte: {same}")
        if not same:
            sys.exit(1)


if __name__ == "__main__":
    main()

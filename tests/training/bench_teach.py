"""Prints what `teach` takes in time and memory for 5, 10, 20 and 60 pictures of each of three classes.

Run it as: python tests/training/bench_teach.py [PYTHON] [FACES]
PYTHON: the interpreter of an environment with the extra `teach` (and without TensorFlow, as on a device); by
default this one, without the comparison that needs TensorFlow. FACES: a folder per class of face crops, by
default FER+ in ../shared. A line is one run of the verb in a process of its own, imports included. CPU: the
seconds of all its threads, which other work on the machine hardly changes.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
CLASSES = ("happy", "neutral", "surprise")
COUNTS = (5, 10, 20, 60)


def drawn(faces: Path, count: int, into: Path) -> None:
    """`count` pictures of each class, every k-th of the folder."""
    for label in CLASSES:
        (into / label).mkdir(parents=True)
        found = sorted(path for path in (faces / label).rglob("*") if path.is_file())
        for path in itertools.islice(found, 0, None, max(1, len(found) // count)):
            if len(list((into / label).iterdir())) < count:
                shutil.copy(path, into / label)


def taken(command: list[str]) -> tuple[float, float, float, str]:
    """Seconds, those of the processors, peak megabytes and the first line that the command prints."""
    began = time.monotonic()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read()
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):
        raise SystemExit(said)
    first = next(line for line in said.splitlines() if line.startswith("balanced accuracy"))
    return time.monotonic() - began, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024, first


def main() -> None:
    python = sys.argv[1] if len(sys.argv) > 1 else sys.executable
    faces = Path(sys.argv[2]) if len(sys.argv) > 2 else SHARED / "emotion" / "ferplus" / "train"
    print(f"{'pictures':>9}{'seconds':>9}{'CPU':>7}{'MB':>6}  first line")
    for count in COUNTS:
        with tempfile.TemporaryDirectory() as folder:
            drawn(faces, count, Path(folder) / "faces")
            command = [python, "-m", "oahega_build", "teach", "--pictures", f"{folder}/faces"]
            seconds, busy, peak, line = taken(
                [*command, "--out", f"{folder}/bundle", "--head-only", "--anyway"]
            )
        print(f"3 x {count:>5}{seconds:>9.1f}{busy:>7.1f}{peak:>6.0f}  {line}", flush=True)


if __name__ == "__main__":
    main()

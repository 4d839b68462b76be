"""Prints how long `all --recipe quick` takes on drawn faces in six classes, and how long with nothing to do.

Run it on an idle machine: python tests/training/bench_all.py [pictures per class, default 120]
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from drawn_faces import draw_dataset


def main() -> None:
    """Twice the same command."""
    per_class = int(sys.argv[1]) if len(sys.argv) > 1 else 120
    with tempfile.TemporaryDirectory() as folder:
        data = draw_dataset(Path(folder) / "six", per_class)
        command = [sys.executable, "-m", "oahega_build", "all", "--recipe", "quick"]
        command += ["--dataset", str(data), "--out", str(Path(folder) / "out")]
        for name in ("first call", "nothing to do"):
            started = time.perf_counter()
            subprocess.run(command, check=True)
            print(f"{name}: {time.perf_counter() - started:.0f} s")


if __name__ == "__main__":
    main()

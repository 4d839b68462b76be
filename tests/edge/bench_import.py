"""How long the import of the `Reader` and the first picture take: `python tests/edge/bench_import.py`."""

from __future__ import annotations

import subprocess
import sys

RUNS = 7
IMPORT = "import oahega_edge"
READER = "from oahega_edge import Reader"
MADE = "from oahega_edge import Reader; Reader()"
NUMPY = "import numpy as np; picture = np.zeros((480, 640, 3), np.uint8)"
READ = f"{NUMPY}; from oahega_edge import Reader; Reader().read(picture)"


def seconds(statement: str) -> float:
    """Least wall time of one statement in a new interpreter, over some runs."""
    script = f"import time; t = time.perf_counter(); {statement}; print(time.perf_counter() - t)"
    runs = (subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(RUNS))
    return min(float(text.splitlines()[-1]) for text in runs)


if __name__ == "__main__":
    for statement in (IMPORT, READER, MADE, READ):
        print(f"{seconds(statement):6.3f} s  {statement}")

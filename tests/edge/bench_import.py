"""How long the import of the `Reader` and the first picture take: `python tests/edge/bench_import.py`.

Processor time beside wall time, because the latter says little on a machine that does something else as well.
"""

from __future__ import annotations

import subprocess
import sys

RUNS = 5
NUMPY = "import numpy as np; picture = np.zeros((480, 640, 3), np.uint8)"
STATEMENTS = (
    "import oahega_edge",
    "from oahega_edge import Reader",
    "from oahega_edge import Reader; Reader()",
    f"{NUMPY}; from oahega_edge import Reader; Reader().read(picture)",
)


def seconds(statement: str) -> tuple[float, float]:
    """Least processor and wall time of one statement in a new interpreter, over some runs."""
    script = (
        "import time; p, w = time.process_time(), time.perf_counter()\n"
        f"{statement}\n"
        "print(time.process_time() - p, time.perf_counter() - w)"
    )
    runs = (subprocess.check_output([sys.executable, "-c", script], text=True) for _ in range(RUNS))
    processor, wall = zip(*(map(float, text.splitlines()[-1].split()) for text in runs), strict=True)
    return min(processor), min(wall)


if __name__ == "__main__":
    print("processor   wall")
    for statement in STATEMENTS:
        processor, wall = seconds(statement)
        print(f"{processor:7.3f} s {wall:6.3f} s  {statement}")

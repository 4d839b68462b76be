"""What a process of its own costs a camera: `python tests/edge/bench_capture.py`.

For each size: milliseconds of `read` when a frame is ready, fastest tenth, in this process and apart.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path[:0] = [str(Path(__file__).resolve().parents[1])]

from network_camera import HttpCamera  # noqa: E402
from oahega_edge.cameras.apart import ApartCamera  # noqa: E402
from oahega_edge.cameras.opencv import OpenCvCamera  # noqa: E402

FRAMES = 60
PAUSE_S = 0.1
"""Between two reads, so that a new frame is ready."""


def main() -> None:
    """A line for each size."""
    for width, height in ((640, 480), (1280, 720), (1920, 1080)):
        picture = np.random.default_rng(0).integers(0, 255, (height // 8, width // 8, 3), np.uint8)
        picture = picture.repeat(8, axis=0).repeat(8, axis=1)
        with HttpCamera(lambda i, picture=picture: picture, fps=15) as device:
            here, apart = (_milliseconds(kind(device.url)) for kind in (OpenCvCamera, ApartCamera))
        print(f"{width} x {height}: {here:.2f} ms here, {apart:.2f} ms apart")


def _milliseconds(camera: OpenCvCamera | ApartCamera) -> float:
    taken = []
    with camera:
        camera.read(5)
        for _ in range(FRAMES):
            time.sleep(PAUSE_S)
            began = time.perf_counter()
            camera.read(5)
            taken.append(1000 * (time.perf_counter() - began))
    return statistics.quantiles(taken, n=10)[0]


if __name__ == "__main__":
    main()

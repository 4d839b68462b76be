"""A real video without anything in it."""

from pathlib import Path

import cv2
import numpy as np


def make_clip(path: Path) -> Path:
    """Two seconds of moving noise, 320x240 at 15 frames a second."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (320, 240))
    noise = np.random.default_rng(0).integers(0, 256, (240, 360, 3), np.uint8)
    for i in range(30):
        writer.write(np.ascontiguousarray(noise[:, i : i + 320]))
    writer.release()
    return path

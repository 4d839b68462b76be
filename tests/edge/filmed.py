"""A drawn scene, and files that show it."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import EndOfSource
from waiting import PATIENCE, patiently

LENGTH = 6


RED, BLUE = (200, 30, 10), (10, 30, 200)


def scene(i: int) -> np.ndarray:
    """96x64: left red, right blue, and a grey stripe on top that changes with the frame.

    A dark line at the bottom makes it a whole picture: a torn one has equal rows there.
    """
    picture = np.empty((64, 96, 3), np.uint8)
    picture[:, :48], picture[:, 48:] = RED, BLUE
    picture[:16] = 40 + 30 * (i % LENGTH)
    picture[-3:] = 20
    return picture


def bgr(rgb: np.ndarray) -> np.ndarray:
    return rgb[:, :, ::-1]


def write_video(path: Path, fourcc: str, fps: float = 10, length: int = LENGTH) -> Path:
    writer = cv2.VideoWriter(str(path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*fourcc), fps, (96, 64))
    assert writer.isOpened()
    for i in range(length):
        writer.write(bgr(scene(i)))
    writer.release()
    return path


def write_gif(path: Path, durations_ms: list[int]) -> Path:
    first, *rest = [Image.fromarray(scene(i)) for i in range(len(durations_ms))]
    first.save(path, save_all=True, append_images=rest, duration=durations_ms, loop=0)
    return path


def read_all(camera: Camera, timeout: float = PATIENCE) -> list[Frame]:
    frames = []
    with contextlib.suppress(EndOfSource):
        for _ in patiently():
            frames.append(camera.read(timeout))
    return frames

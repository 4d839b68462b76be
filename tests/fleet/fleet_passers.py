"""A clip of people who pass by: six faces for two seconds, then nobody for two seconds."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from oahega_edge.chain.frame import Pixels
from oahega_edge.tools.demo_clip import Portrait, load_portraits

COLUMNS, ROWS = 3, 2
WIDTH, HEIGHT = 640 // COLUMNS, 480 // ROWS
"""Pixels of a part of the picture."""
FACE_PX = 100
SECONDS = 2


def write_passers_by(path: Path, fps: int = 3) -> Path:
    """Write the clip as MJPG (.avi)."""
    wall = np.full((480, 640, 3), 110, np.uint8)
    people = wall.copy()
    parts = [_part(portrait) for portrait in load_portraits()]
    for number in range(COLUMNS * ROWS):
        row, column = divmod(number, COLUMNS)
        part = parts[number % 2] if number < COLUMNS else parts[number % 2][:, ::-1]
        people[row * HEIGHT :, column * WIDTH :][:HEIGHT, :WIDTH] = part
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (640, 480))
    for picture in [people] * SECONDS * fps + [wall] * SECONDS * fps:
        writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
    writer.release()
    return path


def _part(portrait: Portrait) -> Pixels:
    """The portrait with its face in the middle of a part of the picture."""
    scale = FACE_PX / portrait.face_height
    middle = portrait.face_x * scale, portrait.face_y * scale
    shift = np.array([[scale, 0, WIDTH / 2 - middle[0]], [0, scale, HEIGHT / 2 - middle[1]]])
    moved = cv2.warpAffine(portrait.pixels, shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)

"""A picture as people have it: from a file, a folder or bytes, in any usual format, as RGB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge import decoding, files
from oahega_edge.cameras.capture import as_rgb
from oahega_edge.cameras.pictures import natural
from oahega_edge.cameras.video import VideoFile
from oahega_edge.chain.frame import Pixels
from oahega_edge.decoding import LARGEST_PICTURE
from oahega_edge.endings import ending, is_picture, is_video
from oahega_edge.errors import CameraError, EndOfSource, plain

PAPER = 255
"""What shows through transparent parts: white, as in a browser."""


def pictures_of(path: Path) -> list[Path]:
    """A file by itself; of a folder, the pictures and GIFs directly in it, in the order of their numbers.

    CameraError when there is nothing there.
    """
    try:
        if not path.is_dir():
            path.stat()
            return [path]
        inside = sorted((file for file in path.iterdir() if _is_readable(file)), key=natural)
    except (OSError, ValueError) as error:
        raise CameraError(
            f"{plain(path)} cannot be read: {_reason(error)}; name a picture or a folder"
        ) from error
    if not inside:
        raise CameraError(f"folder {plain(path)} holds no picture; name one that does, or a picture")
    return inside


def _is_readable(file: Path) -> bool:
    return (is_picture(file) or ending(file) == ".gif") and file.is_file()


def read_file(path: Path) -> Pixels:
    """The picture in a file as RGB, turned as its EXIF says. CameraError when it cannot be read."""
    if is_video(path) and ending(path) != ".gif":
        raise CameraError(f"{plain(path)} is a video; `oahega-edge replay` and `Reader.follow` read videos")
    try:
        data = files.read_file(path, LARGEST_PICTURE)
    except OSError as error:
        raise CameraError(
            f"picture {plain(path)} cannot be read: {_reason(error)}; name a picture"
        ) from error
    return decode(data, plain(path))


def decode(data: bytes, name: str) -> Pixels:
    """An encoded picture as RGB, of an animation the first frame; `name` stands in the error."""
    if not data:
        raise CameraError(f"picture {name} is empty (0 bytes); copy it again")
    if len(data) > LARGEST_PICTURE:
        raise CameraError(f"picture {name} is larger than {LARGEST_PICTURE >> 20} MiB; make it smaller")
    pixels = _first_of_gif(data) if data.startswith(b"GIF8") else _decoded(data)
    if pixels is None:
        raise CameraError(
            f"picture {name} cannot be decoded: cut off, or in a format that OpenCV does not read; "
            "save it as JPEG or PNG"
        )
    return pixels


def _decoded(data: bytes) -> Pixels | None:
    bgr = decoding.decode(data)
    if bgr is None:
        return None
    stored = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    pixels = as_rgb(bgr)
    if stored is None or stored.ndim < 3 or stored.shape[2] < 4:
        return pixels
    return _on_paper(pixels, decoding.turned(stored[..., 3], decoding.orientation_of(data)))


def _on_paper(pixels: Pixels, opacity: NDArray[Any]) -> Pixels:
    """The picture on white. Under transparent parts it may hold anything, often black."""
    share = opacity[..., np.newaxis] / np.iinfo(opacity.dtype).max
    return np.asarray(np.rint(pixels * share + PAPER * (1 - share)), np.uint8)


def _first_of_gif(data: bytes) -> Pixels | None:
    """By FFmpeg, as for animations: OpenCV itself reads GIF from 4.11 on only."""
    try:
        with files.in_memory(data) as path, VideoFile(path) as clip:
            return clip.read(0).pixels
    except (CameraError, EndOfSource):
        return None


def _reason(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or plain(error)

"""A picture's bytes as pixels, upright in every format, and the frames of animations.

OpenCV turns JPEG, PNG and TIFF as their EXIF says. It leaves WebP and AVIF as they are stored, so these are
turned here.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from oahega_edge.files import in_memory, open_file

Array = NDArray[np.uint8]

LARGEST_PICTURE = 256 << 20
"""Bytes of one picture; the largest photographs have about half of it."""
ORIENTATION_TAG = 0x112
CHUNK = 32
"""Frames of an animation that are decoded at once: all would fill the memory, one by one takes long."""


def decode(data: bytes) -> Array | None:
    """An encoded picture as BGR (height, width, 3), upright; None when it cannot be decoded."""
    encoded = np.frombuffer(data, np.uint8)
    try:
        bgr = cv2.imdecode(encoded, cv2.IMREAD_COLOR) if data else None
        if bgr is None or not _is_left_as_stored(data):
            return None if bgr is None else np.asarray(bgr, np.uint8)
        stored = cv2.imdecode(encoded, cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    except cv2.error:  # absurd dimensions
        return None
    upright = np.asarray(bgr, np.uint8)
    # Another release of OpenCV may turn it.
    if stored is None or not np.array_equal(upright, np.asarray(stored)):
        return upright
    return turned(upright, orientation_of(data))


def _is_left_as_stored(data: bytes) -> bool:
    return orientation_of(data) != 1 and (data[8:12] == b"WEBP" or data[4:8] == b"ftyp")


def turned(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Stored pixels (height, width, ...) as they are to be shown; `orientation` as in EXIF, 1 to 8."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def turned_point(x: float, y: float, orientation: int) -> tuple[float, float]:
    """Where a point of the stored picture lies in the turned one, both in unit coordinates."""
    if orientation >= 5:
        x, y = y, x
    return 1 - x if orientation in (2, 3, 6, 7) else x, 1 - y if orientation in (3, 4, 7, 8) else y


def orientation_of(data: bytes) -> int:
    """How the stored picture is to be turned, 1 (not at all) to 8 as in EXIF, whatever the format."""
    if data[4:8] == b"ftyp":
        return _of_heif(data[:4096])
    orientation = _of_tiff(_exif(data))
    return orientation if 1 <= orientation <= 8 else 1


def _exif(data: bytes) -> bytes:
    """The TIFF structure with the metadata of JPEG, PNG, WebP and TIFF; empty when there is none."""
    if data[:4] in (b"II*\0", b"MM\0*"):
        return data
    blocks: Iterator[tuple[bytes, bytes]] = iter(())
    if data.startswith(b"\xff\xd8"):
        blocks = _segments(data)
    elif data.startswith(b"\x89PNG"):
        blocks = _chunks(data, 8, "big", trailer=4)
    elif data[8:12] == b"WEBP":
        blocks = _chunks(data, 12, "little")
    for name, content in blocks:
        if name in (b"eXIf", b"EXIF") or (name == b"\xe1" and content.startswith(b"Exif\0\0")):
            return content.removeprefix(b"Exif\0\0")
    return b""


def _segments(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """JPEG, ISO 10918-1, B.1.1.4: marker, length with itself, content; up to the scan."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        yield data[at + 1 : at + 2], data[at + 4 : at + 2 + length]
        at += 2 + max(length, 2)


def _chunks(data: bytes, at: int, order: Any, trailer: int = 0) -> Iterator[tuple[bytes, bytes]]:
    """PNG (length, name, content, checksum) and RIFF (name, length, content to an even length)."""
    is_riff = order == "little"
    while at + 8 <= len(data):
        first, second = data[at : at + 4], data[at + 4 : at + 8]
        name, length = (first, second) if is_riff else (second, first)
        size = int.from_bytes(length, order)
        yield name, data[at + 8 : at + 8 + size]
        at += 8 + size + (size % 2 if is_riff else trailer)


def _of_tiff(data: bytes) -> int:
    """TIFF 6.0, section 2: the tag in the first directory; 1 when it is absent."""
    if data[:2] not in (b"II", b"MM"):
        return 1
    order: Any = "little" if data[:2] == b"II" else "big"
    at = int.from_bytes(data[4:8], order)
    for entry in range(int.from_bytes(data[at : at + 2], order)):
        field = data[at + 2 + 12 * entry :][:12]
        if len(field) < 12:
            break
        if int.from_bytes(field[:2], order) == ORIENTATION_TAG:
            return int.from_bytes(field[8:10], order)
    return 1


def _of_heif(head: bytes) -> int:
    """ISO 23008-12, 6.5.10 and 6.5.12: quarter turns to the left (`irot`), then mirrored (`imir`)."""
    turn, mirror = head.find(b"\0\0\0\x09irot"), head.find(b"\0\0\0\x09imir")
    quarters = head[turn + 8] & 3 if turn >= 0 else 0
    if mirror < 0:
        return (1, 8, 3, 6)[quarters]
    left_right = head[mirror + 8] & 1
    return ((4, 5, 2, 7), (2, 7, 4, 5))[left_right][quarters]


def is_animated(path: Path) -> bool:
    """Whether a PNG, WebP or AVIF is a clip; the pages of a TIFF are none."""
    with open_file(path, LARGEST_PICTURE) as file:
        head = file.read(4096)
    if head.startswith(b"\x89PNG"):
        return b"acTL" in head.split(b"IDAT")[0]  # APNG specification: before the first IDAT
    if head[8:16] == b"WEBPVP8X":
        return bool(head[20] & 2)  # WebP container specification: the flag ANIMATION
    return head[4:12] == b"ftypavis"


def is_clip(path: Path) -> bool:
    """Whether a picture's file is played like a video: an animation that this OpenCV reads (from 4.11 on)."""
    return hasattr(cv2, "imreadanimation") and is_animated(path)


def holds_several(path: Path) -> bool:
    """Whether a file holds more pictures than the first: a clip, or a TIFF of several pages."""
    if is_animated(path):
        return True
    with open_file(path, LARGEST_PICTURE) as file:
        data = file.read(4)
        if data not in (b"II*\0", b"MM\0*"):
            return False
        data += file.read()
    with in_memory(data) as copy:  # OpenCV counts in files only
        return cv2.imcount(str(copy)) > 1


class Animation:
    """The frames of an animated PNG, WebP or AVIF, read like those of a `cv2.VideoCapture`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames: list[tuple[Any, float]] = []
        """Frames that are decoded, and the milliseconds that each is shown, the next one last."""
        self._decoded = 0
        self._now = 0.0
        self._next = 0.0

    def read(self) -> tuple[bool, Any]:
        """(True, BGR), or (False, None) at the end."""
        if not self._frames:
            self._decode()
        if not self._frames:
            return False, None
        frame, shown = self._frames.pop()
        self._now, self._next = self._next, self._next + shown
        return True, frame[..., :3]

    def get(self, wanted: int) -> float:
        """The time of the frame that was read last; 0, unknown, for all else."""
        return self._now if wanted == cv2.CAP_PROP_POS_MSEC else 0.0

    def release(self) -> None:
        """Forget what was decoded."""
        self._frames.clear()

    def _decode(self) -> None:
        reader: Any = vars(cv2)["imreadanimation"]
        try:
            done, animation = reader(str(self._path), self._decoded, CHUNK)
        except cv2.error:
            return
        if done:
            frames = list(zip(animation.frames, map(float, animation.durations), strict=True))
            self._decoded += len(frames)
            self._frames = frames[::-1]

"""Opens the camera that a source names. Each adapter is one file here; `port.py` is what they share."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.geometry import Box
from oahega_edge.errors import CameraError
from oahega_edge.secret import shown

POSSIBLE_SOURCES = (
    "picamera or picamera:1 (Raspberry Pi camera), 0 or /dev/video0 (USB camera), rtsp://... or http://... "
    "(network camera), the path of a video, an animated GIF, a picture or a folder of pictures, "
    "loop:PATH (a file played for ever in real time)"
)


def open_camera(
    source: str,
    *,
    rotate: int = 0,
    mirror: bool = False,
    width: int | None = None,
    height: int | None = None,
    fps: float | None = None,
    roi: Box | None = None,
    started_at: datetime | None = None,
) -> Camera:
    """The camera that `source` names, ready for `with`. Raises CameraError when nothing is named by it.

    `rotate` in degrees clockwise, `mirror`, and `roi` (unit coordinates of the turned and mirrored picture)
    apply to every source. `width`, `height`, `fps` are requests to live devices; `fps` is also the rate of
    pictures and of files that state no times. `started_at` is the UTC moment of a file's second 0.
    """
    from oahega_edge.cameras.orientation import oriented

    camera = _adapter(source, width=width, height=height, fps=fps, started_at=started_at)
    return oriented(camera, rotate=rotate, mirror=mirror, roi=roi)


def _adapter(
    source: str, *, width: int | None, height: int | None, fps: float | None, started_at: datetime | None
) -> Camera:
    """One `case` per adapter, imported where it is chosen: no camera's library is loaded for another."""
    match source.split(":", 1):
        case ["picamera"] | ["picamera", "0" | "1" | "2" | "3"] as name:
            from oahega_edge.cameras.picamera import PiCamera

            number = int(name[1]) if len(name) == 2 else 0
            return PiCamera(number, width=width, height=height, fps=fps)
        case [number] if number.isdecimal():
            from oahega_edge.cameras.opencv import OpenCvCamera

            return OpenCvCamera(int(number), width=width, height=height, fps=fps)
        case [device] if device.startswith("/dev/"):
            from oahega_edge.cameras.opencv import OpenCvCamera

            return OpenCvCamera(device, width=width, height=height, fps=fps)
        case ["rtsp" | "rtsps" | "http" | "https", _]:
            from oahega_edge.cameras.opencv import OpenCvCamera

            return OpenCvCamera(source)
        case ["loop", path]:
            from oahega_edge.cameras.loop import LoopedFile

            return LoopedFile(_file(path, fps, started_at))
        case _:
            return _file(source, fps, started_at)


def _file(source: str, fps: float | None, started_at: datetime | None) -> Camera:
    try:
        path = Path(source).expanduser()
        there = bool(source) and path.exists()
    except (OSError, RuntimeError):  # a name that is too long, or `~user` without a home
        there = False
    if not there:
        raise CameraError(
            f"camera source {shown(source)!r} is neither a file nor a device; possible: {POSSIBLE_SOURCES}"
        )
    from oahega_edge.cameras.pictures import Pictures
    from oahega_edge.cameras.video import VideoFile
    from oahega_edge.endings import is_picture

    if path.is_dir() or is_picture(path):
        return Pictures(path, fps=fps, started_at=started_at)
    return VideoFile(path, fps=fps, started_at=started_at)

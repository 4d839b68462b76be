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
    "(network camera), the path of a video, an animated GIF, WebP or PNG, a picture or a folder of pictures, "
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
    stall_s: float | None = None,
    started_at: datetime | None = None,
) -> Camera:
    """The camera that `source` names, ready for `with`. Raises CameraError when nothing is named by it.

    `rotate` in degrees clockwise, `mirror`, and `roi` (unit coordinates of the turned and mirrored picture)
    apply to every source. `width`, `height`, `fps` are requests to live devices; `fps` is also the rate of
    pictures and of files that state no times. `stall_s`: seconds for which a network camera may be silent.
    `started_at` is the UTC moment of a file's second 0.
    """
    from oahega_edge.cameras.orientation import oriented

    camera = _adapter(source, width=width, height=height, fps=fps, stall_s=stall_s, started_at=started_at)
    return oriented(camera, rotate=rotate, mirror=mirror, roi=roi)


def _adapter(
    source: str,
    *,
    width: int | None,
    height: int | None,
    fps: float | None,
    stall_s: float | None,
    started_at: datetime | None,
) -> Camera:
    """One `case` per adapter, imported where it is chosen: no camera's library is loaded for another.

    Only a scheme is cut off at a colon: paths contain some, as
    `/dev/v4l/by-path/pci-0000:01:00.0-video-index0`.
    """
    scheme, colon, rest = source.partition(":")
    match scheme.lower(), rest:
        case _ if source.startswith("/dev/"):
            from oahega_edge.cameras.apart import ApartCamera

            return ApartCamera(source, width=width, height=height, fps=fps)
        case "picamera", "0" | "1" | "2" | "3" | "" if rest or not colon:
            from oahega_edge.cameras.picamera import PiCamera

            return PiCamera(int(rest or 0), width=width, height=height, fps=fps)
        case number, "" if number.isdecimal() and not colon:
            from oahega_edge.cameras.apart import ApartCamera

            return ApartCamera(int(number), width=width, height=height, fps=fps)
        case "rtsp" | "rtsps" | "http" | "https", _ if rest.startswith("//"):
            from oahega_edge.cameras.apart import ApartCamera
            from oahega_edge.cameras.opencv import stream_timeouts

            open_seconds, read_seconds = stream_timeouts(stall_s or 0.0)
            return ApartCamera(source, open_seconds=open_seconds, read_seconds=read_seconds)
        case "loop", _ if colon:
            from oahega_edge.cameras.loop import LoopedFile

            return LoopedFile(_file(rest, fps, started_at))
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
    from oahega_edge.decoding import is_clip
    from oahega_edge.endings import is_picture

    if path.is_dir() or (is_picture(path) and not (path.is_file() and is_clip(path))):
        return Pictures(path, fps=fps, started_at=started_at)
    return VideoFile(path, fps=fps, started_at=started_at)

"""Endings of file names, in lower case: what is a picture and what is a video, for every reader."""

from __future__ import annotations

from pathlib import Path

PICTURES = frozenset(
    {".avif", ".bmp", ".dib", ".heic", ".heif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm"}
    | {".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp"}
)
"""OpenCV decodes all but HEIC; those are here so that a reader names them as unreadable."""

BARE_STREAMS = frozenset({".264", ".265", ".h264", ".h265", ".hevc", ".mjpeg", ".mjpg"})
"""Without a container, as cameras write them: they state no times, FFmpeg makes some up."""

VIDEOS = BARE_STREAMS | {
    *(
        ".3g2",
        ".3gp",
        ".asf",
        ".avi",
        ".divx",
        ".dv",
        ".f4v",
        ".flv",
        ".gif",
        ".m1v",
        ".m2t",
        ".m2ts",
        ".m2v",
    ),
    *(
        ".m4v",
        ".mkv",
        ".mod",
        ".mov",
        ".mp4",
        ".mpe",
        ".mpeg",
        ".mpg",
        ".mts",
        ".mxf",
        ".nut",
        ".ogm",
        ".ogv",
    ),
    *(".qt", ".tod", ".ts", ".vob", ".webm", ".wmv", ".y4m"),
}
"""What FFmpeg plays and cameras, phones, recorders and browsers write."""


def ending(path: Path) -> str:
    """`.jpg` of `A.JPG`."""
    return path.suffix.lower()


def is_picture(path: Path) -> bool:
    """By its name alone."""
    return ending(path) in PICTURES


def is_video(path: Path) -> bool:
    """By its name alone."""
    return ending(path) in VIDEOS

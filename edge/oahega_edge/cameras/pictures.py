"""A folder of pictures, or one picture, as a clip at a stated rate."""

from __future__ import annotations

import logging
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from oahega_edge.cameras.capture import as_rgb
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.decoding import LARGEST_PICTURE, decode, holds_several
from oahega_edge.endings import PICTURES, ending, is_picture
from oahega_edge.errors import CameraError, EndOfSource
from oahega_edge.files import read_file

USUAL_FPS = 5.0

log = logging.getLogger(__name__)


class Pictures(Camera):
    """The pictures of a folder in the order of the numbers in their names, each once; sizes may differ."""

    live = False

    def __init__(self, path: Path, *, fps: float | None = None, started_at: datetime | None = None) -> None:
        """`path`: a folder or one file; `fps`: pictures per second of the clip's time, default 5."""
        self._path = path
        self._fps = fps or USUAL_FPS
        self._started_at = started_at
        self._names: list[Path] | None = None

    def __enter__(self) -> Self:
        self._names = self._list()
        self._next = 0
        self._readable = 0
        self._start = self._started_at or datetime.now(UTC)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._names = None

    def read(self, timeout: float) -> Frame:
        """The next readable picture; an unreadable one is logged, skipped, and leaves a gap in `sequence`."""
        if self._names is None:
            raise CameraError(f"folder {self._path} is not open; use it in a `with` block")
        while self._next < len(self._names):
            sequence, path = self._next, self._names[self._next]
            self._next += 1
            pixels = read_picture(path)
            if pixels is not None:
                if holds_several(path):
                    log.warning("picture %s holds several frames, only its first is seen", path)
                self._readable += 1
                seconds = sequence / self._fps
                return Frame(pixels, seconds, self._start + timedelta(seconds=seconds), sequence)
            log.warning("picture %s cannot be read and is skipped", path)
        if not self._readable:
            raise CameraError(
                f"none of the {len(self._names)} pictures of {self._path} can be read; replace them"
            )
        raise EndOfSource(f"{self._path} has ended after {self._readable} pictures")

    def _list(self) -> list[Path]:
        try:
            files = sorted(self._path.iterdir(), key=natural) if self._path.is_dir() else [self._path]
            names = [file for file in files if file.stat() and is_picture(file)]
        except OSError as error:
            raise CameraError(
                f"{self._path} cannot be read: {error.strerror}; give a picture or a folder of pictures"
            ) from error
        if not names:
            raise CameraError(
                f"folder {self._path} holds no picture ({', '.join(sorted(PICTURES))}); "
                "put some in, or name another"
            )
        if len(names) < len(files):
            others = sorted({ending(file) or file.name for file in files} - PICTURES)
            log.warning(
                "%d files of %s are not pictures and are skipped (%s)",
                len(files) - len(names),
                self._path,
                ", ".join(others),
            )
        return names


def natural(path: Path) -> tuple[str, str]:
    """Sorts frame2 before frame10, and everything else as usual."""
    return re.sub(r"\d+", lambda number: number[0].zfill(20), path.name), path.name


def read_picture(path: Path) -> Pixels | None:
    """The file as RGB, upright; None when it cannot be decoded."""
    try:
        bgr = decode(read_file(path, LARGEST_PICTURE))
    except OSError:  # gone meanwhile
        return None
    return None if bgr is None else as_rgb(bgr)

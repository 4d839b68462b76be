"""`read`: the faces of unrelated pictures, as JSON lines for machines or a table for people."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import cv2

from oahega_edge.chain.frame import Pixels
from oahega_edge.decoding import LARGEST_PICTURE
from oahega_edge.errors import CameraError, EdgeError, plain
from oahega_edge.reading.pictures import decode, pictures_of, read_file
from oahega_edge.reading.stills import Face, StillReader
from oahega_edge.service.setup import Setup
from oahega_edge.tools.annotate import annotate

STANDARD_INPUT = "-"


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that was named, not yet read."""

    name: str
    """Its path, or `-`."""
    read: Callable[[], Pixels]
    """Raises CameraError."""


@dataclass(slots=True)
class ReadSummary:
    """What `read` saw."""

    pictures: int = 0
    faces: int = 0
    without_face: int = 0
    failed: int = 0

    def __str__(self) -> str:
        counts = f"{_count(self.pictures, 'picture')}, {_count(self.faces, 'face')}"
        empty = f", {self.without_face} without a face" if self.without_face else ""
        return counts + empty + (f", {self.failed} could not be read" if self.failed else "")


def read_pictures(
    setup: Setup,
    names: Sequence[str],
    out: TextIO,
    complain: Callable[[CameraError], None],
    drawn: Path | None,
    machine: bool = False,
) -> ReadSummary:
    """Every face of the named files, folders and `-` to `out`; annotated pictures into the folder `drawn`.

    What cannot be read is given to `complain`, and the rest is read.
    """
    view = _Table(out) if out.isatty() and not machine else _JsonLines(out)
    summary = ReadSummary()
    folder = None if drawn is None else _Folder(drawn, names)

    def failed(error: CameraError) -> None:
        summary.failed += 1
        complain(error)

    with StillReader(setup) as reader:
        for picture in _named(names, failed):
            try:
                pixels = picture.read()
            except CameraError as error:
                failed(error)
                continue
            frame, step = reader.look(pixels)
            faces = reader.faces(step)
            summary.pictures += 1
            summary.faces += len(faces)
            summary.without_face += not faces
            view.show(picture.name, pixels, faces)
            if folder is not None:
                folder.write(picture.name, annotate(frame, step, reader.labels))
    return summary


def _named(names: Sequence[str], failed: Callable[[CameraError], None]) -> Iterator[Picture]:
    for name in names:
        if name == STANDARD_INPUT:
            yield Picture(name, lambda: _read_stream(sys.stdin.buffer))
            continue
        try:
            paths = pictures_of(Path(name))
        except CameraError as error:
            failed(error)
            continue
        for path in paths:
            yield Picture(str(path), lambda path=path: read_file(path))  # type: ignore[misc]


def _read_stream(stream: BinaryIO) -> Pixels:
    return decode(stream.read(LARGEST_PICTURE + 1), "on standard input")


class _JsonLines:
    """One object per face."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, name: str, pixels: Pixels, faces: Sequence[Face]) -> None:
        size = {"width": pixels.shape[1], "height": pixels.shape[0]}
        for face in faces:
            self._out.write(
                json.dumps({"picture": plain_name(name), **size, **asdict(face)}, ensure_ascii=False) + "\n"
            )
        self._out.flush()


class _Table:
    """One row per face; a picture without one has a row, too. Fits 80 columns; a long name is cut off."""

    ROW = "{:<19.19}  {:<10}  {:>10}  {:>7}  {:<}"
    HEADING = ("picture", "expression", "confidence", "face px", "then")

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._has_heading = False

    def show(self, name: str, pixels: Pixels, faces: Sequence[Face]) -> None:
        if not self._has_heading:  # not before: what the models' libraries say comes first
            self._line(*self.HEADING)
            self._has_heading = True
        shown = plain(Path(name).name)
        if not faces:
            self._line(shown, "no face", "", "", "")
        for face in faces:
            width, height = face.box[2] * pixels.shape[1], face.box[3] * pixels.shape[0]
            second = sorted(face.scores.items(), key=lambda item: -item[1])[1:3]
            then = ", ".join(f"{label} {score:.0%}" for label, score in second)
            size = f"{width:.0f}x{height:.0f}"
            self._line(shown, face.expression, f"{face.confidence:.0%}", size, then or "too small to be read")

    def _line(self, *cells: str) -> None:
        self._out.write(self.ROW.format(*cells).rstrip() + "\n")
        self._out.flush()


class _Folder:
    """Where annotated pictures go: one JPEG each, never over a picture that is read."""

    def __init__(self, path: Path, names: Sequence[str]) -> None:
        own = {
            folder.resolve() for name in names if name != STANDARD_INPUT for folder in _folders(Path(name))
        }
        if path.resolve() in own:
            raise EdgeError(f"--annotate {plain(path)}: holds the pictures themselves; name another folder")
        self._path = path
        self._taken: set[str] = set()

    def write(self, name: str, pixels: Pixels) -> None:
        file = self._path / self._free("stdin" if name == STANDARD_INPUT else Path(name).stem)
        done, jpeg = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR))
        try:
            if not done:
                raise ValueError("it is too large for a JPEG")
            self._path.mkdir(parents=True, exist_ok=True)
            file.write_bytes(jpeg.tobytes())
        except (OSError, ValueError) as error:
            raise EdgeError(f"picture {plain(file)} cannot be written: {plain(error)}") from error

    def _free(self, stem: str) -> str:
        """Two pictures of one name, from two folders, do not overwrite each other."""
        names = (f"{stem}{suffix}.jpg" for suffix in ("", *(f"-{i}" for i in range(2, len(self._taken) + 3))))
        name = next(name for name in names if name not in self._taken)
        self._taken.add(name)
        return name


def _folders(path: Path) -> tuple[Path, ...]:
    return (path,) if path.is_dir() else (path.parent,)


def plain_name(name: str) -> str:
    """A file's name as text: bytes that are not UTF-8 are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode()


def _count(number: int, word: str) -> str:
    return f"{number} {word}" if number == 1 else f"{number} {word}s"

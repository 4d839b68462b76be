"""A camera that plays frames from memory: the fake of the port, good enough for a test or a script."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Self

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.errors import CameraError, CameraStalled, EndOfSource

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


class FakeCamera(Camera):
    """Gives its script from the start each time it is opened. An exception in the script is raised."""

    def __init__(self, script: Iterable[Frame | Exception], *, live: bool = False) -> None:
        """After the script a file (`live` False) has ended and a live camera is stalled."""
        self.live = live
        self.opened = 0
        """How often it was opened."""
        self._script: Sequence[Frame | Exception] = tuple(script)
        self._next: int | None = None

    @property
    def is_open(self) -> bool:
        """Between `__enter__` and `__exit__`."""
        return self._next is not None

    def __enter__(self) -> Self:
        self.opened += 1
        self._next = 0
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._next = None

    def read(self, timeout: float) -> Frame:
        """The next of the script; never waits."""
        if self._next is None:
            raise CameraError("the fake camera is not open; use it in a `with` block")
        if self._next == len(self._script):
            if self.live:
                raise CameraStalled(
                    f"the fake camera gave no frame within {timeout:g} s; lengthen its script"
                )
            raise EndOfSource(f"the fake camera has ended after {len(self._script)} frames")
        step = self._script[self._next]
        self._next += 1
        if isinstance(step, Exception):
            raise step
        return step


def frames_of(
    pictures: Iterable[Pixels], *, fps: float = 10.0, started_at: datetime = EPOCH, first: int = 0
) -> list[Frame]:
    """Pictures (height x width x 3 RGB) as frames `first`, `first` + 1, ... of a clip at `fps`."""
    return [
        Frame(picture, i / fps, started_at + timedelta(seconds=i / fps), i)
        for i, picture in enumerate(pictures, first)
    ]

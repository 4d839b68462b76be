"""The camera port and the choice of its adapter. Each adapter is one file in this folder."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from oahega_edge.frame import Frame


class Camera(Protocol):
    """Delivers frames. Opened by its constructor's `__enter__`, closed by `__exit__`; may be opened again."""

    live: bool
    """True: frames come in real time and old ones are dropped. False: a file, read in lock step."""

    def __enter__(self) -> Self:
        """Open; raises CameraError with the source in its text when that fails."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None, /
    ) -> None:
        """Close; never raises, may be called twice."""
        ...

    def read(self, timeout: float) -> Frame:
        """The newest frame not yet read, waiting at most `timeout` seconds for it.

        Raises CameraStalled when none came in time, CameraError when the device is gone,
        EndOfSource after a file's last frame.
        """
        ...

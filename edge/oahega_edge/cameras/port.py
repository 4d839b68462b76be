"""The camera port: what every source of frames is to the rest of the device."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from oahega_edge.chain.frame import Frame


class Camera(Protocol):
    """Delivers frames. Opened by `__enter__`, closed by `__exit__`; may be opened again.

    A live adapter may also have `reset() -> None`: what its driver offers beyond closing and opening, called
    between the two by the ladder in `recovering.py`.
    """

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

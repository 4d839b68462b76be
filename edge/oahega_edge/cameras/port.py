"""The camera port: what every source of frames is to the rest of the device."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from oahega_edge.chain.frame import Frame


class Camera(Protocol):
    """Delivers frames. Opened by `__enter__`, closed by `__exit__`; may be opened again.

    Adapters name it as their base class and inherit what they have nothing to add to.
    """

    live: bool
    """True: frames come in real time and old ones are dropped. False: a file, read in lock step."""
    stalls: int = 0
    """How often a working camera was lost."""
    reopens: int = 0
    """Attempts to open it again."""
    left_out: int = 0
    """Pictures that were not handed on, because they were frozen or torn."""
    picture_problem: str | None = None
    """What is wrong with the picture now: black, frozen or torn."""

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

        Raises CameraStalled when none came in time, NoFrameYet when that is no fault of the camera so far,
        CameraError when the device is gone, EndOfSource after a file's last frame.
        """
        ...

    def abort(self) -> None:
        """Close at once, from any thread, also while another one waits in a call; where that is possible."""
        return

    def reset(self) -> None:
        """What the driver offers beyond closing and opening; called between the two."""
        return

"""Mute: the camera is closed and nothing is seen. It survives restarts and power cuts."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraStalled

_log = logging.getLogger(__name__)

RETRY_S = 2.0
"""Seconds between two attempts to bring the disk in line."""
HANDED_ON_S = 1.0
"""Seconds that a mute waits at most while something seen before it is handed on."""


class MuteSwitch:
    """A flag that also lies as an empty file on the disk. No method raises: no mute is lost to a disk."""

    def __init__(self, state: Path | None, runtime: Path | None = None) -> None:
        """`state`: the folder that survives power cuts. `runtime`: beside it, one that survives restarts."""
        self.close_camera: Callable[[], None] = lambda: None
        """Called by each mute, before it is remembered."""
        self.problem: str | None = None
        """Why the next start may not be as muted as this one, or why this one began muted."""
        self._state = None if state is None else state / "muted"
        self._files = [folder / "muted" for folder in (state, runtime) if folder is not None]
        self._flag = threading.Lock()
        self._disk = threading.Lock()
        self._use = threading.Lock()
        self._mutes = 0
        self._retry_at: float | None = None
        self._muted = self._was_muted()

    @property
    def muted(self) -> bool:
        """Whether nothing may be seen now."""
        return self._muted

    @property
    def times(self) -> int:
        """How often `mute` was called."""
        return self._mutes

    def mute(self) -> None:
        """Close the camera, then remember it; what cannot be remembered is `problem`."""
        with self._flag:
            self._mutes += 1
            self._muted = True
        self.close_camera()
        if self._use.acquire(timeout=HANDED_ON_S):
            self._use.release()
        with self._disk:
            if self._muted:
                self._settle(self._write())

    @contextmanager
    def in_use(self) -> Iterator[bool]:
        """While something seen is handed on; False if it may not be. A mute returns after this has ended."""
        with self._use:
            yield not self._muted

    def unmute(self) -> None:
        """Let the camera be opened again, unless a mute comes meanwhile."""
        mutes = self._mutes
        with self._disk:
            problem = self._forget()
        with self._flag:
            if self._mutes == mutes:
                self._muted = False
                self._settle(problem)

    def look(self) -> None:
        """Try again to remember what the disk refused before."""
        if self._retry_at is not None and time.monotonic() >= self._retry_at:
            with self._disk:
                self._settle(self._write() if self._muted else self._forget())

    def answer(self) -> dict[str, object]:
        """For whoever muted or unmuted."""
        return {"muted": self._muted} | ({"problem": self.problem} if self.problem else {})

    def _was_muted(self) -> bool:
        for file in self._files:
            try:
                file.stat()
            except FileNotFoundError:
                continue
            except OSError as error:
                self._note(f"began muted, because {file} cannot be read ({error.strerror}); unmute to go on")
            return True
        return False

    def _write(self) -> str | None:
        """Into the state folder, and where that refuses, at least where a restart finds it."""
        failures = {file: _failure(lambda file=file: _make(file)) for file in self._files}  # type: ignore[misc]
        kept = [file for file, failure in failures.items() if failure is None]
        if self._state in kept:
            return None
        until = "the next power cut" if kept else "the next start"
        if self._state is None:
            return f"muted only until {until}: there is no state folder (store.path)"
        return f"muted only until {until}: {self._state} cannot be written ({failures[self._state]})"

    def _forget(self) -> str | None:
        for file in self._files:
            failure = _failure(lambda file=file: _take_away(file))  # type: ignore[misc]
            if failure is not None:
                return f"the next start will be muted: {file} cannot be removed ({failure})"
        return None

    def _settle(self, problem: str | None) -> None:
        self._note(problem)
        unsettled = problem is not None and self._state is not None
        self._retry_at = time.monotonic() + RETRY_S if unsettled else None

    def _note(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            _log.warning("mute: %s", problem)
        self.problem = problem


class Shutter(Camera):
    """A camera that a mute closes from any thread, whatever the loop is busy with."""

    def __init__(self, camera: Camera, switch: MuteSwitch) -> None:
        self.live = camera.live
        self._camera = camera
        self._switch = switch
        self._lock = threading.Lock()
        self._open = False
        switch.close_camera = self.close

    def __enter__(self) -> Self:
        with self._lock:
            self._open_if_allowed()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """As soon as the current `read` has ended, which a mute leaves without a frame."""
        with self._lock:
            self._close()

    def read(self, timeout: float) -> Frame:
        """The camera's next frame; CameraStalled while muted. Opens it again after a short mute."""
        with self._lock:
            self._open_if_allowed()
            frame = self._camera.read(timeout) if self._open else None
            if frame is None or self._switch.muted:
                self._close()
                raise CameraStalled("muted")
            return frame

    def _open_if_allowed(self) -> None:
        if not self._open and not self._switch.muted:
            self._camera.__enter__()
            self._open = True

    def _close(self) -> None:
        if self._open:
            self._open = False
            self._camera.__exit__(None, None, None)


def _failure(deed: Callable[[], None]) -> str | None:
    try:
        deed()
    except OSError as error:
        return error.strerror or str(error)
    return None


def _make(file: Path) -> None:
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    file.touch()
    _sync(file.parent)


def _take_away(file: Path) -> None:
    if os.path.lexists(file):  # else a read-only folder would refuse to remove what is not there
        file.unlink()
        _sync(file.parent)


def _sync(folder: Path) -> None:
    """Sync the folder, so that the switch is on the disk before it is confirmed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""Mute: the camera is closed and nothing is seen. It survives restarts and power cuts."""

from __future__ import annotations

import os
from pathlib import Path


class MuteSwitch:
    """A flag that also lies as an empty file in the state folder, when there is one."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "muted"
        self._muted = self._file is not None and self._file.exists()

    @property
    def muted(self) -> bool:
        """Whether nothing may be seen now."""
        return self._muted

    def mute(self) -> None:
        """From now on; in memory first, so that it holds even when the disk does not take it."""
        self._muted = True
        if self._file is not None:
            self._file.touch()
            _sync(self._file.parent)

    def unmute(self) -> None:
        """Open the eyes again."""
        if self._file is not None:
            self._file.unlink(missing_ok=True)
            _sync(self._file.parent)
        self._muted = False


def _sync(folder: Path) -> None:
    """Sync the folder, so that the switch is on the disk before it is confirmed."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

"""A USB camera's port: switched off and on again by the kernel, which revives firmware that hangs.

usbdevfs(4) of Linux: the ioctl USBDEVFS_RESET on /dev/bus/usb/BBB/DDD, for which the user must be allowed to
write to that file (systemd/99-oahega-edge-coral.rules gives cameras to the group `video`).
"""

from __future__ import annotations

import fcntl
import logging
from pathlib import Path

log = logging.getLogger(__name__)

USBDEVFS_RESET = ord("U") << 8 | 20
"""_IO('U', 20) of linux/usbdevice_fs.h."""


class UsbPorts:
    """The ports of this machine."""

    def __init__(self, sys: Path = Path("/sys"), dev: Path = Path("/dev")) -> None:
        self._sys = sys
        self._dev = dev

    def reset(self, video: str | int) -> bool:
        """Reset the port behind a V4L2 device, 0 or `/dev/video0`; False where that is not possible."""
        port = self.port_of(video)
        if port is None:
            return False
        try:
            with port.open("wb", buffering=0) as file:
                fcntl.ioctl(file, USBDEVFS_RESET, 0)
        except OSError as error:
            log.warning(
                "camera %s: its USB port %s cannot be reset (%s); install the udev rule", video, port, error
            )
            return False
        log.info("camera %s: its USB port %s was reset", video, port)
        return True

    def port_of(self, video: str | int) -> Path | None:
        """/dev/bus/usb/BBB/DDD of a V4L2 device; None for one that is not on USB or is unplugged."""
        name = f"video{video}" if isinstance(video, int) else Path(video).resolve().name
        device = (self._sys / "class/video4linux" / name / "device").resolve()
        for folder in (device, *device.parents):
            try:
                bus, number = int((folder / "busnum").read_text()), int((folder / "devnum").read_text())
            except (OSError, ValueError):
                continue
            return self._dev / f"bus/usb/{bus:03}/{number:03}"
        return None

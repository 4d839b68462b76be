"""`oahega-edge run` as a process with a clip for a camera, connected to a real broker."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from brokers import Mosquitto


@contextlib.contextmanager
def started(
    folder: Path, clip: Path, mosquitto: Mosquitto, **more: object
) -> Iterator[subprocess.Popen[bytes]]:
    """With state and sockets in `folder`; `more` settings have `__` for the dot. Killed at the end."""
    settings = {
        "camera.source": f"loop:{clip}",
        "deployment.context": "development",
        "device.name": "kiosk",
        "mqtt.host": mosquitto.host,
        "mqtt.port": mosquitto.port,
        "mqtt.commands": "true",
        "mqtt.discovery": "true",
        "health.interval_s": "1",
        **{name.replace("__", "."): value for name, value in more.items()},
    }
    command = [sys.executable, "-m", "oahega_edge", "run", *(f"--set={k}={v}" for k, v in settings.items())]
    process = subprocess.Popen(
        command, env=os.environ | {"STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()

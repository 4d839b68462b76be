"""The daemon as a process on an accelerator that fails when it is told to."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgetpu_bundle import add_edgetpu_files, make_coral_python
from mini_bundle import change
from oahega_edge.bundles.load import DEFAULT_BUNDLE
from waiting import PATIENCE


class Run:
    """`oahega-edge run` on a clip with a face, on an accelerator; what it prints is collected."""

    def __init__(self, folder: Path, clip: Path) -> None:
        self._bundles = folder
        for name in ("one", "two"):
            shutil.copytree(DEFAULT_BUNDLE, folder / name)
            add_edgetpu_files(folder / name)
            change(folder / name, "version", name)
        self.point("one")
        self._fault = folder / "fault"
        self._output = (folder / "events.jsonl").open("w+")
        settings = {
            "deployment.context": "development",
            "bundle.path": folder / "current",
            "camera.source": f"loop:{clip}",
            "runtime.accelerator": "usb",
            "runtime.python": make_coral_python(folder),
            "trigger.heartbeat_s": 0.5,
            "trigger.threshold": 0.3,
        }
        command = [sys.executable, "-m", "oahega_edge", "run"]
        command += [f"--set={key}={value}" for key, value in settings.items()]
        self.environment = os.environ | {
            "XDG_RUNTIME_DIR": str(folder),
            "FAULTY_RUNTIME_FILE": str(self._fault),
        }
        self._log = (folder / "log").open("w+")
        self.process = subprocess.Popen(
            command, env=self.environment, stdout=self._output, stderr=self._log, text=True
        )

    def point(self, bundle: str) -> None:
        new = self._bundles / "new"
        new.symlink_to(bundle)
        new.rename(self._bundles / "current")

    def fail(self, fault: str) -> None:
        new = self._fault.with_suffix(".new")
        new.write_text(fault)
        new.replace(self._fault)

    def heal(self) -> None:
        self._fault.unlink()

    def events(self) -> list[dict[str, Any]]:
        text = Path(self._output.name).read_text()
        return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]

    def status(self) -> dict[str, Any]:
        command = [sys.executable, "-m", "oahega_edge", "status"]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=True)
        return dict(json.loads(done.stdout))

    def reaches(self, promise: Callable[[list[dict[str, Any]]], bool], what: str) -> float:
        """Seconds until the events so far keep the promise."""
        began = time.monotonic()
        while time.monotonic() - began < PATIENCE:
            assert self.process.poll() is None, self._said()
            if promise(self.events()):
                return time.monotonic() - began
            time.sleep(0.05)
        raise AssertionError(f"in vain: {what}\n{self._said()}")

    def _said(self) -> str:
        return Path(self._log.name).read_text()[-3000:]

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()
        self._output.close()
        self._log.close()


def last(accelerator: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: bool(events) and events[-1]["accelerator"] == accelerator

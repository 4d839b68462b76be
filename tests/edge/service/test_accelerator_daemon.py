"""The daemon as a process while its accelerator fails: no event is lost, each says what made it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgetpu_bundle import add_edgetpu_files, make_coral_python
from mini_bundle import change
from oahega_edge.bundles.load import DEFAULT_BUNDLE

pytestmark = [pytest.mark.shared, pytest.mark.long]

PATIENCE_S = 90
"""A hang is caught, not a speed."""


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
            "OAHEGA_FAULT_FILE": str(self._fault),
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
        while time.monotonic() - began < PATIENCE_S:
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


@pytest.fixture
def run(tmp_path: Path, shared: Path) -> Iterator[Run]:
    made = Run(tmp_path, shared / "data/media/intel/walk.mkv")
    yield made
    made.end()


def last(accelerator: str) -> Callable[[list[dict[str, Any]]], bool]:
    return lambda events: bool(events) and events[-1]["accelerator"] == accelerator


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("abort", "was ended by SIGABRT"),
        ("hang", "gave no answer within 0.5 s"),
        ("hang-in-native-code", "gave no answer within 0.5 s"),
        ("garbage", "wrote something else than messages"),
    ],
)
def test_events_go_on_say_degraded_and_the_accelerator_comes_back(run: Run, fault: str, said: str) -> None:
    run.reaches(last("edgetpu-usb"), "events from the accelerator")
    run.fail(fault)
    fell = run.reaches(last("cpu"), "events from the CPU")
    status = run.status()
    run.heal()
    returned = run.reaches(last("edgetpu-usb"), "events from the accelerator again")

    events = run.events()
    print(f"{fault}: next event from the CPU after {fell:.2f} s, from the accelerator {returned:.1f} s later")
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert all(event["degraded"] == (event["accelerator"] == "cpu") for event in events)
    assert status["accelerator"]["degraded"]
    assert said in status["accelerator"]["reason"]


def test_a_bundle_that_comes_gets_the_accelerator_at_once(run: Run) -> None:
    """The accelerator opens for one process at a time: the old bundle's must let go of it first."""
    run.reaches(last("edgetpu-usb"), "events from the accelerator")
    run.point("two")

    run.reaches(lambda events: events[-1]["model"]["version"] == "two", "events from the new bundle")
    taken = run.reaches(last("edgetpu-usb"), "events from the accelerator with the new bundle")
    status = run.status()

    events = run.events()
    print(f"bundle exchanged: from the accelerator {taken:.2f} s after the first event")
    assert [event["seq"] for event in events] == list(range(events[0]["seq"], events[0]["seq"] + len(events)))
    assert {event["accelerator"] for event in events if event["model"]["version"] == "two"} == {"edgetpu-usb"}
    assert not status["accelerator"]["degraded"]

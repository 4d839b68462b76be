"""The daemon beside a camera, a broker and an accelerator that fail; and a stopwatch on what it says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from brokers import Ear
from network_camera import HttpCamera
from waiting import wait_until

DEVICE = "faulty"
PATIENCE_S = 240
"""A hang is caught, not a speed."""


class Stage:
    """What the network camera sees: noise that moves, until a test changes it."""

    def __init__(self) -> None:
        noise = np.random.default_rng(0).integers(0, 256, (240, 640, 3), np.uint8)
        self._noise = noise
        self._still = np.ascontiguousarray(noise[:, :320])
        self.looks = "well"

    def __call__(self, number: int) -> NDArray[np.uint8]:
        match self.looks:
            case "black":
                return np.zeros_like(self._still)
            case "frozen":
                return self._still
        picture = np.ascontiguousarray(self._noise[:, number % 320 : number % 320 + 320])
        if self.looks == "torn":
            # As a JPEG decoder leaves what it did not get, at other places each time: else it were a surface.
            picture[80 + number % 3 * 40 :] = 128
        return picture


@dataclass
class Row:
    """One fault with its figures, seconds."""

    fault: str
    noticed_s: float | None
    """Until the log or an event says so; None where the daemon has nobody to tell."""
    on_s: float
    """Until the next event, from the end of the fault; with a fallback, from its beginning."""
    events: int
    lost: int

    def __str__(self) -> str:
        noticed = "-" if self.noticed_s is None else f"{self.noticed_s:.2f} s"
        return f"| {self.fault} | {noticed} | {self.on_s:.2f} s | {self.events} | {self.lost} |"


@dataclass
class Table:
    """All rows of a run."""

    rows: list[Row] = field(default_factory=list)

    def add(self, row: Row) -> None:
        self.rows.append(row)
        print(row, flush=True)

    def __str__(self) -> str:
        head = ["| fault | noticed after | goes on after | events | lost |", "|---|---|---|---|---|"]
        return "\n".join([*head, *map(str, self.rows)])


class Log:
    """A growing file, searched from where a mark was set."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._mark = 0

    def mark(self) -> None:
        self._mark = self.file.stat().st_size

    def since(self) -> str:
        return self.file.read_text()[self._mark :]

    def says(self, pattern: str) -> bool:
        return re.search(pattern, self.since()) is not None


class Day:
    """A daemon that runs; every event that it sends is heard."""

    def __init__(
        self, folder: Path, ear: Ear, settings: dict[str, object], before: tuple[str, ...] = ()
    ) -> None:
        """`before`: a command that ends in executing the daemon."""
        self.log = Log(folder / "log")
        self._ear = ear
        self._command = [*before, sys.executable, "-m", "oahega_edge", "run"]
        self._command += [f"--set={key}={value}" for key, value in settings.items()]
        folders = {"STATE_DIRECTORY": str(folder), "RUNTIME_DIRECTORY": str(folder)}
        self._environment = os.environ | folders

    def __enter__(self) -> Self:
        self.start()
        self.next_event()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        self.process.wait()

    def start(self) -> None:
        with self.log.file.open("w") as log:
            self.process = subprocess.Popen(self._command, env=self._environment, stderr=log)

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(each.text) for each in self._ear.on("/event")]

    def next_event(self, **having: object) -> float:
        """Seconds until one arrives that was not there yet."""
        began, known = time.monotonic(), len(self._ear.on("/event"))

        def came() -> bool:
            assert self.process.poll() is None, self.log.since()
            new = self._ear.on("/event")[known:]
            return any(having.items() <= json.loads(each.text).items() for each in new)

        wait_until(came, PATIENCE_S)
        return time.monotonic() - began

    def says(self, pattern: str) -> float:
        """Seconds until the log says so, from the mark on."""
        began = time.monotonic()

        def said() -> bool:
            assert self.process.poll() is None, self.log.since()
            return self.log.says(pattern)

        wait_until(said, PATIENCE_S)
        return time.monotonic() - began

    def counted(self) -> tuple[int, int]:
        """Events that arrived, and gaps in the numbers of each boot: those that are missing."""
        seqs: dict[str, set[int]] = {}
        for event in self.events():
            seqs.setdefault(event["boot_id"], set()).add(event["seq"])
        return sum(map(len, seqs.values())), sum(max(each) + 1 - len(each) for each in seqs.values())


@contextmanager
def watching_camera(
    folder: Path,
    ear: Ear,
    bundle: Path,
    broker_port: int,
    before: tuple[str, ...] = (),
    **further: object,
) -> Iterator[tuple[Day, HttpCamera, Stage]]:
    """A daemon on a network camera in which the test's detector sees faces all the time.

    `further` settings have `__` for the dot of their key.
    """
    stage = Stage()
    with HttpCamera(stage, fps=15) as camera:
        settings = {
            "deployment.context": "development",
            "device.name": DEVICE,
            "bundle.path": bundle,
            "camera.source": camera.url,
            "smoothing.mean": "arithmetic",
            "smoothing.frames": 1,
            "trigger.threshold": 0.3,
            "trigger.hysteresis": 0.05,
            "mqtt.host": "127.0.0.1",
            "mqtt.port": broker_port,
        } | {key.replace("__", "."): value for key, value in further.items()}
        with Day(folder, ear, settings, before) as day:
            yield day, camera, stage

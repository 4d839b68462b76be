"""An hour of the daemon on a clip in a loop: `pytest -s tests/edge/long_soak.py`, a line a minute.

OAHEGA_SOAK_MINUTES sets the length; `chrt -f 20` before the command keeps other work on the machine out of
the times. Real parts: the embedded bundle, a recorded clip, mosquitto, the store on disk.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from brokers import Ear, Mosquitto
from waiting import wait_until

pytestmark = [pytest.mark.broker, pytest.mark.long, pytest.mark.shared]

MINUTES = float(os.environ.get("OAHEGA_SOAK_MINUTES", "60"))
SETTLED = min(5.0, MINUTES / 3)
"""Minutes in which memory may still grow: caches fill, the allocator finds its size."""
CLIP = "data/media/intel/walk.mkv"
"""A man walks up to a 640x480 camera; it begins anew every six seconds."""
FPS = 15.0
"""As fast as a device looks."""
DAEMON = Path(__file__).with_name("soak_daemon.py")


@dataclass(frozen=True)
class Sight:
    """The process at one moment."""

    memory_mb: float
    """Resident."""
    anonymous_mb: float
    """Of these, its own: neither file nor library."""
    descriptors: int
    threads: int


@dataclass(frozen=True)
class Minute:
    """Medians of the sights, times of the steps in this minute."""

    memory_mb: float
    anonymous_mb: float
    descriptors: int
    """Most, as of the threads."""
    threads: int
    steps: int
    p50_ms: float
    p99_ms: float

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:.2f} MB resident ({self.anonymous_mb:.2f} own), "
            f"{self.descriptors} descriptors, {self.threads} threads, "
            f"{self.steps} steps of {self.p50_ms:.1f} ms (p99 {self.p99_ms:.1f})"
        )


def look(pid: int) -> Sight:
    status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return Sight(
        memory_mb=int(status["VmRSS"].split()[0]) / 1024,
        anonymous_mb=int(status["RssAnon"].split()[0]) / 1024,
        descriptors=len(list(Path(f"/proc/{pid}/fd").iterdir())),
        threads=int(status["Threads"]),
    )


def times_of(file: Path) -> NDArray[np.float32]:
    """(steps, 2) milliseconds: the whole step, the chain."""
    whole = file.read_bytes()
    return np.frombuffer(whole[: len(whole) // 8 * 8], "<f4").reshape(-1, 2)


def at_rate(clip: Path, fps: float, file: Path) -> Path:
    """Every frame of the clip, in a file that is played at `fps`."""
    reader = cv2.VideoCapture(str(clip))
    size = int(reader.get(cv2.CAP_PROP_FRAME_WIDTH)), int(reader.get(cv2.CAP_PROP_FRAME_HEIGHT))
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter.fourcc(*"mp4v"), fps, size)
    while (read := reader.read())[0]:
        writer.write(read[1])
    reader.release()
    writer.release()
    return file


@contextmanager
def daemon(clip: Path, folder: Path, port: int) -> Iterator[subprocess.Popen[bytes]]:
    settings = {
        "deployment.context": "development",
        "device.name": "soak",
        "camera.source": f"loop:{clip}",
        "mqtt.host": "127.0.0.1",
        "mqtt.port": port,
        "mqtt.commands": "true",
        "mqtt.discovery": "true",
        "store.path": folder,
        "trigger.heartbeat_s": 1,
    }
    command = [
        sys.executable,
        DAEMON,
        folder / "steps",
        *(f"{key}={value}" for key, value in settings.items()),
    ]
    environment = os.environ | {"XDG_RUNTIME_DIR": str(folder)}
    with (folder / "log").open("w") as log, subprocess.Popen(command, env=environment, stderr=log) as process:
        try:
            yield process
        finally:
            process.terminate()


def watched(process: subprocess.Popen[bytes], steps: Path) -> Iterator[Minute]:
    """A Minute for each minute, endlessly."""
    done = len(times_of(steps))
    while True:
        sights, until = [], time.monotonic() + 60
        while time.monotonic() < until:
            assert process.poll() is None, steps.with_name("log").read_text()[-2000:]
            sights.append(look(process.pid))
            time.sleep(1)
        times = times_of(steps)[done:, 0]
        done += len(times)
        yield Minute(
            memory_mb=median(sight.memory_mb for sight in sights),
            anonymous_mb=median(sight.anonymous_mb for sight in sights),
            descriptors=max(sight.descriptors for sight in sights),
            threads=max(sight.threads for sight in sights),
            steps=len(times),
            p50_ms=float(np.percentile(times, 50)),
            p99_ms=float(np.percentile(times, 99)),
        )


def test_an_hour_takes_no_more_memory_descriptors_threads_or_time_than_its_first_minutes(
    mosquitto: Mosquitto, tmp_path: Path, shared: Path
) -> None:
    clip = at_rate(shared / CLIP, FPS, tmp_path / "walk.mp4")
    minutes: list[Minute] = []
    with Ear(mosquitto.port, ("oahega/v1/soak/event",)) as ear:
        with daemon(clip, tmp_path, mosquitto.port) as process:
            wait_until(lambda: ear.heard, 60)
            for minute in watched(process, tmp_path / "steps"):
                minutes.append(minute)
                print(f"minute {len(minutes)}: {minute}, {len(ear.heard)} events", flush=True)
                if len(minutes) >= MINUTES:
                    break
        events = [json.loads(each.text) for each in ear.heard]

    settled = minutes[max(0, round(SETTLED) - 1)]
    later = minutes[round(SETTLED) :]
    growth = max(minute.memory_mb for minute in later) - settled.memory_mb
    times = times_of(tmp_path / "steps")
    p50, p99, worst = np.percentile(times[:, 0], [50, 99, 100])
    chain50, chain99 = np.percentile(times[:, 1], [50, 99])
    print(f"{len(minutes)} minutes, {len(times)} steps, {len(events)} events, {len(ear.heard)} heard")
    print(f"memory: {settled.memory_mb:.2f} MB after {SETTLED:g} minutes, at most {growth:+.2f} MB later")
    print(
        f"descriptors {settled.descriptors} -> {later[-1].descriptors}, threads {settled.threads} -> ", end=""
    )
    print(f"{later[-1].threads}")
    print(f"step: median {p50:.2f} ms, p99 {p99:.2f} ms ({p99 / p50:.2f} x), longest {worst:.1f} ms")
    print(f"chain: median {chain50:.2f} ms, p99 {chain99:.2f} ms ({chain99 / chain50:.2f} x)")
    assert process.returncode == 0
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert growth <= 2.0
    assert max(minute.descriptors for minute in later) <= settled.descriptors
    assert max(minute.threads for minute in later) <= settled.threads
    assert p99 <= 2 * p50

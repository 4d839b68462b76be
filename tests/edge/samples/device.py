"""A real daemon with a face in front of its camera, and its page, as processes."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from brokers import Mosquitto
from edge.samples.giving import RECIPIENT
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError
from oahega_edge.samples.keys import PUBLIC, key_text
from oahega_edge.tools.demo_clip import load_portraits
from waiting import PATIENCE, wait_until


def portrait_clip(path: Path, fps: int = 15) -> Path:
    """One face, which moves a little."""
    portrait = load_portraits()[0]
    scale = 180 / portrait.face_height
    large = cv2.resize(portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = round(portrait.face_x * scale) - 200, max(0, round(portrait.face_y * scale) - 160)
    wall = np.full((480, 640, 3), 90, np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), fps, (640, 480))
    for i in range(30):
        picture = wall.copy()
        part = large[top : top + 400, max(0, left) : max(0, left) + 400]
        picture[40 : 40 + part.shape[0], 100 + i % 5 : 100 + i % 5 + part.shape[1]] = part
        writer.write(np.ascontiguousarray(picture[:, :, ::-1]))
    writer.release()
    return path


@dataclass
class Device:
    """A running daemon with its page; `folder` is all that it may write to."""

    folder: Path
    clip: Path
    port: int
    log: Path
    broker: Mosquitto | None = None

    def settings(self, **more: object) -> list[str]:
        chosen = {
            "camera.source": f"loop:{self.clip}",
            "deployment.context": "art",
            "device.name": "kiosk",
            "page.port": self.port,
            "samples.consent": "asked-at-the-device",
            "samples.recipient": key_text(PUBLIC, RECIPIENT),
            **({"mqtt.host": self.broker.host, "mqtt.port": self.broker.port} if self.broker else {}),
            **{name.replace("__", "."): value for name, value in more.items()},
        }
        return [f"--set={key}={value}" for key, value in chosen.items()]

    @contextlib.contextmanager
    def running(self, verb: str, **more: object) -> Iterator[subprocess.Popen[bytes]]:
        own = {"RUNTIME_DIRECTORY": str(self.folder), "STATE_DIRECTORY": str(self.folder)}
        environment = os.environ | own | {"TMPDIR": str(self.folder / "tmp")}
        (self.folder / "tmp").mkdir(exist_ok=True)
        command = [sys.executable, "-m", "oahega_edge", verb, "--config=/dev/null", *self.settings(**more)]
        with self.log.open("a") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=log, cwd=self.folder)
        try:
            yield process
        finally:
            process.terminate()
            process.wait(PATIENCE)

    def asked(self, request: str, value: object = None) -> dict[str, Any]:
        return ask(self.folder / "control.sock", request, value)

    def sees_a_face(self) -> bool:
        try:
            return bool(self.asked("status")["state"]["faces"] == 1)
        except EdgeError:  # not yet there, or busy
            return False

    def post(self, path: str, body: object, **headers: str) -> tuple[int, dict[str, str], Any]:
        """Status, headers and JSON of one answer of the page."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        own = {"Origin": f"http://127.0.0.1:{self.port}"}
        connection.request("POST", path, json.dumps(body), own | headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer.status, dict(answer.headers), json.loads(text) if text.startswith("{") else text

    def offer(self) -> tuple[Mapping[str, str], dict[str, Any]]:
        """A press at the page: headers and what was offered; again while nobody is seen in time."""

        def pressed() -> tuple[Mapping[str, str], dict[str, Any]] | None:
            status, headers, answer = self.post("/sample", {})
            assert status == 200 or answer == {"reason": "nobody"}, answer
            return (headers, answer) if status == 200 else None

        return wait_until(pressed)  # type: ignore[no-any-return]

    def content(self) -> dict[str, bytes]:
        """Every regular file that the daemon and its page left."""
        files = (file for file in self.folder.rglob("*") if file.is_file())
        return {str(file.relative_to(self.folder)): file.read_bytes() for file in files}


def needles(png: bytes) -> list[bytes]:
    """What would show the crop: its file, its rows of pixels, and both in base64."""
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_UNCHANGED)
    rows = [row.tobytes()[:24] for row in pixels[4:-4:4] if len(set(row.tobytes()[:24])) > 8]
    assert len(rows) > 3
    plain = [png[40:72], png[-60:-28], *rows]
    return [b"\x89PNG", b"\xff\xd8\xff", *plain, *(base64.b64encode(text)[:-4] for text in plain)]


def verb(device: Device, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oahega_edge", *words],
        env=os.environ | {"RUNTIME_DIRECTORY": str(device.folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def has_plain_pixels(content: bytes, png: bytes) -> list[bytes]:
    return [needle for needle in needles(png) if needle in content]

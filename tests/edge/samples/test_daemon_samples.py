"""Samples of a real daemon and its page, with a face in front of the camera and a real broker."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from brokers import Ear, Mosquitto, free_port
from edge.samples.giving import RECIPIENT
from oahega_edge.control.client import NobodyListens, Refused, ask
from oahega_edge.errors import EdgeError
from oahega_edge.samples.keys import PUBLIC, key_text
from oahega_edge.tools.demo_clip import load_portraits
from page.served import listens
from waiting import PATIENCE, wait_until

pytestmark = pytest.mark.broker


def portrait_clip(path: Path) -> Path:
    """One face, which moves a little."""
    portrait = load_portraits()[0]
    scale = 180 / portrait.face_height
    large = cv2.resize(portrait.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    left, top = round(portrait.face_x * scale) - 200, max(0, round(portrait.face_y * scale) - 160)
    wall = np.full((480, 640, 3), 90, np.uint8)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 15, (640, 480))
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
        except NobodyListens:
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


def has_plain_pixels(content: bytes, png: bytes) -> list[bytes]:
    return [needle for needle in needles(png) if needle in content]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return portrait_clip(tmp_path_factory.mktemp("clip") / "face.avi")


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory, clip: Path, mosquitto: Mosquitto) -> Iterator[Device]:
    folder = tmp_path_factory.mktemp("device")
    started = Device(folder, clip, free_port(), tmp_path_factory.mktemp("log") / "log", mosquitto)
    with started.running("run"), started.running("page"):
        wait_until(lambda: listens(started.port))
        wait_until(started.sees_a_face)
        yield started


def given(device: Device) -> tuple[bytes, str]:
    """A sample that a visitor gave on the page: its crop and its code."""
    status, _, offer = device.post("/sample", {})
    assert (status, set(offer)) == (200, {"token", "picture", "labels"})
    status, _, kept = device.post("/sample/keep", {"token": offer["token"], "label": offer["labels"][0]})
    assert (status, set(kept)) == (200, {"code", "goes_on"})
    return base64.b64decode(offer["picture"]), kept["code"]


def test_the_crop_is_nowhere_but_in_the_answer_to_the_press(device: Device, mosquitto: Mosquitto) -> None:
    heard: list[bytes] = []
    feed = http.client.HTTPConnection("127.0.0.1", device.port, timeout=PATIENCE)
    feed.request("GET", "/events")
    stream = feed.getresponse()
    end = threading.Event()

    def listen() -> None:
        while not end.is_set():
            heard.append(stream.readline())

    ear = threading.Thread(target=listen)
    ear.start()
    with Ear(mosquitto, "#") as everything:
        png, code = given(device)
        seen = len(heard)
        wait_until(lambda: len(heard) > seen + 20)
        wait_until(lambda: any(b"sight" in line for line in heard[seen:]))
        published = b"".join(message.payload for message in everything.messages)
    end.set()
    ear.join()
    feed.close()

    assert published
    assert has_plain_pixels(b"".join(heard), png) == []
    assert has_plain_pixels(published, png) == []
    assert has_plain_pixels(device.log.read_bytes(), png) == []
    assert code.encode() not in device.log.read_bytes() + published + b"".join(heard)
    found = {name: has_plain_pixels(content, png) for name, content in device.content().items()}
    assert {name: what for name, what in found.items() if what} == {}
    assert any(name.endswith(".sample") for name in found)


def test_no_answer_with_a_crop_is_kept_by_a_browser(device: Device) -> None:
    _, headers, offer = device.post("/sample", {})

    assert headers["cache-control"] == "no-store"
    assert device.post("/sample/discard", {"token": offer["token"]})[0] == 200


def test_a_code_withdraws_on_the_page_and_by_the_verb(device: Device) -> None:
    before = device.asked("samples")["samples"]
    (_, one), (_, two) = given(device), given(device)
    assert device.asked("samples")["samples"] == before + 2

    assert device.post("/sample/withdraw", {"code": one})[0] == 200
    done = verb(device, "samples", "--withdraw", two)

    assert done.returncode == 0
    assert device.asked("samples")["samples"] == before
    assert device.post("/sample/withdraw", {"code": one})[::2] == (409, {"reason": "no_code"})
    assert verb(device, "samples", "--withdraw", two).returncode == 1


def verb(device: Device, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "oahega_edge", *words],
        env=os.environ | {"RUNTIME_DIRECTORY": str(device.folder)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("headers", [{"X-Forwarded-For": "192.0.2.1"}, {"Via": "1.1 proxy"}, {"Host": "kiosk"}])
def test_nobody_elsewhere_can_press(device: Device, headers: dict[str, str]) -> None:
    if "Host" in headers:
        headers = headers | {"Origin": "http://kiosk"}
    for path in ("/sample", "/sample/keep", "/sample/discard"):
        assert device.post(path, {}, **headers)[0] == 403


@pytest.mark.parametrize("body", [{}, {"token": "x", "label": "happy"}, {"token": 7}, [], "x" * 5000])
def test_a_token_that_was_not_given_keeps_nothing(device: Device, body: object) -> None:
    before = device.asked("samples")["samples"]

    assert device.post("/sample/keep", body)[::2] == (409, {"reason": "gone"})

    assert device.asked("samples")["samples"] == before


def test_a_mute_discards_the_crop_and_nobody_is_seen_while_it_lasts(device: Device) -> None:
    _, _, offer = device.post("/sample", {})

    device.asked("mute")
    assert device.post("/sample", {})[::2] == (409, {"reason": "muted"})
    device.asked("unmute")

    used = device.post("/sample/keep", {"token": offer["token"], "label": offer["labels"][0]})
    assert used[::2] == (409, {"reason": "gone"})
    wait_until(device.sees_a_face)


def test_a_disk_that_refuses_is_said_to_the_visitor_and_leaves_nothing_half_written(device: Device) -> None:
    shelf = device.folder / "samples"
    given(device)
    shelf.rename(device.folder / "away")
    shelf.symlink_to("/dev/full")  # refuses root as well
    _, _, offer = device.post("/sample", {})
    answer = device.post("/sample/keep", {"token": (offer or {}).get("token"), "label": "happy"})
    shelf.unlink()
    (device.folder / "away").rename(shelf)

    assert answer[0] == 409
    assert not [name for name in device.content() if name.endswith(".new")]
    assert given(device)


def test_what_lies_on_the_device_is_forgotten_by_one_verb(device: Device) -> None:
    given(device)
    counted = json.loads(verb(device, "samples").stdout)
    assert counted["samples"] >= 1

    done = verb(device, "samples", "--forget")

    assert json.loads(done.stdout) == {"deleted": counted["samples"]}
    assert device.asked("samples")["samples"] == 0


def test_with_consent_off_the_page_has_no_such_routes_and_the_daemon_refuses(
    tmp_path: Path, clip: Path
) -> None:
    device = Device(tmp_path, clip, free_port(), tmp_path / "log")
    off = {"samples__consent": "off"}

    with device.running("run", **off), device.running("page", **off):
        wait_until(lambda: listens(device.port))
        wait_until(device.sees_a_face)
        for path in ("/sample", "/sample/keep", "/sample/discard", "/sample/withdraw"):
            assert device.post(path, {})[0] == 404
        for request in ("sample", "sample-keep", "sample-record"):
            with pytest.raises(Refused, match="no samples are taken here"):
                device.asked(request, {"label": "happy"})

    assert not (tmp_path / "samples").exists()


@pytest.mark.parametrize("consent", ["asked-at-the-device", "written"])
@pytest.mark.parametrize("context", ["public-space", "own-home"])
def test_where_people_cannot_agree_the_daemon_does_not_start(
    context: str, consent: str, tmp_path: Path, clip: Path
) -> None:
    device = Device(tmp_path, clip, free_port(), tmp_path / "log")

    with device.running("run", deployment__context=context, samples__consent=consent) as process:
        assert process.wait(PATIENCE) == 78

    (sentence,) = device.log.read_text().splitlines()
    assert f"is impossible where deployment.context is '{context}'" in sentence


@pytest.mark.lengthy
def test_a_kill_at_any_moment_leaves_no_plain_crop(tmp_path: Path, clip: Path) -> None:
    device = Device(tmp_path / "device", clip, free_port(), tmp_path / "log")
    device.folder.mkdir()
    chance = random.Random(5)
    crops: list[bytes] = []

    def give() -> None:
        with contextlib.suppress(EdgeError):
            while True:
                offer = device.asked("sample")
                crops.append(base64.b64decode(offer["picture"]))
                device.asked("sample-keep", {"token": offer["token"], "label": offer["labels"][0]})

    for _ in range(6):
        with device.running("run", samples__most=1000) as process:
            wait_until(device.sees_a_face)
            giver = threading.Thread(target=give)
            already = len(crops)
            giver.start()
            wait_until(lambda already=already: len(crops) > already)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            giver.join()
        for name, content in device.content().items():
            assert not any(has_plain_pixels(content, png) for png in crops[already:]), name
            assert re.fullmatch(rb"oahegaS1.*", content, re.DOTALL) or not name.startswith("samples/")

    with device.running("run", samples__most=1000):
        wait_until(device.sees_a_face)
        wait_until(lambda: not list((device.folder / "samples").glob("*.new")))
        assert device.asked("samples")["samples"] > 0

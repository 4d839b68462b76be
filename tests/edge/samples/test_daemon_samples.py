"""Samples of a real daemon and its page, with a face in front of the camera and a real broker."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import random
import re
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from brokers import Ear, Mosquitto, free_port
from edge.samples.device import Device, has_plain_pixels, portrait_clip, verb
from oahega_edge.control.client import Refused
from oahega_edge.errors import EdgeError
from page.served import listens
from waiting import PATIENCE, await_end, beside, wait_until

pytestmark = [pytest.mark.broker, pytest.mark.lengthy]
SEALED = b"oahegaS1"
"""How every sealed sample begins."""
KILLS = 4


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return portrait_clip(tmp_path_factory.mktemp("clip") / "face.avi")


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path_factory.mktemp("broker")) as running:
        yield running


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
    _, offer = device.offer()
    assert set(offer) == {"token", "picture", "labels"}
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
        while not end.is_set() and (line := stream.readline()):
            heard.append(line)

    ear = beside(listen)
    with Ear(mosquitto.port) as everything:
        png, code = given(device)
        seen = len(heard)
        wait_until(lambda: len(heard) > seen + 20)
        wait_until(lambda: any(b"sight" in line for line in heard[seen:]))
        published = b"".join(message.payload for message in everything.heard)
    end.set()
    await_end(ear)
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
    headers, offer = device.offer()

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


@pytest.mark.parametrize(
    "headers", [{"X-Forwarded-For": "192.0.2.1"}, {"Via": "1.1 proxy"}, {"Host": "kiosk"}]
)
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
    _, offer = device.offer()

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


def test_the_verbs_of_the_documents_work(device: Device) -> None:
    page = (Path(__file__).resolve().parents[3] / "docs/learning.md").read_text(encoding="utf-8")
    verbs = re.findall(r"^oahega-edge (samples.*)$", page, re.MULTILINE)
    _, code = given(device)

    done = [verb(device, *words.replace("7KQM-2XWD-90FA", code).split()) for words in verbs]

    assert [one.returncode for one in done] == [0, 0, 0]
    assert [next(iter(json.loads(one.stdout))) for one in done] == ["samples", "done", "deleted"]


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


def test_where_people_cannot_agree_the_daemon_does_not_start(tmp_path: Path, clip: Path) -> None:
    device = Device(tmp_path, clip, free_port(), tmp_path / "log")

    with device.running("run", deployment__context="public-space") as process:
        assert process.wait(PATIENCE) == 78

    (sentence,) = device.log.read_text().splitlines()
    assert "is impossible where deployment.context is 'public-space'" in sentence


def test_of_people_who_agreed_in_writing_the_operator_takes_samples_by_a_verb(
    tmp_path: Path, clip: Path
) -> None:
    device = Device(tmp_path / "device", clip, free_port(), tmp_path / "log")
    device.folder.mkdir()
    written = {"samples__consent": "written", "deployment__context": "research"}

    with device.running("run", **written), device.running("page", **written):
        wait_until(lambda: listens(device.port))
        wait_until(device.sees_a_face)
        taken = verb(device, "sample", "happy")
        refused = verb(device, "sample", "joy")
        assert device.post("/sample", {})[0] == 404

        assert device.asked("samples")["samples"] == 1
        assert device.asked("samples-withdraw", {"code": json.loads(taken.stdout)["code"]}) == {"done": True}
        assert refused.returncode == 1
        assert "none of the expressions that are offered (angry, happy" in refused.stderr


def test_a_kill_at_any_moment_leaves_no_plain_crop(tmp_path: Path, clip: Path) -> None:
    device = Device(tmp_path / "device", clip, free_port(), tmp_path / "log")
    device.folder.mkdir()
    chance = random.Random(5)
    crops: list[bytes] = []
    kept: list[dict[str, object]] = []

    def give(process: subprocess.Popen[bytes]) -> None:
        while process.poll() is None:
            with contextlib.suppress(EdgeError):
                offer = device.asked("sample")
                crops.append(base64.b64decode(offer["picture"]))
                token = {"token": offer["token"], "label": offer["labels"][0]}
                kept.append(device.asked("sample-keep", token))

    for _ in range(KILLS):
        with device.running("run", samples__most=1000) as process:
            wait_until(device.sees_a_face, 4 * PATIENCE)
            already = len(crops)
            giver = beside(lambda process=process: give(process))
            wait_until(lambda already=already: kept and len(crops) > already)
            time.sleep(chance.uniform(0, 0.3))
            process.kill()
            await_end(giver)
        for name, content in device.content().items():
            assert not any(has_plain_pixels(content, png) for png in crops[already:]), name
            if name.startswith("samples/"):  # one that was being written may have ended anywhere
                begun = content[: len(SEALED)]
                assert begun == SEALED or (SEALED.startswith(begun) and name.endswith(".new")), name

    with device.running("run", samples__most=1000):
        wait_until(device.sees_a_face, 4 * PATIENCE)
        wait_until(lambda: not list((device.folder / "samples").glob("*.new")))
        assert device.asked("samples")["samples"] > 0

"""`check` tries what the daemon needs, says what it tried, and ends with what is not well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import terminals
from brokers import Mosquitto, free_port
from documents import ROOT
from mini_bundle import make_bundle
from noise_clip import make_clip
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError
from oahega_edge.service.settings import read_layers
from oahega_edge.service.setup import read_setup
from oahega_edge.tools.checks import CameraFigures, Checkup, Finding, check_camera
from waiting import PATIENCE, wait_until

FACE = ROOT / "docs/pictures/read.jpg"
EMBEDDED = ROOT / "edge/oahega_edge/bundles/default"
DEVELOPMENT = "deployment.context=development"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_bundle(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(tmp_path_factory.mktemp("clip") / "clip.avi")


class Tried:
    """A checkup of these settings, and what it said."""

    def __init__(self, folder: Path, bundle: Path, *settings: str) -> None:
        self.said: list[str] = []
        layers = read_layers(Path("/dev/null"), {}, [DEVELOPMENT, f"bundle.path={bundle}", *settings])
        environment = {"XDG_RUNTIME_DIR": str(folder), "HOME": str(folder)}
        self.checkup = Checkup(read_setup(layers), environment, self._say)

    def _say(self, finding: Finding) -> None:
        self.said.append(finding.as_line())

    def verdict(self) -> str:
        try:
            return self.checkup.finish()
        except EdgeError as error:
            return str(error)


def test_a_picture_of_the_camera_is_looked_at(tmp_path: Path, bundle: Path, clip: Path) -> None:
    tried = Tried(tmp_path, bundle, f"camera.source={clip}")

    tried.checkup.camera()

    assert tried.said[0].startswith("camera: a picture of 320x240")
    assert tried.verdict() == "all is well"


@pytest.mark.parametrize("source", ["9", "/no/such/clip.mp4", "http://127.0.0.1:1/video"])
def test_a_camera_that_gives_nothing_is_not_well(source: str, tmp_path: Path, bundle: Path) -> None:
    tried = Tried(tmp_path, bundle, f"camera.source={source}")

    tried.checkup.camera()

    assert tried.verdict().startswith("not well: camera: camera")


@pytest.mark.broker
def test_the_broker_is_connected_to(mosquitto: Mosquitto, tmp_path: Path, bundle: Path) -> None:
    tried = Tried(tmp_path, bundle, "mqtt.host=127.0.0.1", f"mqtt.port={mosquitto.port}")

    tried.checkup.broker()

    assert tried.said == [f"broker: 127.0.0.1:{mosquitto.port} accepts the connection"]
    assert tried.verdict() == "all is well"


@pytest.mark.broker
def test_a_broker_that_does_not_answer_or_refuses_is_not_well(tmp_path: Path, bundle: Path) -> None:
    port = free_port()
    absent = Tried(tmp_path, bundle, "mqtt.host=127.0.0.1", f"mqtt.port={port}")
    absent.checkup.broker()
    with Mosquitto(tmp_path, extra="allow_anonymous false") as strict:
        refused = Tried(tmp_path, bundle, "mqtt.host=127.0.0.1", f"mqtt.port={strict.port}")
        refused.checkup.broker()

    assert absent.verdict().startswith(f"not well: broker: the broker at 127.0.0.1:{port} cannot be reached")
    assert "trying again" not in absent.verdict() + refused.verdict()
    assert "refused the connection: Not authorized" in refused.verdict()


def test_every_part_that_is_not_well_is_named_at_the_end(tmp_path: Path, bundle: Path) -> None:
    tried = Tried(tmp_path, bundle, "camera.source=9", "mqtt.host=127.0.0.1", f"mqtt.port={free_port()}")

    tried.checkup.camera()
    tried.checkup.broker()

    assert [line.split(":")[1].strip() for line in tried.verdict().splitlines()] == ["camera", "broker"]


def test_faces_that_are_too_small_and_a_torn_picture_are_said() -> None:
    figures = CameraFigures(640, 480, (20, 14), 2, 120, 100, unread=2, problem="torn")

    assert "2 too small to be read" in figures.as_line()
    assert "the picture is torn" in figures.as_line()
    assert figures.as_json()["faces_too_small"] == 2


def test_faces_that_are_too_small_are_said_once_at_the_end(tmp_path: Path, bundle: Path) -> None:
    tried = Tried(tmp_path, bundle)
    sights = [CameraFigures(640, 480, (), 0, 120, 100, unread=unread) for unread in (0, 2, 1)]

    shown = list(tried.checkup.mounting(iter(sights)))
    list(tried.checkup.mounting(iter(sights[:1])))

    assert shown == sights
    assert tried.said == ["camera: 2 too small to be read: come closer, or set camera.roi"]
    assert tried.verdict() == "all is well"


def sight_of(largest: int, people: int = 1) -> CameraFigures:
    faces = (largest,) if largest else ()
    return CameraFigures(640, 480, faces, people, 120, 100, largest_on_input=largest)


@pytest.mark.parametrize(
    ("bundle_path", "finer"), [("", ', or bundle.path = "far"'), ("far", ""), ("tiny", "")]
)
def test_faces_that_are_small_to_the_detector_are_said_with_what_helps(
    tmp_path: Path, bundle: Path, bundle_path: str, finer: str
) -> None:
    tried = Tried(tmp_path, bundle if bundle_path == "tiny" else Path(bundle_path or EMBEDDED))
    size = {"": "320x240", "far": "480x360", "tiny": "64x64"}[bundle_path]

    list(tried.checkup.mounting(iter([sight_of(9), sight_of(14), sight_of(0)])))
    list(tried.checkup.mounting(iter([sight_of(0), sight_of(0, people=2)])))
    list(tried.checkup.mounting(iter([sight_of(14), sight_of(20)])))
    list(tried.checkup.mounting(iter([sight_of(0, people=0)])))

    where = f"on the detector's input of {size}, where half of the faces below 20 px are missed"
    help_ = f"come closer, or set camera.roi to the part with the people{finer}"
    assert tried.said == [
        f"camera: the largest face is 14 px high {where}: {help_}",
        f"camera: people are seen and no face {where}: {help_}",
    ]
    assert tried.verdict() == "all is well"


@pytest.mark.parametrize("rows", [1, 4])
def test_the_largest_face_is_measured_on_the_detectors_input(tmp_path: Path, rows: int) -> None:
    """In a picture of its own, and in a corner of a larger one."""
    picture = cv2.imread(str(FACE))
    height, width = picture.shape[:2]
    canvas = np.full((height * rows, width * rows, 3), 128, np.uint8)
    canvas[:height, :width] = picture
    file = tmp_path / "face.png"
    cv2.imwrite(str(file), canvas)
    layers = read_layers(Path("/dev/null"), {}, [DEVELOPMENT, f"camera.source={file}"])

    *_, last = check_camera(read_setup(layers), 60.0, threading.Event())

    assert last.largest_on_input == pytest.approx(last.faces[0] * 240 / last.height, abs=1)
    assert last.largest_on_input > 10
    assert last.as_json()["largest_face_on_input_px"] == last.largest_on_input


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return os.environ | {"XDG_RUNTIME_DIR": str(tmp_path), "NO_COLOR": "1", "COLUMNS": "80"}


def on_a_terminal(home: dict[str, str], *words: str) -> str:
    """What a verb prints to a person."""
    return terminals.on_a_terminal([sys.executable, "-m", "oahega_edge", *words], home).stdout


@pytest.fixture
def daemon(home: dict[str, str], tmp_path: Path, bundle: Path, clip: Path) -> Iterator[Any]:
    settings = [DEVELOPMENT, f"bundle.path={bundle}", f"camera.source=loop:{clip}", "device.name=kiosk"]
    command = [sys.executable, "-m", "oahega_edge", "run", *[f"--set={each}" for each in settings]]
    process = subprocess.Popen(command, env=home, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    socket = tmp_path / "oahega-edge-kiosk" / "control.sock"
    try:
        wait_until(socket.exists)
        wait_until(lambda: ask(socket, "status")["state"]["camera"] == "live")
        yield settings
    finally:
        process.terminate()
        process.wait(PATIENCE)


def test_status_is_lines_for_people_and_json_for_programs(home: dict[str, str], daemon: list[str]) -> None:
    def answered(*words: str, terminal: bool = True) -> str:
        """A daemon on a busy machine may be asked again."""
        command = [sys.executable, "-m", "oahega_edge", "status", *words]
        for _ in range(5):
            if terminal:
                said = on_a_terminal(home, "status", *words)
            else:
                said = subprocess.run(command, env=home, capture_output=True, text=True).stdout
            if said:
                return said
        raise AssertionError("the daemon never answered")

    shown = answered().splitlines()
    piped = answered(terminal=False)
    asked = answered("--json")

    assert len(shown) <= 10
    assert shown[0].startswith("device    kiosk (development)")
    assert len(piped.splitlines()) == 1
    assert json.loads(piped)["health"]["camera"]["state"] == "live"
    assert json.loads(asked)["state"]["device"] == "kiosk"


def test_the_camera_of_a_running_daemon_is_left_to_it(
    tmp_path: Path, bundle: Path, daemon: list[str]
) -> None:
    tried = Tried(tmp_path, bundle, "camera.source=9", "device.name=kiosk")

    tried.checkup.camera()

    assert tried.said[0].startswith("camera: live in the running daemon")
    assert tried.verdict() == "all is well"


def test_config_shows_the_settings_before_the_context_is_answered(home: dict[str, str], bundle: Path) -> None:
    words = ["config", "--config", os.devnull, f"--set=bundle.path={bundle}"]
    piped = subprocess.run(
        [sys.executable, "-m", "oahega_edge", *words], env=home, capture_output=True, text=True
    )
    shown = on_a_terminal(home, *words).splitlines()

    assert piped.returncode == 78
    assert "say where the device watches" in piped.stderr
    described = json.loads(piped.stdout)
    assert described["deployment"]["context"] == {"value": None, "from": "not set"}
    assert described["camera"]["rotate"]["value"] == 0
    assert "camera.rotate = 0  (packaged default)" in shown


def test_check_is_a_table_for_people_and_json_lines_for_programs(
    home: dict[str, str], bundle: Path, clip: Path
) -> None:
    port = free_port()
    sets = [f"--set={DEVELOPMENT}", f"--set=bundle.path={bundle}", f"--set=camera.source={clip}"]
    words = ["check", "--no-camera", *sets, "--set=mqtt.host=127.0.0.1", f"--set=mqtt.port={port}"]

    shown = on_a_terminal(home, *words).splitlines()
    piped = subprocess.run(
        [sys.executable, "-m", "oahega_edge", *words], env=home, capture_output=True, text=True
    )

    rows = {line[:14].strip(): line[15:24].strip() for line in shown if line[0] != " "}
    assert rows["settings"] == rows["bundle"] == "well"
    assert (rows["camera"], rows["broker"]) == ("-", "NOT WELL")
    assert max(len(line) for line in shown) <= 80
    findings = [json.loads(line) for line in piped.stdout.splitlines()]
    assert {each["part"]: each["well"] for each in findings if each["part"] in ("camera", "broker")} == {
        "camera": None,
        "broker": False,
    }
    assert piped.returncode == 1
    assert piped.stderr.splitlines()[-1].startswith("oahega-edge: not well: broker: ")
    assert piped.stderr.count(f"127.0.0.1:{port}") == 2  # said once, and in the verdict


def test_mute_answers_programs_in_json_and_people_in_words(home: dict[str, str], daemon: list[str]) -> None:
    asked = on_a_terminal(home, "mute", "--json")

    assert json.loads(asked)["muted"] is True


@pytest.mark.lengthy
def test_a_person_sees_no_json(home: dict[str, str], bundle: Path, clip: Path) -> None:
    sets = [f"--set={DEVELOPMENT}", f"--set=bundle.path={bundle}", f"--set=camera.source={clip}"]

    shown = on_a_terminal(home, "check", "--camera", "--no-broker", *sets)
    measured = on_a_terminal(home, "bench", str(clip), "--steps", "10", *sets)
    read = on_a_terminal(home, "read", str(FACE), f"--set=bundle.path={EMBEDDED}")
    followed = on_a_terminal(home, "replay", str(FACE), f"--set=bundle.path={EMBEDDED}")

    assert "320x240  faces: none" in shown
    assert "{" not in shown
    assert measured.startswith("stage")
    assert "{" not in measured
    assert read.split()[0] == "picture"
    assert followed.splitlines()[0].split() == ["time", "device", "face", "phase", "shows", "sure", "over"]
    assert "{" not in read + followed
    assert max(len(line) for line in (read + measured + followed).splitlines()) <= 80

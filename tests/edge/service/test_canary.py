"""No secret of the settings leaves the device: each holds a canary, and all that comes out is searched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from brokers import Ear, Mosquitto
from canary import ADDRESSES, CANARY
from edgetpu_bundle import add_edgetpu_files, make_coral_python
from mini_bundle import make_bundle
from network_camera import HttpCamera
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError, SettingsError
from oahega_edge.service.assembly import camera_address, make_camera
from oahega_edge.service.settings import Settings, read_layers
from waiting import PATIENCE, wait_until

KEYS = [
    (section, key)
    for section, field in Settings.model_fields.items()
    for key in field.annotation.model_fields  # type: ignore[union-attr]
]
COMPLETE = {
    "OAHEGA_DEPLOYMENT_CONTEXT": "development",
    "OAHEGA_DETECTION_FACE_SCORE": "0.5",
    "OAHEGA_DETECTION_PERSON_SCORE": "0.5",
    "OAHEGA_DETECTION_NMS_IOU": "0.5",
    "OAHEGA_SMOOTHING_FRAMES": "4",
    "OAHEGA_TRIGGER_THRESHOLD": "0.5",
}


def said_of(section: str, key: str, value: str, tmp_path: Path) -> str:
    """All that can be said of settings with this value in them."""
    file = tmp_path / "edge.toml"
    file.write_text(f"[{section}]\n{key} = {value}\n")
    environment = {name: text for name, text in COMPLETE.items() if not name.endswith(f"_{key.upper()}")}
    try:
        settings = read_layers(file, environment, []).resolve()
    except SettingsError as error:
        return f"{error} {error!r} {error.__cause__} {error.__cause__!r}"
    said = f"{settings!r} {settings} {settings.model_dump_json()}"
    if section == "camera":
        with contextlib.suppress(SettingsError):  # whose text is said as well
            try:
                said += repr(vars(make_camera(settings)).get("name", ""))
            except EdgeError as error:
                said += str(error)
    return said


@pytest.mark.parametrize("value", [f'"rtsp://me:{CANARY}@h/x?k={CANARY}"', f'["rtsp://me:{CANARY}@h/x"]'])
@pytest.mark.parametrize(("section", "key"), KEYS)
def test_a_login_in_any_setting_is_never_said(section: str, key: str, value: str, tmp_path: Path) -> None:
    assert CANARY not in said_of(section, key, value, tmp_path)


@pytest.mark.parametrize("key", ["source", "sorce", "password", "user"])
@pytest.mark.parametrize("value", [f"'{CANARY}@'", f"['{CANARY}']", f"{{ x = '{CANARY}' }}"])
def test_no_error_repeats_what_stands_in_the_place_of_a_secret(key: str, value: str, tmp_path: Path) -> None:
    assert CANARY not in said_of("camera", key, value, tmp_path)


@pytest.mark.parametrize("address", [address for address in ADDRESSES if "'" not in address])
def test_no_address_of_a_camera_is_said(address: str, tmp_path: Path) -> None:
    assert CANARY not in said_of("camera", "source", f"'{address}'", tmp_path)


def test_the_command_line_takes_no_login() -> None:
    for assignment in (f"camera.source=rtsp://me:{CANARY}@cam/1", f"mqtt.host=mqtt://me:{CANARY}@broker"):
        with pytest.raises(SettingsError, match="can be read by every user") as caught:
            read_layers(None, {}, [assignment])
        assert CANARY not in str(caught.value)


@pytest.mark.parametrize("where", ["file", "credential"])
def test_the_login_of_a_camera_comes_from_a_file_or_a_credential(where: str, tmp_path: Path) -> None:
    (tmp_path / "camera-password").write_text("p/#w\n")
    environment = COMPLETE | {"OAHEGA_CAMERA_SOURCE": "rtsp://cam/1", "OAHEGA_CAMERA_USER": "me"}
    if where == "file":
        environment["OAHEGA_CAMERA_PASSWORD_FILE"] = str(tmp_path / "camera-password")
    settings = read_layers(Path(os.devnull), environment, []).resolve()

    credentials = {"CREDENTIALS_DIRECTORY": str(tmp_path)} if where == "credential" else {}

    assert camera_address(settings, credentials) == "rtsp://me:p%2F%23w@cam/1"


@pytest.mark.parametrize("source", ["rtsp://me:x@cam/1", "picamera", "0"])
def test_a_user_beside_another_or_without_an_address_is_refused(source: str) -> None:
    environment = COMPLETE | {"OAHEGA_CAMERA_SOURCE": source, "OAHEGA_CAMERA_USER": "me"}

    with pytest.raises(SettingsError, match="names no user"):
        read_layers(Path(os.devnull), environment, []).resolve()


class House:
    """A daemon with a network camera, a broker and an accelerator's process, and secrets everywhere."""

    def __init__(self, folder: Path, camera: str, port: int) -> None:
        self.folder = folder
        bundle = make_bundle(folder / "bundle")
        add_edgetpu_files(bundle)
        for name in ("camera-password", "mqtt-password"):
            (folder / name).write_text(f"{CANARY}\n")
        self.state = folder / "state"
        self.config = folder / "edge.toml"
        self.config.write_text(f"""
            [deployment]
            context = "development"
            [camera]
            {camera}
            [bundle]
            path = "{bundle}"
            [runtime]
            accelerator = "usb"
            python = "{make_coral_python(folder)}"
            [mqtt]
            host = "127.0.0.1"
            port = {port}
            username = "{CANARY}"
            password_file = "{folder / "mqtt-password"}"
            discovery = true
            commands = true
            [logging]
            level = "debug"
            """)
        self.environment = os.environ | {
            "RUNTIME_DIRECTORY": str(folder),
            "STATE_DIRECTORY": str(self.state),
            "OAHEGA_MQTT_USERNAME": CANARY,
        }
        with (folder / "log").open("w") as log:
            self.process = subprocess.Popen(
                self._command("run"), env=self.environment, stdout=log, stderr=log
            )

    def verb(self, verb: str, *words: str) -> str:
        done = subprocess.run(
            [*self._command(verb), *words], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        return ask(self.folder / "control.sock", "status")

    def children(self) -> list[Path]:
        tasks = Path(f"/proc/{self.process.pid}/task").glob("*/children")
        return [Path("/proc") / child for task in tasks for child in task.read_text().split()]

    def end(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(PATIENCE)

    def _command(self, verb: str) -> list[str]:
        return [sys.executable, "-m", "oahega_edge", verb, f"--config={self.config}"]


@pytest.fixture
def camera() -> Iterator[HttpCamera]:
    with HttpCamera(lambda i: np.full((96, 128, 3), 40 + i % 100, np.uint8), fps=10) as camera:
        yield camera


@pytest.mark.lengthy
@pytest.mark.broker
@pytest.mark.parametrize("way", ["in the address", "in a file", "of a camera that is away"])
def test_nothing_that_the_product_emits_holds_a_secret(
    way: str, tmp_path: Path, mosquitto: Mosquitto, camera: HttpCamera
) -> None:
    host = camera.url.removeprefix("http://")
    house = House(
        tmp_path,
        {
            "in the address": f'source = "http://me:{CANARY}@{host}?pwd={CANARY}"',
            "in a file": f'source = "{camera.url}"\nuser = "{CANARY}"\n'
            f'password_file = "{tmp_path / "camera-password"}"',
            "of a camera that is away": f'source = "rtsp://me:x#{CANARY}/y@127.0.0.1:9/{CANARY}"',
        }[way],
        mosquitto.port,
    )
    expected = "stalled" if "away" in way else "live"
    said: list[str] = []

    with Ear(mosquitto.port) as ear:
        wait_until(lambda: house.process.poll() is not None or (tmp_path / "control.sock").exists())
        wait_until(lambda: house.status()["state"]["camera"] == expected)
        wait_until(lambda: ear.on("/health"))
        children = house.children()
        for child in children:
            said += [(child / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")]
        said.append(Path(f"/proc/{house.process.pid}/cmdline").read_text())
        said += [json.dumps(house.status()), house.verb("config")]
        said.append(house.verb("check", "--camera", "--seconds=1"))
        house.end()
        said += [f"{each.topic} {each.text} {each.properties}" for each in ear.heard]
    with Ear(mosquitto.port) as late:
        wait_until(lambda: late.on("/info"))
        said += [each.text for each in late.heard]
    said.append((tmp_path / "log").read_text())
    said += [file.read_bytes().decode(errors="replace") for file in house.state.rglob("*") if file.is_file()]

    assert children
    leaks = [text[max(0, text.find(CANARY) - 200) :][:400] for text in said if CANARY in text]
    assert leaks == []

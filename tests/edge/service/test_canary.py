"""No secret of the settings leaves the device: each holds a canary, and all that comes out is searched."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener, urlopen

import numpy as np
import psutil
import pytest

from brokers import Ear, Mosquitto, free_port
from canary import ADDRESSES, CANARY
from edgetpu_bundle import add_edgetpu_files, make_coral_python
from mini_bundle import make_bundle
from network_camera import HttpCamera
from oahega_edge.control.client import ask
from oahega_edge.errors import EdgeError, SettingsError
from oahega_edge.page.command import page_command
from oahega_edge.publishers.broker import tls_context
from oahega_edge.secret import Hidden
from oahega_edge.service.assembly import camera_address, make_camera, mqtt_options
from oahega_edge.service.settings import Settings, read_layers
from page.served import listens
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


SECRETS = {
    f"{section}.{key}"
    for section, key in KEYS
    if (section, key) != ("camera", "source")
    and (Settings.model_fields[section].annotation.model_fields[key].annotation is Hidden or "_file" in key)  # type: ignore[union-attr]
}
"""Settings that hold a secret or name a file with one, besides the camera's address."""
OF_TLS = {"mqtt.ca_file", "mqtt.cert_file", "mqtt.key_file"}
WRONG_FILES = {
    "long": f"{CANARY} " * 100_000,
    "binary": f"\0\xff{CANARY}",
    "lines": f"{CANARY}\n{CANARY}\n",
    "short": f"{CANARY}"[:9],
    "begun": f"-----BEGIN PRIVATE KEY-----\n{CANARY}\n-----END PRIVATE KEY-----\n",
}


@pytest.mark.parametrize("content", WRONG_FILES.values(), ids=WRONG_FILES)
@pytest.mark.parametrize("setting", sorted(SECRETS - {"camera.user", "mqtt.username"}))
def test_no_error_of_a_file_repeats_what_is_in_it(setting: str, content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content.encode("latin-1"))
    beside = {"OAHEGA_CAMERA_SOURCE": "rtsp://cam/1", "OAHEGA_CAMERA_USER": "me", "OAHEGA_PAGE_PORT": "8321"}
    named = {"OAHEGA_" + setting.replace(".", "_").upper(): str(tmp_path / "file")}
    if setting == "mqtt.key_file":
        named["OAHEGA_MQTT_CERT_FILE"] = str(tmp_path / "file")
    said: list[str] = []
    try:
        settings = read_layers(Path(os.devnull), COMPLETE | beside | named, []).resolve()
        said.append(repr(settings))
        said.append(repr(page_command(settings, {}, None)))
        camera_address(settings, {})
        options = mqtt_options(settings, {})
        said.append(repr(options))
        tls_context(options)
    except EdgeError as error:
        said += [str(error), repr(error), str(error.__cause__), str(error.__context__)]

    assert said
    assert not [text for text in said if CANARY[:9] in text]


class House:
    """A daemon with a camera, a broker, an accelerator and a page, and secrets everywhere."""

    def __init__(self, folder: Path, camera: str, port: int) -> None:
        self.folder = folder
        bundle = make_bundle(folder / "bundle")
        add_edgetpu_files(bundle)
        for name in ("camera-password", "mqtt-password", "page-token"):
            (folder / name).write_text(f"{CANARY}{CANARY}\n")
        self.page_port, self.metrics_port = free_port(), free_port()
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
            [page]
            port = {self.page_port}
            token_file = "{folder / "page-token"}"
            [metrics]
            port = {self.metrics_port}
            [logging]
            level = "debug"
            """)
        self.environment = os.environ | {
            "RUNTIME_DIRECTORY": str(folder),
            "STATE_DIRECTORY": str(self.state),
            "OAHEGA_MQTT_USERNAME": CANARY,
            "PYTHONFAULTHANDLER": "1",
        }
        self.process, self.page = self._start("run"), self._start("page")

    def _start(self, verb: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"{verb}.log").open("w") as log:
            return subprocess.Popen(self._command(verb), env=self.environment, stdout=log, stderr=log)

    def verb(self, verb: str, *words: str) -> str:
        done = subprocess.run(
            [*self._command(verb), *words], env=self.environment, capture_output=True, text=True, check=False
        )
        return done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        return ask(self.folder / "control.sock", "status")

    def told_to_children(self) -> list[str]:
        """Arguments and environment of each child that there is now."""
        told = []
        for child in psutil.Process(self.process.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):  # a camera that is away is tried again and again
                told.append(f"{child.cmdline()} {child.environ()}")
        return told

    def served(self) -> str:
        """The page with the token, a few messages of its stream, and the metrics."""
        said = [urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=PATIENCE).read().decode()]
        asks = build_opener(HTTPCookieProcessor())
        given = Request(f"http://127.0.0.1:{self.page_port}/enter", f"token={CANARY}{CANARY}".encode())
        given.add_header("Origin", f"http://127.0.0.1:{self.page_port}")
        said.append(asks.open(given, timeout=PATIENCE).read().decode())
        with asks.open(f"http://127.0.0.1:{self.page_port}/events", timeout=PATIENCE) as stream:
            said += [stream.readline().decode() for _ in range(20)]
        return "\n".join(said)

    def refused(self) -> str:
        """What the page says to somebody without the token."""
        try:
            return urlopen(f"http://127.0.0.1:{self.page_port}/events", timeout=PATIENCE).read().decode()
        except HTTPError as error:
            return f"{error.headers} {error.read().decode()}"

    def end(self, how: signal.Signals) -> None:
        for process in (self.page, self.process):
            process.send_signal(how)
            process.wait(PATIENCE)

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
    expected, crashes = "stalled" if "away" in way else "live", way == "in a file"
    if crashes:  # this way, every setting that can hold a secret does
        planted = tomllib.loads(house.config.read_text())
        there = {f"{section}.{key}" for section, keys in planted.items() for key in keys}
        assert there >= SECRETS - OF_TLS
    said: list[str] = []

    with Ear(mosquitto.port) as ear:
        wait_until(lambda: house.process.poll() is not None or (tmp_path / "control.sock").exists())
        wait_until(lambda: house.status()["state"]["camera"] == expected)
        wait_until(lambda: ear.on("/health"))
        wait_until(lambda: listens(house.page_port))
        # The accelerator's, and that of a camera; a busy machine may be starting one anew.
        children = wait_until(
            lambda: told if len(told := house.told_to_children()) >= (1 if "away" in way else 2) else None
        )
        page = psutil.Process(house.page.pid)
        said += [*children, f"{page.cmdline()} {page.environ()}"]
        said.append(str(psutil.Process(house.process.pid).cmdline()))
        said += [json.dumps(house.status()), house.served(), house.refused(), house.verb("config")]
        said.append(house.verb("check", "--camera", "--seconds=1"))
        house.end(signal.SIGABRT if crashes else signal.SIGTERM)
        said += [f"{each.topic} {each.text} {each.properties}" for each in ear.heard]
    with Ear(mosquitto.port) as late:
        wait_until(lambda: late.on("/info"))
        said += [each.text for each in late.heard]
    logs = {name: (tmp_path / f"{name}.log").read_text() for name in ("run", "page")}
    said += logs.values()
    said += [file.read_bytes().decode(errors="replace") for file in house.state.rglob("*") if file.is_file()]

    assert ("Fatal Python error: Aborted" in logs["run"]) == crashes
    leaks = [text[max(0, text.find(CANARY) - 200) :][:400] for text in said if CANARY in text]
    assert leaks == []

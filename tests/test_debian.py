"""What the Debian package asks and what it writes of the answers; tests/fleet/test_package.py installs it."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from oahega_edge.service.settings import Settings

ROOT = Path(__file__).resolve().parents[1]
TEMPLATES = (ROOT / "debian/templates").read_text(encoding="utf-8")


def printed(*words: str, **answers: str) -> str:
    """What the package's script makes of these answers."""
    environment = {f"OAHEGA_{name.upper()}": answer for name, answer in answers.items()}
    command = [sys.executable, ROOT / "debian/settings.py", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout


def written(**answers: str) -> dict[str, Any]:
    """The settings that it writes."""
    return tomllib.loads(printed(**answers))


def test_no_installation_answers_for_somebody_where_the_device_watches() -> None:
    question = TEMPLATES.partition("\n\n")[0]
    choices = re.search(r"^Choices: (.*)$", question, re.MULTILINE)

    assert choices is not None
    assert choices.group(1).split(", ")[0] == "undecided"
    assert "\nDefault: undecided\n" in question
    assert written(context="undecided") == written() == {}


def test_every_other_choice_is_one_that_the_daemon_takes() -> None:
    choices = re.search(r"^Choices: (.*)$", TEMPLATES, re.MULTILINE)

    assert choices is not None
    for choice in choices.group(1).split(", ")[1:]:
        assert Settings.model_fields["deployment"].annotation(**written(context=choice)["deployment"])  # type: ignore[misc]


@pytest.mark.parametrize(
    ("broker", "host", "port"),
    [
        ("broker.example.org", "broker.example.org", 1883),
        ("broker.example.org:8883", "broker.example.org", 8883),
        ("[::1]:8883", "::1", 8883),
        ("[::1]", "::1", 1883),
        ("fe80::12", "fe80::12", 1883),
        (' "quoted"\\ ', '"quoted"\\', 1883),
    ],
)
def test_the_broker_is_a_host_and_a_port(broker: str, host: str, port: int) -> None:
    assert written(broker=broker)["mqtt"] == {"host": host, "port": port}


def test_without_a_broker_there_is_no_user() -> None:
    assert written(camera="0", username="kiosk") == {"camera": {"source": "0"}}


@pytest.mark.parametrize(
    ("address", "source", "user", "password", "kept"),
    [
        ("picamera", "picamera", None, "", "picamera"),
        ("0", "0", None, "", "0"),
        ("/dev/v4l/by-id/cam:1", "/dev/v4l/by-id/cam:1", None, "", "/dev/v4l/by-id/cam:1"),
        ("rtsp://cam/main", "rtsp://cam/main", None, "", "rtsp://cam/main"),
        ("rtsp://kiosk@cam:554/main", "rtsp://cam:554/main", "kiosk", "", "rtsp://kiosk@cam:554/main"),
        ("rtsp://kiosk:pa:ss@cam/main", "rtsp://cam/main", "kiosk", "pa:ss", "rtsp://kiosk@cam/main"),
        ("http://k:p%40ss@[::1]:80/v?key=1", "http://[::1]:80/v?key=1", "k", "p@ss", "http://k@[::1]:80/v"),
        ("http://cam/v?key=SECRET", "http://cam/v?key=SECRET", None, "", "http://cam/v"),
        ("rtsp://a:p@ss@cam/x@y", "rtsp://cam/x@y", "a", "p@ss", "rtsp://a@cam/x@y"),
        ("rtsp://a%40b:p@cam/x", "rtsp://cam/x", "a@b", "p", "rtsp://a%40b@cam/x"),
    ],
)
def test_a_cameras_password_lands_in_no_settings_and_not_in_debconf(
    address: str, source: str, user: str | None, password: str, kept: str
) -> None:
    camera = written(camera=address)["camera"]

    assert camera == {"source": source} | ({"user": user} if user else {})
    assert printed("camera-password", camera=address) == f"{password}\n"
    assert printed("camera", camera=address) == f"{kept}\n"
    assert written(camera=kept)["camera"].get("user") == user

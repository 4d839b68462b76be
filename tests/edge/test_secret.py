"""What is shown of an address with a secret in it, whatever it is written like."""

from __future__ import annotations

import subprocess
import sys

import pytest

from canary import ADDRESSES, CANARY
from oahega_edge.secret import Hidden, Source, holds_secret, masked, shown, with_login


@pytest.mark.parametrize("address", ADDRESSES)
def test_no_secret_of_an_address_is_shown(address: str) -> None:
    source = Source(address)

    assert CANARY not in shown(address)
    assert CANARY not in f"{source} {source!r}"
    assert source.get_secret_value() == address


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("rtsp://me:pw@cam:554/live", "rtsp://***@cam:554/***"),
        ("http://cam:8080/", "http://cam:8080/"),
        ("rtsp://[fe80::1]:554/live", "rtsp://[fe80::1]:554/***"),
        ("/dev/v4l/by-path/pci-0000:01:00.0-video-index0", "/dev/v4l/by-path/pci-0000:01:00.0-video-index0"),
        ("picamera:1", "picamera:1"),
        ("loop:clip.mp4", "loop:clip.mp4"),
        ("0", "0"),
    ],
)
def test_what_tells_one_camera_from_another_is_shown(source: str, expected: str) -> None:
    assert shown(source) == expected


@pytest.mark.parametrize("address", [a for a in ADDRESSES if "://" in a and " " not in a and {*"@?"} & {*a}])
@pytest.mark.parametrize("text", ["cannot open {}: gone", "camera {!r} is gone", "({})"])
def test_no_secret_of_an_address_inside_other_text_is_shown(address: str, text: str) -> None:
    assert CANARY not in masked(text.format(address))


def test_other_text_stays_as_it_is() -> None:
    text = "broker 127.0.0.1:1883, see https://example.org/docs, mail a@b.c, why?"

    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        ("rtsp://me:pw@cam/1", True),
        ("RTSP://me@cam/1", True),
        ("http://cam/x?PWD=1", True),
        ("http://cam/x?channel=1&subtype=0", False),
        ("me:pw@cam", True),
        ("loop:clip@2x.mp4", False),
        ("clips/me@home.mp4", False),
        ("10", False),
        ("Museum, https://museum.example, light@museum.example", False),
    ],
)
def test_a_login_in_a_command_line_is_noticed(text: str, refused: bool) -> None:
    assert holds_secret(text) is refused


def test_any_character_may_be_in_a_password() -> None:
    assert with_login("rtsp://cam/1", "mé", "p/#?@:%w") == "rtsp://m%C3%A9:p%2F%23%3F%40%3A%25w@cam/1"


def test_of_a_hidden_text_nothing_is_shown_but_whether_it_is_there() -> None:
    assert str(Hidden("x" * 40)) == str(Hidden("y")) == "***"
    assert str(Hidden("")) == ""


def test_a_process_can_forbid_that_others_read_its_memory() -> None:
    script = (
        "import ctypes; from oahega_edge.child import forbid_dumps; forbid_dumps();"
        "print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"  # PR_GET_DUMPABLE
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == "0\n"

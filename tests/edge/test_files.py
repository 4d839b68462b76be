"""Files from outside: regular ones, whole, bounded, and never waited for."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oahega_edge.errors import SettingsError
from oahega_edge.files import read_file, replace_file
from oahega_edge.publishers.broker import BrokerOptions, tls_context
from oahega_edge.service.settings import read_layers, read_password
from waiting import wait_until


def refusal(path: Path, most: int = 100, folder: Path | None = None) -> str:
    with pytest.raises(OSError, match=r".") as caught:
        read_file(path, most, folder)
    assert caught.value.filename == str(path)
    return str(caught.value.strerror)


def a_pipe(path: Path) -> None:
    os.mkfifo(path)


def a_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def a_terminal(path: Path) -> None:
    path.symlink_to("/dev/ptmx")


def a_folder(path: Path) -> None:
    path.mkdir()


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        os.chdir(path.parent)  # its address may have 108 bytes
        one.bind(path.name)


def a_circle(path: Path) -> None:
    path.symlink_to(path)


def nothing(path: Path) -> None:
    path.symlink_to(path.with_name("absent"))


def a_huge_file(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(8 << 30)


STRANGE = {
    a_pipe: "it is a pipe",
    a_device: "it is a device",
    a_terminal: "it is a device",
    a_folder: "it is a folder",
    a_socket: "it is a socket",
    a_circle: "symbolic links",
    nothing: "No such file",
    a_huge_file: "it has 8589934592 bytes, more than",
}
strange = pytest.mark.parametrize(("make", "said"), STRANGE.items(), ids=[make.__name__ for make in STRANGE])


def test_a_file_of_the_largest_size_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x" * 100)

    assert read_file(tmp_path / "file", 100) == b"x" * 100


def test_the_null_device_is_an_empty_file() -> None:
    assert read_file(Path("/dev/null"), 100) == b""


@pytest.mark.parametrize("size", [101, 1 << 20])
def test_a_larger_file_is_not_read(tmp_path: Path, size: int) -> None:
    (tmp_path / "file").write_bytes(b"x" * size)

    assert refusal(tmp_path / "file") == f"it has {size} bytes, more than 100"


@strange
def test_what_is_no_file_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")  # type: ignore[operator]

    assert said in refusal(tmp_path / "file")


def test_a_file_that_says_nothing_of_its_size_is_refused() -> None:
    assert "grew while" in refusal(Path("/proc/self/status"))


def test_a_name_with_a_zero_byte_is_refused(tmp_path: Path) -> None:
    assert "zero byte" in refusal(tmp_path / "fi\0le")


def test_a_link_is_followed_within_the_folder_only(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "data").mkdir(parents=True)
    (folder / "data" / "file").write_text("inside")
    (tmp_path / "outside").write_text("outside")
    (folder / "near").symlink_to("data/file")
    (folder / "far").symlink_to("../outside")
    (folder / "over").symlink_to("data/../../outside")
    (tmp_path / "link").symlink_to(folder)

    assert read_file(folder / "near", 100, folder) == b"inside"
    assert read_file(tmp_path / "link" / "near", 100, tmp_path / "link") == b"inside"
    assert read_file(folder / "far", 100) == b"outside"
    for name in ("far", "over"):
        assert refusal(folder / name, folder=folder) == "it is a link out of its folder"


@strange
def test_settings_and_passwords_of_strange_kinds_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")  # type: ignore[operator]

    with pytest.raises(SettingsError, match=r"file cannot be read: .") as settings:
        read_layers(tmp_path / "file", {}, ())
    with pytest.raises(SettingsError, match="cannot be read") as password:
        read_password(tmp_path / "file", "mqtt.password_file")

    assert said in str(settings.value)
    assert said in str(password.value)
    assert "\n" not in f"{settings.value}{password.value}"


@strange
def test_certificates_of_strange_kinds_are_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: object, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    make(tmp_path / "file")  # type: ignore[operator]
    file = str(tmp_path / "file")

    for names in ({"ca_file": file}, {"cert_file": file, "key_file": file}):
        with pytest.raises(SettingsError, match="name readable PEM files") as caught:
            tls_context(BrokerOptions(host="broker", tls="on", **names))  # type: ignore[arg-type]
        assert said in str(caught.value)


def test_a_file_is_replaced_whole_and_nothing_stays_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "file.json"

    for text in ("a longer text, with \u00e9", "short"):
        replace_file(path, text)

        assert path.read_bytes() == text.encode()
        assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_cannot_be_replaced_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    replace_file(path, "old")
    (tmp_path / ".file.json.new").mkdir()

    with pytest.raises(OSError, match="directory"):
        replace_file(path, "new")

    assert path.read_text() == "old"


REPLACES = """
import sys
from pathlib import Path
from oahega_edge.files import replace_file
while True:
    for letter, size in (("a", 20_000), ("b", 60_000)):
        replace_file(Path(sys.argv[1]), letter * size)
"""


def test_a_process_that_is_killed_meanwhile_leaves_the_old_text_or_the_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"

    for pause in (0.0, 0.005, 0.02):
        path.unlink(missing_ok=True)
        with subprocess.Popen([sys.executable, "-c", REPLACES, path]) as replacing:
            wait_until(path.exists)
            time.sleep(pause)
            replacing.kill()

        assert path.read_text() in ("a" * 20_000, "b" * 60_000)

"""Text as editors on any system save it is read as what it says."""

from __future__ import annotations

import codecs
from pathlib import Path

import pytest

from oahega_edge.errors import SettingsError
from oahega_edge.service.settings import read_layers, read_password
from oahega_edge.text import read_text

TEXT = 'context = "büro"\nname = "a"\n'
SAVED_BY = {
    "unix": TEXT.encode(),
    "mark": codecs.BOM_UTF8 + TEXT.replace("\n", "\r\n").encode(),
    "utf-16": TEXT.replace("\n", "\r\n").encode("utf-16"),
    "big-endian utf-16": codecs.BOM_UTF16_BE + TEXT.encode("utf-16-be"),
    "utf-16 without a mark": TEXT.encode("utf-16-le"),
    "old mac": TEXT.replace("\n", "\r").encode(),
}


@pytest.mark.parametrize("data", SAVED_BY.values(), ids=SAVED_BY)
def test_marks_encodings_and_line_ends_are_not_part_of_the_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)

    assert read_text(tmp_path / "file", 100) == TEXT


@pytest.mark.parametrize("data", [b"", b"a", b"\n"])
def test_short_files_are_text(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data)

    assert read_text(tmp_path / "file", 100) == data.decode()


def test_another_encoding_is_refused_with_the_place_and_a_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(TEXT.encode("cp1252"))

    with pytest.raises(ValueError, match="not UTF-8 at byte 12; save it as UTF-8"):
        read_text(tmp_path / "file", 100)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_settings_and_passwords_from_a_windows_editor_are_read(encoding: str, tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_bytes('[deployment]\r\ncontext = "development"\r\n'.encode(encoding))
    (tmp_path / "password").write_bytes("geheim \r\n".encode(encoding))

    layers = read_layers(tmp_path / "edge.toml", {}, ())

    assert layers.merged()["deployment"]["context"][0] == "development"
    assert read_password(tmp_path / "password", "mqtt.password_file").get_secret_value() == "geheim "


def test_settings_in_another_encoding_are_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "edge.toml").write_bytes('[device]\nname = "büro"\n'.encode("latin-1"))

    with pytest.raises(SettingsError, match=r"edge\.toml is not TOML: it is not UTF-8 at byte"):
        read_layers(tmp_path / "edge.toml", {}, ())


def test_a_password_file_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--password-file"):
        read_password(tmp_path / "absent", "--password-file")

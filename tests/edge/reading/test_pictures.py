"""A picture is read in whatever usual form people have it."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image, features

from oahega_edge.cameras import open_camera
from oahega_edge.decoding import orientation_of
from oahega_edge.errors import CameraError
from oahega_edge.reading.pictures import decode, pictures_of, read_file

SIZE = (96, 64)
ORIENTATION = 0x112
"""EXIF's tag."""


def drawing() -> Image.Image:
    """Four plain quarters, so that a turned, mirrored or wrongly coloured picture is noticed."""
    pixels = np.full((SIZE[1], SIZE[0], 3), 255, np.uint8)
    pixels[:32, :48] = (200, 40, 30)
    pixels[:32, 48:] = (30, 160, 60)
    pixels[32:, :48] = (40, 60, 190)
    return Image.fromarray(pixels)


def encoded(picture: Image.Image, kind: str, **options: Any) -> bytes:
    out = io.BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


TURNS = (
    *(None, Image.Transpose.FLIP_LEFT_RIGHT, Image.Transpose.ROTATE_180, Image.Transpose.FLIP_TOP_BOTTOM),
    *(Image.Transpose.TRANSPOSE, Image.Transpose.ROTATE_90, Image.Transpose.TRANSVERSE),
    Image.Transpose.ROTATE_270,
)
"""What a camera that writes orientation 1 to 8 did to the scene."""


def stored(orientation: int, picture: Image.Image, kind: str) -> bytes:
    """A picture as a turned or mirroring camera saves it."""
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    turn = TURNS[orientation - 1]
    options: dict[str, Any] = {"lossless": True} if kind == "WEBP" else {"quality": 95}
    return encoded(picture if turn is None else picture.transpose(turn), kind, exif=exif, **options)


def sixteen_bit() -> bytes:
    done, data = cv2.imencode(".png", np.asarray(drawing())[..., ::-1].astype(np.uint16) * 257)
    assert done
    return data.tobytes()


def animation() -> bytes:
    others = [Image.new("RGB", SIZE, colour) for colour in ("black", "gray")]
    return encoded(drawing(), "GIF", save_all=True, append_images=others)


COLOURED: dict[str, Callable[[], bytes]] = {
    "JPEG": lambda: encoded(drawing(), "JPEG", quality=95),
    "progressive JPEG": lambda: encoded(drawing(), "JPEG", quality=95, progressive=True),
    "CMYK JPEG": lambda: encoded(drawing().convert("CMYK"), "JPEG", quality=95),
    "PNG": lambda: encoded(drawing(), "PNG"),
    "PNG with alpha": lambda: encoded(drawing().convert("RGBA"), "PNG"),
    "PNG with a palette": lambda: encoded(drawing().quantize(8), "PNG"),
    "PNG of 16 bit": sixteen_bit,
    "WebP": lambda: encoded(drawing(), "WEBP", lossless=True),
    "BMP": lambda: encoded(drawing(), "BMP"),
    "TIFF": lambda: encoded(drawing(), "TIFF"),
    "GIF": lambda: encoded(drawing(), "GIF"),
    "GIF with several frames": animation,
}


@pytest.mark.parametrize("kind", COLOURED)
def test_a_picture_is_the_same_in_every_format(kind: str) -> None:
    pixels = decode(COLOURED[kind](), kind)

    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    assert float(np.abs(pixels.astype(int) - np.asarray(drawing())).mean()) < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_a_picture_is_turned_and_mirrored_as_its_metadata_say(
    kind: str, orientation: int, tmp_path: Path
) -> None:
    """As pictures by themselves, and as the frames of a camera."""
    if kind in ("AVIF", "WEBP") and not features.check(kind.lower()):
        pytest.skip(f"this Pillow writes no {kind}")
    data = stored(orientation, drawing(), kind)
    (tmp_path / f"a.{kind.lower()}").write_bytes(data)

    with open_camera(str(tmp_path)) as camera:
        frame = camera.read(1).pixels

    for pixels in (decode(data, kind), frame):
        assert pixels.shape == (SIZE[1], SIZE[0], 3)
        assert float(np.abs(pixels.astype(int) - np.asarray(drawing())).mean()) < 5


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_transparent_parts_are_turned_with_the_picture(kind: str, orientation: int) -> None:
    layers = np.dstack([np.asarray(drawing()), np.full((SIZE[1], SIZE[0]), 255, np.uint8)])
    layers[:, :48] = 0

    pixels = decode(stored(orientation, Image.fromarray(layers), kind), kind)

    assert (pixels[:, :48] == 255).all()
    assert (pixels[:32, 48:] == (30, 160, 60)).all()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_metadata_that_make_no_sense_turn_nothing(kind: str) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 77
    data = encoded(drawing(), kind, exif=exif)

    assert orientation_of(data) == 1
    for length in range(0, 400, 7):
        assert 1 <= orientation_of(data[:length]) <= 8


@pytest.mark.parametrize("mode", ["L", "LA", "1", "I;16"])
def test_a_grey_picture_is_grey_rgb(mode: str) -> None:
    grey = drawing().convert("L")
    if mode == "I;16":
        grey = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)

    pixels = decode(encoded(grey if mode == "I;16" else grey.convert(mode), "PNG"), mode)

    assert pixels.shape == (SIZE[1], SIZE[0], 3)
    assert (pixels == pixels[..., :1]).all()
    assert pixels.std() > 20


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_transparent_parts_are_white_whatever_lies_under_them(kind: str) -> None:
    layers = np.dstack([np.asarray(drawing()), np.full((SIZE[1], SIZE[0]), 255, np.uint8)])
    layers[:, :48] = 0

    pixels = decode(encoded(Image.fromarray(layers), kind, lossless=True), kind)

    assert (pixels[:, :48] == 255).all()
    assert (pixels[:32, 48:] == (30, 160, 60)).all()


def test_a_transparent_palette_is_white_too() -> None:
    picture = drawing().quantize(8)
    index = picture.getpixel((5, 5))

    pixels = decode(encoded(picture, "PNG", transparency=index), "palette")

    assert (pixels[:30, :46] == 255).all()


@pytest.mark.parametrize(
    "data",
    [b"", b"no picture at all" * 9, encoded(drawing(), "PNG")[:60], b"GIF89a" + b"\0" * 40, b"GIF8"],
    ids=["empty", "garbage", "cut-off PNG", "cut-off GIF", "beginning of a GIF"],
)
def test_what_is_no_picture_is_said_in_one_sentence(data: bytes) -> None:
    with pytest.raises(CameraError, match=r"^picture odd (is empty|cannot be decoded)"):
        decode(data, "odd")


def test_absurd_dimensions_are_no_picture() -> None:
    header = b"P6 999999 999999 255\n"

    with pytest.raises(CameraError, match="cannot be decoded"):
        decode(header + b"\0" * 100, "bomb.ppm")


def test_a_folder_gives_its_pictures_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for name in ("b10.png", "b9.JPG", "c.gif", "notes.txt", "film.mp4"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "inner.png").mkdir()

    assert [path.name for path in pictures_of(tmp_path)] == ["b9.JPG", "b10.png", "c.gif"]


def test_a_file_is_read_by_its_content_whatever_its_name(tmp_path: Path) -> None:
    file = tmp_path / "download"
    file.write_bytes(encoded(drawing(), "PNG"))

    assert pictures_of(file) == [file]
    assert (read_file(file) == np.asarray(drawing())).all()


def test_nothing_there_and_an_empty_folder_are_said(tmp_path: Path) -> None:
    with pytest.raises(CameraError, match="cannot be read: No such file"):
        pictures_of(tmp_path / "gone.jpg")
    with pytest.raises(CameraError, match="holds no picture"):
        pictures_of(tmp_path)


def test_a_video_is_for_another_verb(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_bytes(b"x")

    with pytest.raises(CameraError, match="replay"):
        read_file(tmp_path / "film.mp4")


def test_a_pipe_does_not_hang_and_a_device_does_not_fill_the_memory(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")

    for path in (tmp_path / "pipe.jpg", Path("/dev/zero")):
        with pytest.raises(CameraError, match=r"it is a (pipe|device), not a regular file"):
            read_file(path)

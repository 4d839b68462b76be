"""What is a picture, what a video, and in which order a folder is a clip."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fake_time import Clock
from filmed import read_all
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.loop import LoopedFile
from oahega_edge.cameras.pictures import Pictures, natural
from oahega_edge.cameras.video import VideoFile
from oahega_edge.decoding import CHUNK, holds_several
from oahega_edge.endings import PICTURES, VIDEOS, is_picture, is_video
from oahega_edge.errors import CameraError


@pytest.mark.parametrize("name", ["a.ts", "a.WMV", "a.mjpeg", "a.h264", "a.MTS", "a.3gp", "a.gif", "a.mxf"])
def test_what_recorders_and_phones_write_is_a_video(name: str) -> None:
    assert is_video(Path(name))
    assert not is_picture(Path(name))


@pytest.mark.parametrize("name", ["a.JPG", "a.jfif", "a.tif", "a.HEIC", "a.pgm", "a.webp"])
def test_what_cameras_and_scanners_write_is_a_picture(name: str) -> None:
    assert is_picture(Path(name))


def test_no_ending_is_both() -> None:
    assert not PICTURES & VIDEOS


def test_a_source_is_opened_by_the_table(tmp_path: Path) -> None:
    for name in ("a.JPE", "a.wmv"):
        (tmp_path / name).write_bytes(b"x")

    assert isinstance(open_camera(str(tmp_path / "a.JPE")), Pictures)
    assert isinstance(open_camera(str(tmp_path / "a.wmv")), VideoFile)


@pytest.mark.parametrize(
    "names",
    [
        ["frame0.png", "frame2.png", "frame10.png"],
        ["2-9.png", "2-10.png", "10-1.png"],
        ["frame0001.png", "frame0002.png", "frame0010.png"],
        ["a-1.png", "a.png", "a1.png", "b.png"],
    ],
)
def test_numbers_in_names_count_as_numbers(names: list[str]) -> None:
    shuffled = [Path(name) for name in sorted(names, reverse=True)]

    assert [path.name for path in sorted(shuffled, key=natural)] == names


def test_names_with_padded_numbers_stay_in_the_order_of_text() -> None:
    names = [Path(f"{letter}{number:03d}x") for letter in "ba" for number in (12, 9, 100)]

    assert sorted(names, key=natural) == sorted(names)


def test_numbered_frames_are_a_clip_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for number in range(12):
        cv2.imwrite(str(tmp_path / f"frame{number}.png"), np.full((16, 16, 3), 10 * number, np.uint8))

    with open_camera(str(tmp_path)) as camera:
        frames = read_all(camera)

    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [10 * number for number in range(12)]


def test_files_of_a_folder_that_are_no_pictures_are_said(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((16, 16, 3), np.uint8))
    for name in ("b.mp4", "c.CR2", "notes"):
        (tmp_path / name).write_bytes(b"x")

    with caplog.at_level(logging.WARNING), open_camera(str(tmp_path)):
        pass

    assert "3 files" in caplog.text
    assert ".cr2, .mp4, notes" in caplog.text


def moving(path: Path, kind: str, values: Sequence[int] = (0, 100, 200)) -> Path:
    """A plain picture of each value for 0.2 s."""
    frames = [Image.fromarray(np.full((16, 16, 3), value, np.uint8)) for value in values]
    options: dict[str, Any] = {} if kind == "TIFF" else {"duration": 200}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    return path


@pytest.mark.parametrize(
    ("name", "kind"), [("a.png", "PNG"), ("a.webp", "WEBP"), ("a.gif", "GIF"), ("A.PNG", "PNG")]
)
def test_all_frames_of_an_animation_are_played_with_its_own_times(
    name: str, kind: str, tmp_path: Path
) -> None:
    path = moving(tmp_path / name, kind)

    with open_camera(str(path)) as camera:
        frames = read_all(camera)

    assert [round(int(frame.pixels.mean()), -1) for frame in frames] == [0, 100, 200]
    assert [round(frame.captured_at, 2) for frame in frames] == [0.0, 0.2, 0.4]


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.webp", "WEBP")])
def test_an_animation_longer_than_is_decoded_at_once_has_all_frames_in_order(
    name: str, kind: str, tmp_path: Path
) -> None:
    """And in a loop it begins anew."""
    values = [37 * number % 256 for number in range(2 * CHUNK + 5)]
    path = moving(tmp_path / name, kind, values)

    with open_camera(str(path)) as camera:
        frames = read_all(camera)
    clock, short = Clock(), open_camera(str(moving(tmp_path / f"short-{name}", kind)))
    with LoopedFile(short, clock=clock, sleep=clock.sleep, utc_now=clock.utc) as camera:
        looped = [camera.read(5).pixels.mean() for _ in range(4)]

    assert [int(frame.pixels.mean()) for frame in frames] == pytest.approx(values, abs=3)
    assert looped == pytest.approx([0, 100, 200, 0], abs=3)


@pytest.mark.parametrize(("name", "kind"), [("a.png", "PNG"), ("a.webp", "WEBP")])
def test_a_cut_off_animation_is_no_whole_one(name: str, kind: str, tmp_path: Path) -> None:
    path = moving(tmp_path / name, kind, [10, 60, 110, 160, 210])
    path.write_bytes(path.read_bytes()[:-40])

    with open_camera(str(path)) as camera, pytest.raises(CameraError, match="copy it again"):
        read_all(camera)


def test_the_pages_of_a_tiff_are_no_clip(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = moving(tmp_path / "a.tif", "TIFF")

    with caplog.at_level(logging.WARNING), open_camera(str(path)) as camera:
        frames = read_all(camera)

    assert len(frames) == 1
    assert f"{path} holds several frames" in caplog.text


def test_an_animation_in_a_folder_of_pictures_is_said_to_be_one_picture(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    moving(tmp_path / "a.webp", "WEBP")

    with caplog.at_level(logging.WARNING), open_camera(str(tmp_path)) as camera:
        frames = read_all(camera)

    assert len(frames) == 1
    assert "a.webp holds several frames" in caplog.text


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif", "a.jpg"])
def test_a_picture_of_one_frame_is_no_animation(name: str, tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / name), np.zeros((16, 16, 3), np.uint8))

    assert not holds_several(tmp_path / name)

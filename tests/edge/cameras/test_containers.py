"""A whole file plays to its end, however its frames are spread; one that was cut off says so."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest

from filmed import read_all, write_video
from oahega_edge.cameras.containers import is_cut_off
from oahega_edge.cameras.video import VideoFile
from oahega_edge.errors import CameraError

SIDE = 64
STEADY = [40 * i for i in range(50)]
SCREEN = [17 * i for i in range(60)] + [1200 + 200 * i for i in range(10)]
"""Milliseconds: sixty frames a second, then five."""


def element(identity: str, content: bytes, *, sized: bool = True) -> bytes:
    """EBML (RFC 8794), its size in eight bytes or unknown."""
    size = len(content).to_bytes(7, "big") if sized else b"\xff" * 7
    return bytes.fromhex(identity) + b"\x01" + size + content


def number(identity: str, value: int) -> bytes:
    return element(identity, value.to_bytes(8, "big"))


def matroska(path: Path, times: Sequence[int], length: int, *, sized: bool = True) -> Path:
    """MJPEG frames at `times`; the header states `length` (both in ms) and sixty frames a second."""
    picture = np.random.default_rng(0).integers(0, 255, (SIDE, SIDE, 3), np.uint8)
    jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
    header = element("1a45dfa3", element("4282", b"matroska") + number("4287", 4) + number("4285", 2))
    info = element(
        "1549a966", number("2ad7b1", 1_000_000) + element("4489", np.array(length, ">f8").tobytes())
    )
    size = element("e0", number("b0", SIDE) + number("ba", SIDE))
    entry = number("d7", 1) + number("73c5", 1) + number("83", 1) + number("23e383", 16_666_667)
    tracks = element("1654ae6b", element("ae", entry + element("86", b"V_MJPEG") + size))
    clusters = b"".join(
        element("1f43b675", number("e7", time) + element("a3", b"\x81\0\0\x80" + jpeg)) for time in times
    )
    path.write_bytes(header + element("18538067", info + tracks + clusters, sized=sized))
    return path


def frames_of(path: Path) -> list[float]:
    with VideoFile(path, fps=15) as camera:
        return [frame.captured_at for frame in read_all(camera)]


@pytest.mark.parametrize(
    ("times", "length"),
    [(STEADY, 2000), (SCREEN, 3200), (STEADY, 30_000), ([0, 5000, 5040], 5080)],
    ids=["steady", "varying rate", "a last frame for long", "a pause"],
)
@pytest.mark.parametrize("sized", [True, False], ids=["sized", "live"])
def test_a_whole_file_is_not_called_cut_off(
    times: list[int], length: int, sized: bool, tmp_path: Path
) -> None:
    path = matroska(tmp_path / "a.mkv", times, length, sized=sized)

    assert frames_of(path) == pytest.approx([time / 1000 for time in times])


def test_frames_that_an_edit_list_hides_are_not_missed(tmp_path: Path) -> None:
    """As a phone trims a clip: the container counts sixty frames and plays the last half."""
    path = write_video(tmp_path / "a.mp4", "mp4v", length=60)
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12
    scale = data.index(b"mdhd") + 16
    duration = int.from_bytes(data[scale + 4 : scale + 8], "big")
    data[entry + 4 : entry + 8] = (duration // 2).to_bytes(4, "big")
    path.write_bytes(data)

    assert 20 <= len(frames_of(path)) < 60


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("name", ["steady", "screen"])
def test_a_file_that_was_cut_off_says_so_at_any_rate(name: str, share: float, tmp_path: Path) -> None:
    path = matroska(tmp_path / "a.mkv", {"steady": STEADY, "screen": SCREEN}[name], 3200)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])

    with pytest.raises(CameraError, match="cut off"):
        frames_of(path)


def test_a_download_that_was_never_filled_says_so(tmp_path: Path) -> None:
    path = matroska(tmp_path / "a.mkv", STEADY, 2000)
    whole = path.read_bytes()
    half = len(whole) // 2
    path.write_bytes(whole[:half] + bytes(len(whole) - half))

    with pytest.raises(CameraError, match="cut off"):
        frames_of(path)


@pytest.mark.parametrize(("name", "fourcc"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "MJPG")])
@pytest.mark.parametrize("missing", [0, 50])
def test_one_missing_piece_of_any_container_is_seen(
    name: str, fourcc: str, missing: int, tmp_path: Path
) -> None:
    path = write_video(tmp_path / name, fourcc, length=30)
    path.write_bytes(path.read_bytes()[: path.stat().st_size - missing])

    assert is_cut_off(path) == bool(missing)


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"RIFF", b"\x1aE\xdf\xa3", b"\x1aE\xdf\xa3\xff\xff", b"\0\0\0\x18ftyp", b"GIF8"]
)
def test_a_few_bytes_of_a_container_do_not_end_the_look(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(content)

    assert is_cut_off(tmp_path / "a") in (True, False)

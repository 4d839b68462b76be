"""The `Camera` port over all its adapters and its fake."""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from fake_picamera2 import Sensor, fake_picamera2
from filmed import BLUE, LENGTH, RED, bgr, read_all, scene, write_gif, write_video
from network_camera import HttpCamera, RtspCamera
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.apart import ApartCamera
from oahega_edge.cameras.loop import LoopedFile
from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.cameras.opencv import OpenCvCamera
from oahega_edge.cameras.orientation import Orientation, Oriented
from oahega_edge.cameras.picamera import PiCamera
from oahega_edge.cameras.pictures import Pictures
from oahega_edge.cameras.port import Camera
from oahega_edge.cameras.recovering import RecoveringCamera
from oahega_edge.cameras.video import VideoFile
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraError, CameraStalled, EndOfSource
from oahega_edge.secret import shown
from waiting import PATIENCE, wait_until

STARTED = datetime(2026, 5, 17, 8, 0, tzinfo=UTC)


@dataclass
class Subject:
    """An adapter with real input."""

    camera: Camera
    go_silent: Callable[[], None] | None = None
    """Makes a live device deliver nothing."""
    exact: bool = True
    """Whether frame i of a file is what was written, but for compression."""


@contextlib.contextmanager
def fake_file(folder: Path) -> Iterator[Subject]:
    pictures = [scene(i) for i in range(LENGTH)]
    yield Subject(FakeCamera(frames_of(pictures, started_at=STARTED)))


@contextlib.contextmanager
def fake_live(folder: Path) -> Iterator[Subject]:
    class Now(FakeCamera):
        """Its frames are made when they are read."""

        def read(self, timeout: float) -> Frame:
            frame = super().read(timeout)
            return Frame(frame.pixels, time.monotonic(), datetime.now(UTC), frame.sequence)

    yield Subject(Now(frames_of(scene(i) for i in range(40)), live=True))


@contextlib.contextmanager
def mp4(folder: Path) -> Iterator[Subject]:
    yield Subject(VideoFile(write_video(folder / "clip.mp4", "mp4v"), started_at=STARTED))


@contextlib.contextmanager
def avi(folder: Path) -> Iterator[Subject]:
    yield Subject(VideoFile(write_video(folder / "clip.avi", "MJPG"), started_at=STARTED))


@contextlib.contextmanager
def bare_mjpeg(folder: Path) -> Iterator[Subject]:
    """A stream without container: it states neither times nor a rate."""
    path = folder / "clip.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", bgr(scene(i)))[1].tobytes() for i in range(LENGTH)))
    yield Subject(VideoFile(path, fps=10, started_at=STARTED))


@contextlib.contextmanager
def gif(folder: Path) -> Iterator[Subject]:
    yield Subject(VideoFile(write_gif(folder / "clip.gif", [100] * LENGTH), started_at=STARTED))


@contextlib.contextmanager
def folder_of_pictures(folder: Path) -> Iterator[Subject]:
    for i in range(LENGTH):
        cv2.imwrite(str(folder / f"{i:02}.png"), bgr(scene(i)))
    yield Subject(Pictures(folder, fps=2, started_at=STARTED))


@contextlib.contextmanager
def http(folder: Path) -> Iterator[Subject]:
    with HttpCamera(scene) as device:
        yield Subject(ApartCamera(device.url, open_seconds=PATIENCE), device.stall)


@contextlib.contextmanager
def rtsp(folder: Path) -> Iterator[Subject]:
    with RtspCamera(scene) as device:
        yield Subject(OpenCvCamera(device.url, open_seconds=PATIENCE), device.stall)


@contextlib.contextmanager
def picamera(folder: Path, delivered: str | None = None) -> Iterator[Subject]:
    sensor = Sensor(scene, delivered_format=delivered)
    yield Subject(
        PiCamera(width=96, height=64, module=fake_picamera2(sensor)), lambda: setattr(sensor, "stalled", True)
    )


def picamera_delivering(delivered: str):
    return lambda folder: picamera(folder, delivered)


@contextlib.contextmanager
def loop(folder: Path) -> Iterator[Subject]:
    clip = VideoFile(write_video(folder / "clip.avi", "MJPG", fps=50))
    yield Subject(LoopedFile(clip))


@contextlib.contextmanager
def oriented_file(folder: Path) -> Iterator[Subject]:
    """Turned by 180 degrees and mirrored, from a scene that stands on its head and is mirrored back."""
    pictures = [np.ascontiguousarray(scene(i)[::-1]) for i in range(LENGTH)]
    inner = FakeCamera(frames_of(pictures, started_at=STARTED))
    yield Subject(Oriented(inner, Orientation(rotate=180, mirror=True)))


@contextlib.contextmanager
def recovering(folder: Path) -> Iterator[Subject]:
    with HttpCamera(scene) as device:
        yield Subject(RecoveringCamera(OpenCvCamera(device.url, open_seconds=PATIENCE)), device.stall)


FILES = {
    "fake": fake_file,
    "mp4": mp4,
    "avi": avi,
    "bare_mjpeg": bare_mjpeg,
    "gif": gif,
    "pictures": folder_of_pictures,
    "oriented": oriented_file,
}
LIVE = {
    "fake_live": fake_live,
    "http": http,
    "rtsp": rtsp,
    "picamera": picamera,
    "picamera_RGB888": picamera_delivering("RGB888"),
    "picamera_XBGR8888": picamera_delivering("XBGR8888"),
    "picamera_XRGB8888": picamera_delivering("XRGB8888"),
    "picamera_YUV420": picamera_delivering("YUV420"),
    "loop": loop,
    "recovering": recovering,
}
CAN_GO_SILENT = ["http", "rtsp", "picamera", "recovering"]


@pytest.fixture(params=[*FILES, *LIVE])
def any_camera(request, tmp_path):
    with {**FILES, **LIVE}[request.param](tmp_path) as subject:
        yield subject.camera


@pytest.fixture(params=FILES)
def file_camera(request, tmp_path):
    with FILES[request.param](tmp_path) as subject:
        yield subject.camera


@pytest.fixture(params=LIVE)
def live_camera(request, tmp_path):
    with LIVE[request.param](tmp_path) as subject:
        yield subject.camera


@pytest.fixture(params=CAN_GO_SILENT)
def silent_subject(request, tmp_path):
    with LIVE[request.param](tmp_path) as subject:
        yield subject


def test_pixels_are_red_green_blue_in_this_order(any_camera):
    with any_camera:
        frame = any_camera.read(PATIENCE)

    assert frame.pixels.shape == (64, 96, 3)
    np.testing.assert_allclose(frame.pixels[30:60, 5:40].mean(axis=(0, 1)), RED, atol=12)
    np.testing.assert_allclose(frame.pixels[30:60, 56:90].mean(axis=(0, 1)), BLUE, atol=12)


def test_sequence_and_time_only_grow(any_camera):
    with any_camera:
        frames = [any_camera.read(PATIENCE) for _ in range(4)]

    assert frames[0].sequence >= 0
    for before, after in itertools.pairwise(frames):
        assert after.sequence > before.sequence
        assert after.captured_at > before.captured_at
        apart = (after.taken_at - before.taken_at).total_seconds()
        # A live camera reads its two clocks one after the other, and a busy machine may pause in between.
        near = PATIENCE if any_camera.live else 0.05
        assert apart == pytest.approx(after.captured_at - before.captured_at, abs=near)


def test_taken_at_is_utc(any_camera):
    with any_camera:
        frame = any_camera.read(PATIENCE)

    assert frame.taken_at.utcoffset() == timedelta(0)


def test_a_frame_keeps_its_pixels_when_the_next_ones_are_read(any_camera):
    with any_camera:
        first = any_camera.read(PATIENCE)
        kept = first.pixels.copy()
        for _ in range(3):
            any_camera.read(PATIENCE)

    np.testing.assert_array_equal(first.pixels, kept)


def test_reading_needs_an_open_camera(any_camera):
    with pytest.raises(CameraError, match="not open"):
        any_camera.read(0.01)

    with any_camera:
        any_camera.read(PATIENCE)

    with pytest.raises(CameraError, match="not open"):
        any_camera.read(0.01)


def test_it_may_be_closed_twice_and_opened_again(any_camera):
    with any_camera:
        any_camera.read(PATIENCE)
    any_camera.__exit__(None, None, None)

    with any_camera:
        frame = any_camera.read(PATIENCE)

    assert frame.pixels.shape == (64, 96, 3)


def test_it_says_whether_it_is_live(tmp_path):
    for adapters, live in ((FILES, False), (LIVE, True)):
        for name, make in adapters.items():
            folder = tmp_path / name
            folder.mkdir()
            with make(folder) as subject:
                assert subject.camera.live is live, name


def test_a_file_gives_every_frame_once_in_order_and_then_ends(file_camera):
    with file_camera:
        frames = read_all(file_camera)
        with pytest.raises(EndOfSource):
            file_camera.read(PATIENCE)

    assert [frame.sequence for frame in frames] == list(range(LENGTH))
    stripes = [float(frame.pixels[:12].mean()) for frame in frames]
    np.testing.assert_allclose(stripes, [40 + 30 * i for i in range(LENGTH)], atol=6)


def test_a_file_has_its_own_time_from_zero_and_the_stated_start(file_camera):
    with file_camera:
        frames = read_all(file_camera)

    assert frames[0].captured_at == 0
    for frame in frames:
        assert frame.taken_at - STARTED == pytest.approx(
            timedelta(seconds=frame.captured_at), abs=timedelta(microseconds=2)
        )


def test_a_file_played_again_gives_the_same(file_camera):
    with file_camera:
        once = read_all(file_camera)

    with file_camera:
        again = read_all(file_camera)

    assert [(f.captured_at, f.taken_at, f.sequence) for f in again] == [
        (f.captured_at, f.taken_at, f.sequence) for f in once
    ]
    assert all(np.array_equal(a.pixels, b.pixels) for a, b in zip(once, again, strict=True))


def test_a_live_frame_is_dated_by_the_monotonic_clock(live_camera):
    def is_of_now() -> bool:
        """A frame that was under way may be older; later ones are not."""
        before = time.monotonic()
        live_camera.read(PATIENCE)
        time.sleep(0.1)
        frame = live_camera.read(PATIENCE)
        assert abs(datetime.now(UTC) - frame.taken_at) < timedelta(seconds=PATIENCE)
        return before < frame.captured_at <= time.monotonic()

    with live_camera:
        assert wait_until(is_of_now)


@pytest.mark.parametrize("name", [name for name in LIVE if name != "fake_live"])
def test_a_late_reader_of_a_live_camera_gets_the_newest_and_sees_the_gap(name, tmp_path):
    with LIVE[name](tmp_path) as subject, subject.camera:

        def read_late() -> bool:
            """A device on a busy machine may have had nothing new in time."""
            first = subject.camera.read(PATIENCE)
            asleep = time.monotonic()
            time.sleep(0.4)
            late = subject.camera.read(PATIENCE)
            return late.sequence - first.sequence > 1 and late.captured_at > asleep + 0.1

        assert wait_until(read_late)


def test_a_silent_device_is_a_stall_within_the_timeout(silent_subject):
    camera = silent_subject.camera
    with camera:
        camera.read(PATIENCE)
        silent_subject.go_silent()

        with pytest.raises(CameraStalled):
            read_all(camera, timeout=0.2)  # what was under way may still come


@pytest.mark.parametrize(
    ("source", "live"),
    [("clip.avi", False), ("loop:clip.avi", True), ("clip.gif", False), (".", False), ("one.png", False)],
)
def test_open_camera_chooses_by_the_source(source, live, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.avi", "MJPG")
    write_gif(tmp_path / "clip.gif", [100] * 3)
    cv2.imwrite("one.png", bgr(scene(0)))

    with open_camera(source) as camera:
        frame = camera.read(PATIENCE)

    assert camera.live is live
    np.testing.assert_allclose(frame.pixels[40, 20], RED, atol=12)


@pytest.mark.parametrize(
    "source",
    [
        "/dev/v4l/by-path/platform-fd500000.pcie-pci-0000:01:00.0-usb-0:1.3:1.0-video-index0",
        "/dev/v4l/by-id/usb-046d_HD:Pro-video-index0",
        "/dev/video0",
        "0",
        "RTSP://10.0.0.4:554/live",
        "http://[fe80::1]:8080/video",
    ],
)
def test_a_device_or_an_address_may_hold_colons(source):
    camera = open_camera(source)

    assert isinstance(camera, ApartCamera)
    assert camera.name == shown(source)


@pytest.mark.parametrize("name", ["at 10:30:00.avi", "10:30.avi", "rtsp:lobby.avi"])
@pytest.mark.parametrize("prefix", ["", "loop:"])
def test_the_name_of_a_file_may_hold_colons(name, prefix, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "clip.avi", "MJPG").rename(tmp_path / name)

    with open_camera(f"{prefix}{name}") as camera:
        frame = camera.read(PATIENCE)

    np.testing.assert_allclose(frame.pixels[40, 20], RED, atol=12)

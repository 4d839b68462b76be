"""Video files, GIFs, pictures, loops: what is peculiar to each."""

from __future__ import annotations

import logging
import os
from datetime import UTC, datetime
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from descriptors import descriptors
from fake_time import Clock
from filmed import bgr, read_all, scene, write_gif, write_video
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.loop import LoopedFile
from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.cameras.pictures import Pictures
from oahega_edge.cameras.video import VideoFile
from oahega_edge.errors import CameraError, CameraStalled, EndOfSource

ROOT = Path(__file__).resolve().parents[3]
SHARED = Path(os.environ.get("OAHEGA_SHARED", ROOT / "../shared"))
NEEDS_SHARED = pytest.mark.skipif(not SHARED.exists(), reason="no data beside the checkout")


def times_of(camera) -> list[float]:
    with camera:
        return [frame.captured_at for frame in read_all(camera)]


def failure_of(camera) -> str:
    """The text of the CameraError that reading to the end meets; EndOfSource does not count."""
    with pytest.raises(CameraError) as caught, camera:
        read_all(camera)
    return str(caught.value)


def test_gif_frames_come_at_their_own_durations(tmp_path):
    path = write_gif(tmp_path / "clip.gif", [100, 300, 40, 2000])

    times = times_of(VideoFile(path))

    assert times == pytest.approx([0, 0.1, 0.4, 0.44])


def test_gif_with_partial_frames_is_composed(tmp_path):
    """Most GIFs store only what changed; a frame is the whole picture all the same."""
    path = tmp_path / "partial.gif"
    still = np.full((64, 96, 3), 90, np.uint8)
    moved = still.copy()
    moved[20:30, 40:50] = (250, 250, 250)
    first = Image.fromarray(still)
    first.save(path, save_all=True, append_images=[Image.fromarray(moved)], duration=100)

    with VideoFile(path) as camera:
        frames = read_all(camera)

    np.testing.assert_allclose(frames[1].pixels[:10], 90, atol=3)
    np.testing.assert_allclose(frames[1].pixels[21:29, 41:49], 250, atol=6)


def test_gif_of_one_frame_is_one_frame(tmp_path):
    path = write_gif(tmp_path / "one.gif", [100])

    assert times_of(VideoFile(path)) == [0]


@pytest.mark.parametrize(("fps", "expected"), [(None, [0, 0.04, 0.08]), (10, [0, 0.1, 0.2])])
def test_a_stream_without_times_runs_at_the_stated_rate_or_at_25(fps, expected, tmp_path):
    path = tmp_path / "bare.mjpeg"
    path.write_bytes(b"".join(cv2.imencode(".jpg", bgr(scene(i)))[1].tobytes() for i in range(3)))

    times = times_of(VideoFile(path, fps=fps))

    assert times == pytest.approx(expected)


def test_a_stated_rate_does_not_bend_the_times_of_a_container(tmp_path):
    path = write_video(tmp_path / "clip.mp4", "mp4v", fps=10, length=3)

    times = times_of(VideoFile(path, fps=30))

    assert times == pytest.approx([0, 0.1, 0.2])


def test_start_defaults_to_the_moment_of_opening(tmp_path):
    path = write_video(tmp_path / "clip.avi", "MJPG")
    before = datetime.now(UTC)

    with VideoFile(path) as camera:
        frame = camera.read(1)

    assert before <= frame.taken_at <= datetime.now(UTC)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: round(len(data) * share)])
    return path


def faststart(folder: Path) -> Path:
    """An mp4 whose index stands before the data, as streaming servers write it."""
    path = write_video(folder / "clip.mp4", "mp4v", length=60)
    atoms, data, at = {}, path.read_bytes(), 0
    while at < len(data):
        size = int.from_bytes(data[at : at + 4], "big")
        atoms[data[at + 4 : at + 8]] = data[at : at + size]
        at += size
    moov = bytearray(atoms[b"moov"])
    table = moov.find(b"stco")
    for i in range(int.from_bytes(moov[table + 8 : table + 12], "big")):
        entry = slice(table + 12 + 4 * i, table + 16 + 4 * i)
        moov[entry] = (int.from_bytes(moov[entry], "big") + len(moov)).to_bytes(4, "big")
    rest = [atom for name, atom in atoms.items() if name not in (b"ftyp", b"moov")]
    path.write_bytes(atoms[b"ftyp"] + bytes(moov) + b"".join(rest))
    return path


def test_a_whole_faststart_file_plays_to_its_end(tmp_path):
    assert len(times_of(VideoFile(faststart(tmp_path)))) == 60


def test_cut_off_mp4_with_its_index_in_front_says_so_at_the_cut(tmp_path):
    path = cut(faststart(tmp_path), 0.6)

    text = failure_of(VideoFile(path))

    assert str(path) in text
    assert "cut off" in text


@pytest.mark.parametrize(
    ("name", "fourcc", "share"),
    [("a.mp4", "mp4v", 0.6), ("a.avi", "MJPG", 0.1), ("a.mkv", "MJPG", 0.5), ("a.mkv", "MJPG", 0.01)],
)
def test_cut_off_video_is_an_error_that_names_the_file(name, fourcc, share, tmp_path):
    path = cut(write_video(tmp_path / name, fourcc, length=60), share)

    text = failure_of(VideoFile(path))

    assert str(path) in text
    assert "cut off" in text


def test_cut_off_gif_is_an_error_that_names_the_file(tmp_path):
    path = cut(write_gif(tmp_path / "clip.gif", [100] * 6), 0.6)

    text = failure_of(VideoFile(path))

    assert str(path) in text
    assert "cut off" in text


@pytest.mark.parametrize(
    ("content", "expected"),
    [(b"", "0 bytes"), (b"hello " * 200, "cannot be read"), (bytes(range(256)) * 40, "cannot be read")],
    ids=["empty", "text", "rubbish"],
)
def test_what_is_no_video_is_refused_with_its_name(content, expected, tmp_path):
    path = tmp_path / "clip.mp4"
    path.write_bytes(content)

    with pytest.raises(CameraError, match=expected) as caught:
        VideoFile(path).__enter__()

    assert str(path) in str(caught.value)


def test_a_file_that_went_away_is_refused_with_its_name(tmp_path):
    camera = open_camera(str(write_video(tmp_path / "clip.avi", "MJPG")))
    (tmp_path / "clip.avi").unlink()

    with pytest.raises(CameraError, match=r"clip\.avi.*No such file"):
        camera.__enter__()


def frames_or_named_error(path: Path) -> bool:
    try:
        with VideoFile(path) as camera:
            return len(read_all(camera)) > 0
    except CameraError as error:
        return str(path) in str(error)


def corrupted(whole: bytes, random: np.random.Generator) -> bytes:
    """A few bytes changed, most of them in the header, and in every third case the end cut off."""
    data = np.frombuffer(whole, np.uint8).copy()
    head = random.integers(0, min(len(data), 400), random.integers(0, 6))
    anywhere = random.integers(0, len(data), random.integers(1, 30))
    places = np.concatenate([head, anywhere])
    data[places] = random.integers(0, 256, len(places))
    return data.tobytes()[: len(data) if random.integers(3) else random.integers(1, len(data))]


def damage(folder: Path, cases: int) -> None:
    makers = {
        "mp4": lambda path: write_video(path, "mp4v"),
        "avi": lambda path: write_video(path, "MJPG"),
        "mkv": lambda path: write_video(path, "MJPG"),
        "gif": lambda path: write_gif(path, [100] * 6),
    }
    random = np.random.default_rng(1)
    for suffix, make in makers.items():
        path = folder / f"clip.{suffix}"
        whole = make(path).read_bytes()
        for _ in range(cases // len(makers)):
            path.write_bytes(corrupted(whole, random))

            assert frames_or_named_error(path)


def test_a_damaged_video_gives_frames_or_an_error_that_names_it(tmp_path):
    damage(tmp_path, 120)


@pytest.mark.long
def test_ten_thousand_damaged_videos_give_frames_or_an_error_that_names_them(tmp_path):
    """About two minutes."""
    damage(tmp_path, 10_000)


def test_pictures_are_sorted_by_name_and_timed_by_the_stated_rate(tmp_path):
    for name, grey in (("b.png", 100), ("a.jpg", 50), ("c.bmp", 150)):
        cv2.imwrite(str(tmp_path / name), np.full((64, 96, 3), grey, np.uint8))
    (tmp_path / "notes.txt").write_text("no picture")

    with Pictures(tmp_path, fps=4) as camera:
        frames = read_all(camera)

    assert [int(frame.pixels.mean()) for frame in frames] == [50, 100, 150]
    assert [frame.captured_at for frame in frames] == [0, 0.25, 0.5]


def test_unreadable_pictures_are_named_and_leave_a_gap(tmp_path, caplog):
    cv2.imwrite(str(tmp_path / "a.png"), scene(0))
    (tmp_path / "b.png").write_bytes(b"")
    (tmp_path / "c.jpg").write_bytes(b"no jpeg at all")
    cv2.imwrite(str(tmp_path / "d.png"), scene(1))

    with caplog.at_level(logging.WARNING), Pictures(tmp_path) as camera:
        frames = read_all(camera)

    assert [frame.sequence for frame in frames] == [0, 3]
    assert [record.getMessage() for record in caplog.records] == [
        f"picture {tmp_path / 'b.png'} cannot be read and is skipped",
        f"picture {tmp_path / 'c.jpg'} cannot be read and is skipped",
    ]


def test_opening_many_times_leaks_no_descriptor(tmp_path):
    camera = VideoFile(write_video(tmp_path / "clip.mp4", "mp4v"))
    with camera:
        camera.read(1)
    before = descriptors()

    for _ in range(50):
        with camera:
            camera.read(1)

    assert descriptors() <= before


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(CameraError, match="holds no picture"):
        Pictures(tmp_path).__enter__()


def test_a_folder_of_nothing_readable_is_an_error_not_an_end(tmp_path):
    (tmp_path / "a.png").write_bytes(b"")

    text = failure_of(Pictures(tmp_path))

    assert "none of the 1 pictures" in text


def test_one_picture_is_a_clip_of_one_frame(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene(0))

    with open_camera(str(tmp_path / "a.png")) as camera:
        frames = read_all(camera)

    assert len(frames) == 1


def test_pictures_are_turned_as_their_exif_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: show it a quarter turn clockwise
    Image.fromarray(scene(0)).save(tmp_path / "a.jpg", exif=exif, quality=95)

    with open_camera(str(tmp_path / "a.jpg")) as camera:
        frame = camera.read(1)

    assert frame.pixels.shape == (96, 64, 3)


def looped(clock: Clock, length: int = 4, fps: float = 10) -> LoopedFile:
    clip = FakeCamera(frames_of((scene(i) for i in range(length)), fps=fps))
    return LoopedFile(clip, clock=clock, sleep=clock.sleep, utc_now=clock.utc)


def test_a_loop_goes_round_at_the_clips_own_pace():
    clock = Clock()
    with looped(clock) as camera:
        seen = []
        for _ in range(10):
            frame = camera.read(1)
            seen.append((frame.sequence, round(frame.captured_at - 1000, 3), int(frame.pixels[0, 0, 0])))

    assert seen == [(i, pytest.approx(i / 10), 40 + 30 * (i % 4)) for i in range(10)]


def test_a_late_reader_of_a_loop_gets_the_frame_that_is_due():
    clock = Clock()
    with looped(clock) as camera:
        camera.read(1)
        clock.now += 0.55

        frame = camera.read(1)

    assert frame.sequence == 5
    assert frame.captured_at == pytest.approx(1000.5)
    assert frame.taken_at == datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)
    assert camera.dropped == 4


def test_a_loop_that_nobody_read_for_long_goes_on_without_decoding_what_was_missed():
    clock = Clock()
    with looped(clock) as camera:
        camera.read(1)
        clock.now += 3600

        frame = camera.read(1)

    assert frame.captured_at == pytest.approx(clock.now)
    assert frame.sequence == pytest.approx(36_000, abs=2)
    assert camera.dropped == frame.sequence - 1


def test_a_loop_with_no_frame_in_time_is_a_stall():
    clock = Clock()
    with looped(clock, fps=1) as camera:
        camera.read(1)

        with pytest.raises(CameraStalled):
            camera.read(0.25)

        assert clock.now == pytest.approx(1000.25)
        assert camera.read(1).sequence == 1


def test_a_lone_picture_loops():
    clock = Clock()
    with looped(clock, length=1) as camera:
        frames = [camera.read(1) for _ in range(3)]

    assert [frame.captured_at - 1000 for frame in frames] == pytest.approx([0, 0.2, 0.4])


@pytest.mark.parametrize(
    "source",
    ["nothing-here.mp4", "", "webcam", "loop:nothing.avi", "picamera:x", "~nobody-here/x.mp4", "x" * 5000],
)
def test_an_unknown_source_is_refused_with_what_is_possible(source):
    with pytest.raises(CameraError, match=r"possible: picamera.*/dev/video0.*rtsp://.*loop:PATH"):
        open_camera(source)


@pytest.mark.shared
@NEEDS_SHARED
@pytest.mark.parametrize(
    ("name", "frames", "last"),
    [
        ("walk.mkv", 89, 2.933),
        ("head-pose-face-detection-female-and-male.gif", 56, 4.58),
        ("classroom.gif", 45, 2.93),
        pytest.param("one-by-one-person-detection.mp4", 1394, 139.3, marks=pytest.mark.lengthy),
    ],
)
def test_real_clips_have_all_their_frames_and_times(name, frames, last):
    times = times_of(open_camera(str(SHARED / "data/media/intel" / name)))

    assert len(times) == frames
    assert times[-1] == pytest.approx(last, abs=0.001)


@pytest.mark.shared
@NEEDS_SHARED
def test_a_real_gif_agrees_with_another_decoder():
    path = SHARED / "data/media/intel/people-detection.gif"
    with VideoFile(path) as camera:
        frames = read_all(camera)

    with Image.open(path) as other:
        assert other.n_frames == len(frames)
        seconds = 0.0
        for i, frame in enumerate(frames):
            other.seek(i)
            assert frame.captured_at == pytest.approx(seconds, abs=0.001)
            np.testing.assert_allclose(frame.pixels, np.asarray(other.convert("RGB")), atol=4)
            seconds += other.info["duration"] / 1000


def test_end_of_source_is_not_taken_for_a_failure(tmp_path):
    with VideoFile(write_video(tmp_path / "clip.avi", "MJPG")) as camera:
        read_all(camera)

        with pytest.raises(EndOfSource, match=r"has ended after 6 frames"):
            camera.read(1)


@pytest.mark.parametrize("name", [b"caf\xe9.png", b"caf\xe9.tif"])
def test_a_picture_is_read_whatever_bytes_its_name_has(name, tmp_path):
    path = tmp_path / os.fsdecode(name)
    plain = tmp_path / f"a{path.suffix}"
    cv2.imwrite(str(plain), np.zeros((16, 16, 3), np.uint8))
    plain.rename(path)

    with open_camera(str(path)) as camera:
        assert len(read_all(camera)) == 1


def test_a_video_whose_name_is_not_text_is_refused_and_ends_nothing(tmp_path):
    path = write_video(tmp_path / "a.avi", "MJPG").rename(tmp_path / os.fsdecode(b"caf\xe9.avi"))

    assert "not UTF-8; rename it" in failure_of(open_camera(str(path)))

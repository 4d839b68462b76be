"""The Raspberry Pi camera against a fake `picamera2` that keeps the real one's traps."""

from __future__ import annotations

import sys
import time

import numpy as np
import pytest

from fake_picamera2 import Sensor, fake_picamera2, in_memory
from filmed import BLUE, RED, scene
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.picamera import PiCamera, to_rgb
from oahega_edge.errors import CameraError, CameraStalled
from waiting import PATIENCE


@pytest.fixture
def sensor():
    return Sensor(scene)


def camera_on(sensor: Sensor, **changed) -> PiCamera:
    return PiCamera(**({"module": fake_picamera2(sensor)} | changed))


def test_the_overview_shows_the_same_view_in_true_colours_without_its_padding(sensor):
    """1000x600 gives an overview of 640x384, whose rows fit the stride; 904 px give 640x318, and so on."""
    for width, height in ((1000, 600), (904, 450), (1296, 972)):
        with camera_on(sensor, width=width, height=height) as camera:
            frame = camera.read(PATIENCE)

        overview = frame.overview
        assert frame.pixels.shape == (height, width, 3)
        assert overview.shape[1] == 640
        assert overview.shape[0] == pytest.approx(640 * height / width, abs=2)
        np.testing.assert_allclose(overview[200:300, 10:300].mean(axis=(0, 1)), RED, atol=12)
        np.testing.assert_allclose(overview[200:300, 330:].mean(axis=(0, 1)), BLUE, atol=12)


@pytest.mark.parametrize("width", [2, 30, 62, 64, 66, 96, 130])
def test_yuv_rows_are_cut_at_the_width_whatever_the_stride(width):
    rgb = np.random.default_rng(0).integers(60, 190, (8, width // 2, 3), np.uint8).repeat(2, axis=1)
    rgb = rgb[::2].repeat(2, axis=0)  # pairs of equal pixels lose nothing by halved chroma
    stream = {"format": "YUV420", "size": (width, 8), "stride": -(-width // 64) * 64}

    result = to_rgb(in_memory(rgb, stream), stream)

    assert result.shape == (8, width, 3)
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result.astype(int), rgb, atol=4)


def test_a_small_main_stream_needs_no_overview(sensor):
    with camera_on(sensor, width=640, height=480) as camera:
        frame = camera.read(PATIENCE)

    assert frame.overview is None


def test_odd_sizes_are_made_even(sensor):
    with camera_on(sensor, width=641, height=481) as camera:
        frame = camera.read(PATIENCE)

    assert frame.pixels.shape == (480, 640, 3)


def test_captured_at_is_the_sensors_timestamp(sensor):
    sensor.frame_seconds = 0.1
    with camera_on(sensor) as camera:
        frame = camera.read(PATIENCE)
        age = time.monotonic() - frame.captured_at

    assert age >= 0.1  # a frame is complete one period after its exposure began


def test_a_timestamp_of_another_clock_is_not_believed(sensor):
    with camera_on(sensor, clock=lambda: time.monotonic() + 5000) as camera:
        frame = camera.read(PATIENCE)

    assert frame.captured_at == pytest.approx(time.monotonic() + 5000, abs=PATIENCE)


def test_the_first_frames_are_discarded_until_exposure_holds(sensor):
    sensor.settles_after = 7
    sensor.scene = lambda number: np.full((64, 96, 3), min(number, 255), np.uint8)
    with camera_on(sensor, width=96, height=64, settle_seconds=PATIENCE) as camera:
        frame = camera.read(PATIENCE)

    assert frame.pixels[0, 0, 0] > 7


def test_exposure_that_never_holds_is_waited_for_only_so_long(sensor):
    sensor.settles_after = 10**9
    with camera_on(sensor, settle_seconds=0.1) as camera:
        frame = camera.read(PATIENCE)

    assert frame.sequence == 0


def test_buffers_are_given_back(sensor):
    """With four buffers the fifth frame comes only when requests are released."""
    with camera_on(sensor, width=96, height=64) as camera:
        frames = [camera.read(PATIENCE) for _ in range(20)]

    assert frames[-1].sequence >= 19


def test_a_stall_leaves_no_job_that_eats_a_buffer(sensor):
    with camera_on(sensor, width=96, height=64) as camera:
        camera.read(PATIENCE)
        sensor.stalled = True
        for _ in range(10):
            with pytest.raises(CameraStalled, match=r"picamera:0 gave no frame within 0\.01 s"):
                camera.read(0.01)
        sensor.stalled = False

        frame = camera.read(PATIENCE)

    assert frame.sequence > 0


def test_a_timeout_of_nothing_is_a_stall_and_no_job(sensor):
    with camera_on(sensor) as camera:
        camera.read(PATIENCE)
        sensor.stalled = True

        with pytest.raises(CameraStalled):
            camera.read(0)


def test_a_sensor_that_is_silent_from_the_start_is_a_stall_and_is_closed(sensor):
    sensor.stalled = True

    with pytest.raises(CameraStalled):
        camera_on(sensor, settle_seconds=0.1).__enter__()

    assert not sensor.in_use
    assert sensor.calls == ["cancel_all_and_flush", "cancel_all_and_flush", "stop", "close"]


def test_a_start_that_fails_is_one_sentence_and_leaves_the_device_free(sensor):
    sensor.fails_to_start = True

    with pytest.raises(CameraError, match=r"picamera:0 cannot be opened \(Failed to start camera"):
        camera_on(sensor).__enter__()

    assert not sensor.in_use


def test_a_camera_in_use_is_refused(sensor):
    with camera_on(sensor), pytest.raises(CameraError, match="no other program uses it"):
        camera_on(sensor).__enter__()


def test_a_second_camera_that_is_not_there_is_refused_with_the_remedy(sensor):
    with pytest.raises(CameraError, match=r"picamera:1 is not there, libcamera sees 1; check the ribbon"):
        camera_on(sensor, number=1).__enter__()


def test_a_format_that_is_not_understood_is_refused(sensor):
    sensor.delivered_format = "NV12"

    with camera_on(sensor) as camera, pytest.raises(CameraError, match="NV12"):
        camera.read(PATIENCE)


def test_closing_goes_on_when_stop_hangs(sensor):
    with camera_on(sensor, close_seconds=0.05) as camera:
        camera.read(PATIENCE)
        sensor.stop_hangs_for = 0.3

    with pytest.raises(CameraError, match="not open"):
        camera.read(PATIENCE)


def test_reset_enumerates_anew_between_close_and_open(sensor):
    camera = camera_on(sensor)
    with camera:
        camera.read(PATIENCE)

    camera.reset()

    assert sensor.resets == 1
    with camera:
        camera.read(PATIENCE)


def test_without_picamera2_the_error_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "picamera2", None)

    with pytest.raises(CameraError, match="apt install python3-picamera2"):
        open_camera("picamera").__enter__()


def test_open_camera_imports_picamera2_when_it_is_opened(monkeypatch, sensor):
    monkeypatch.setitem(sys.modules, "picamera2", fake_picamera2(sensor))

    with open_camera("picamera:0", width=96, height=64, rotate=90) as camera:
        frame = camera.read(PATIENCE)

    assert frame.pixels.shape == (96, 64, 3)

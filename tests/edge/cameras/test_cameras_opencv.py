"""USB cameras and network streams: failures, names, the mailbox."""

from __future__ import annotations

import os
import threading

import pytest

from filmed import scene
from network_camera import HttpCamera, RtspCamera
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.opencv import Latest, OpenCvCamera
from oahega_edge.errors import CameraError, CameraStalled
from waiting import PATIENCE, patiently, wait_until


def read_until_error(camera, timeout: float = PATIENCE) -> CameraError:
    for _ in patiently():
        try:
            camera.read(timeout)
        except CameraError as error:
            return error
    raise AssertionError


def test_a_device_that_is_not_there_is_refused_with_the_remedy():
    with pytest.raises(CameraError, match=r"camera /dev/video63 cannot be opened.*plugged in.*group `video`"):
        open_camera("/dev/video63").__enter__()


def test_a_number_means_the_v4l2_device():
    with pytest.raises(CameraError, match="camera 63 cannot be opened"):
        open_camera("63").__enter__()


def test_a_stream_that_is_not_there_is_refused_without_its_password():
    with pytest.raises(CameraError, match=r"rtsp://\*\*\*@127\.0\.0\.1:9/\*\*\* cannot be opened") as caught:
        open_camera("rtsp://me:secret@127.0.0.1:9/x").__enter__()

    assert "secret" not in str(caught.value)


def test_a_source_that_never_answers_is_given_up_in_time():
    """A listener that accepts and says nothing, as a camera in the middle of its boot."""
    import socket

    with socket.create_server(("127.0.0.1", 0)) as mute:
        url = f"http://127.0.0.1:{mute.getsockname()[1]}/"

        with pytest.raises(CameraError, match=r"did not open within|cannot be opened"):
            OpenCvCamera(url, open_seconds=0.3).__enter__()


def test_drops_are_counted():
    with (
        HttpCamera(scene) as device,
        OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE) as camera,
    ):
        first = camera.read(PATIENCE)
        before = camera.dropped
        wait_until(lambda: camera.dropped > before)
        late = camera.read(PATIENCE)

        assert 1 <= late.sequence - first.sequence - 1 <= camera.dropped


@pytest.mark.parametrize("kind", [HttpCamera, RtspCamera])
def test_a_device_that_dies_is_an_error_not_a_stall(kind):
    with (
        kind(scene) as device,
        OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE) as camera,
    ):
        camera.read(PATIENCE)
        device.die()

        error = read_until_error(camera)

    assert not isinstance(error, CameraStalled)
    assert "is gone" in str(error)


def test_a_silent_stream_is_a_stall_before_the_read_timeout():
    with (
        HttpCamera(scene) as device,
        OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=100 * PATIENCE) as camera,
    ):
        camera.read(PATIENCE)
        device.stall()

        assert isinstance(read_until_error(camera, timeout=0.2), CameraStalled)
        device.go_on()  # else closing would wait for the library


def test_a_silent_stream_is_gone_after_the_read_timeout():
    with (
        HttpCamera(scene) as device,
        OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=1) as camera,
    ):
        device.stall()

        assert "is gone" in str(read_until_error_but_stalls(camera))


def read_until_error_but_stalls(camera) -> CameraError:
    for _ in patiently():
        error = read_until_error(camera, timeout=0.2)
        if not isinstance(error, CameraStalled):
            return error
    raise AssertionError


def test_closing_ends_the_thread():
    with HttpCamera(scene) as device:
        with OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE) as camera:
            camera.read(PATIENCE)
            assert f"camera {camera.name}" in names_of_threads()

        assert wait_until(lambda: f"camera {camera.name}" not in names_of_threads())


def names_of_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate()]


def test_the_mailbox_gives_the_newest_once():
    box: Latest[int] = Latest()
    for i in range(5):
        box.put(i)

    assert box.take(0) == 4
    assert box.dropped == 4
    with pytest.raises(TimeoutError):
        box.take(0)


def test_the_mailbox_wakes_a_waiting_reader():
    box: Latest[str] = Latest()
    threading.Timer(0.05, box.put, ["hello"]).start()

    assert box.take(PATIENCE) == "hello"


def test_the_mailbox_gives_the_last_item_before_the_failure():
    box: Latest[int] = Latest()
    box.put(1)
    box.fail(CameraError("gone"))

    assert box.take(0) == 1
    for _ in range(2):
        with pytest.raises(CameraError, match="gone"):
            box.take(0)


def test_an_rtsp_camera_is_read_over_tcp_and_its_password_stays_out_of_errors():
    """The camera of this test speaks no UDP at all."""
    with (
        RtspCamera(scene) as device,
        OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE) as camera,
    ):
        camera.read(PATIENCE)
        device.die()

        error = read_until_error_but_stalls(camera)

    assert "rtsp://***@127.0.0.1" in str(error)
    assert "secret" not in str(error)


def test_opening_many_times_leaks_no_descriptor_and_no_thread():
    with HttpCamera(scene) as device:
        camera = OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE)
        open_and_close(camera, 2)
        before = held()

        open_and_close(camera, 15)

        # The test's own server notices only at its next write that a reader went away.
        assert wait_until(lambda: held() <= before)


def open_and_close(camera, times: int) -> None:
    for _ in range(times):
        with camera:
            camera.read(PATIENCE)


def held() -> tuple[int, int]:
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.lengthy
@pytest.mark.parametrize("kind", [HttpCamera, RtspCamera])
def test_a_camera_of_one_picture_in_three_seconds_is_read(kind):
    with kind(scene, fps=0.33) as device, open_camera(device.url, stall_s=20) as camera:
        frames = [camera.read(PATIENCE) for _ in range(2)]

    assert frames[1].sequence > frames[0].sequence

"""Cameras in a process of their own: whatever hangs over there, closing them closes the device."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from descriptors import descriptors
from filmed import scene
from network_camera import HttpCamera, RtspCamera
from oahega_edge.cameras.apart import ApartCamera
from oahega_edge.cameras.recovering import RecoveringCamera, RecoveryState, RetrySteps
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraError, CameraStalled
from oahega_edge.service.mute import MuteSwitch, Shutter
from waiting import PATIENCE, wait_until

FOR_EVER = 100 * PATIENCE
QUICK = RetrySteps(stall_after=0.5, first_pause=0.1)


@pytest.fixture
def device() -> Iterator[HttpCamera]:
    with HttpCamera(scene) as running:
        yield running


@pytest.fixture
def camera(device: HttpCamera) -> Iterator[ApartCamera]:
    with ApartCamera(device.url, open_seconds=PATIENCE, read_seconds=FOR_EVER) as opened:
        opened.read(PATIENCE)
        yield opened


def pid_of(camera: ApartCamera) -> int:
    assert camera.pid is not None
    return camera.pid


def is_gone(pid: int) -> bool:
    """Ended; on a busy machine it may wait a moment longer to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def next_frame(camera: RecoveringCamera | Shutter) -> Frame:
    def frame() -> Frame | None:
        with contextlib.suppress(CameraStalled):
            return camera.read(0.5)
        return None

    return wait_until(frame)


def complaint(camera: RecoveringCamera | ApartCamera) -> str:
    """Why there is no frame now; empty when there is one."""
    try:
        camera.read(0.2)
    except CameraStalled as error:
        return str(error)
    return ""


@contextlib.contextmanager
def silent_server() -> Iterator[str]:
    """Takes connections and says nothing, as a camera in the middle of its boot."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}/"


@pytest.mark.parametrize("kind", [HttpCamera, RtspCamera])
def test_closing_ends_the_connection_to_a_camera_that_is_silent(kind: type[HttpCamera]) -> None:
    """Its library would wait for it much longer: a muted camera must not stay connected."""
    with (
        kind(scene) as device,
        ApartCamera(device.url, open_seconds=PATIENCE, read_seconds=FOR_EVER) as camera,
    ):
        camera.read(PATIENCE)
        pid = pid_of(camera)
        device.stall()
        time.sleep(0.2)  # the pictures on their way have arrived, so that the library waits for more

        camera.__exit__(None, None, None)

        assert wait_until(lambda: is_gone(pid))


def test_a_driver_that_hangs_is_a_stall_and_is_killed_by_closing(camera: ApartCamera) -> None:
    pid = pid_of(camera)
    os.kill(pid, signal.SIGSTOP)  # to us, what hangs in a driver: it answers to SIGKILL only

    assert wait_until(lambda: "hangs" in complaint(camera))
    camera.__exit__(None, None, None)

    assert wait_until(lambda: is_gone(pid))


def test_a_frame_that_comes_too_late_is_not_taken_for_the_next(camera: ApartCamera) -> None:
    os.kill(pid_of(camera), signal.SIGSTOP)
    wait_until(lambda: complaint(camera))
    os.kill(pid_of(camera), signal.SIGCONT)

    asked_at = time.monotonic()
    sequences = [camera.read(PATIENCE).sequence for _ in range(3)]

    assert camera.read(PATIENCE).captured_at > asked_at
    assert sequences == sorted(set(sequences))


def test_a_process_that_crashes_is_a_lost_camera_and_is_started_again(device: HttpCamera) -> None:
    inner = ApartCamera(device.url, open_seconds=PATIENCE)
    # Not before the kernel has written its core file is it gone, and silence is no crash.
    with RecoveringCamera(inner, RetrySteps(stall_after=PATIENCE, first_pause=0.1)) as camera:
        first = next_frame(camera)
        os.kill(pid_of(inner), signal.SIGSEGV)

        assert wait_until(lambda: "SIGSEGV" in complaint(camera))
        assert next_frame(camera).sequence > first.sequence


def test_opening_that_hangs_is_cut_short_by_closing() -> None:
    with silent_server() as url:
        inner = ApartCamera(url, open_seconds=FOR_EVER, read_seconds=FOR_EVER)
        with RecoveringCamera(inner, QUICK) as camera:
            pid = wait_until(lambda: inner.pid)

            camera.__exit__(None, None, None)

            assert wait_until(lambda: is_gone(pid))
            assert inner.pid is None


def test_closing_before_the_process_is_started_leaves_none_behind() -> None:
    with silent_server() as url:
        inner = ApartCamera(url, open_seconds=FOR_EVER, read_seconds=FOR_EVER)
        for _ in range(3):
            with RecoveringCamera(inner, QUICK) as camera:
                assert camera.state is RecoveryState.OPENING

            assert inner.pid is None


@pytest.mark.parametrize("hangs", [True, False])
def test_a_mute_ends_the_capture_and_an_unmute_starts_another(
    device: HttpCamera, tmp_path: Path, hangs: bool
) -> None:
    switch = MuteSwitch(tmp_path)
    inner = ApartCamera(device.url, open_seconds=PATIENCE, read_seconds=FOR_EVER)
    with Shutter(RecoveringCamera(inner, QUICK), switch) as camera:
        next_frame(camera)
        pid = pid_of(inner)
        if hangs:
            os.kill(pid, signal.SIGSTOP)

        switch.mute()

        assert wait_until(lambda: is_gone(pid))
        with pytest.raises(CameraStalled, match="muted"):
            camera.read(0.1)
        assert inner.pid is None

        switch.unmute()

        assert next_frame(camera).pixels.any()
        assert inner.pid not in (None, pid)


def test_a_mute_of_a_loop_that_waits_for_a_hanging_driver_ends_the_capture(
    device: HttpCamera, tmp_path: Path
) -> None:
    """The loop's turn ends by itself, and the mute comes from another thread."""
    switch = MuteSwitch(tmp_path)
    inner = ApartCamera(device.url, open_seconds=PATIENCE, read_seconds=FOR_EVER)
    with Shutter(RecoveringCamera(inner, QUICK), switch) as camera:
        next_frame(camera)
        pid = pid_of(inner)
        os.kill(pid, signal.SIGSTOP)
        mute = threading.Thread(target=switch.mute)
        mute.start()
        with contextlib.suppress(CameraStalled):
            while True:
                camera.read(0.5)
        mute.join(PATIENCE)

        assert wait_until(lambda: is_gone(pid))


def test_neither_arguments_nor_environment_of_the_process_hold_a_secret(
    device: HttpCamera, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OAHEGA_CAMERA__SOURCE", "canary-environment")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", "canary-credentials")
    source = device.url.replace("http://", "http://me:canary-password@")
    with ApartCamera(source, open_seconds=PATIENCE) as camera:
        process = Path(f"/proc/{camera.pid}")
        emitted = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()

    assert b"canary" not in emitted


def test_the_process_ends_with_the_daemon(device: HttpCamera) -> None:
    script = (
        "import sys, time; from oahega_edge.cameras.apart import ApartCamera; "
        f"camera = ApartCamera(sys.argv[1], open_seconds={PATIENCE}).__enter__(); "
        "print(camera.pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", script, device.url], stdout=subprocess.PIPE) as daemon:
        assert daemon.stdout is not None
        pid = int(daemon.stdout.readline())

        daemon.kill()

    assert wait_until(lambda: is_gone(pid))


def test_a_process_that_cannot_be_started_is_a_lost_camera(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    before = descriptors()

    with pytest.raises(CameraError, match="its process cannot be started"):
        ApartCamera("http://127.0.0.1:9/").__enter__()

    assert descriptors() <= before


def test_opening_many_times_leaks_no_descriptor_and_no_process(device: HttpCamera) -> None:
    camera = ApartCamera(device.url, open_seconds=PATIENCE)
    children, held = set(psutil.Process().children()), []
    for _ in range(3):
        with camera:
            camera.read(PATIENCE)
        held.append(len(os.listdir("/proc/self/fd")))

    # The test's own server notices only at its next write that a reader went away.
    assert wait_until(lambda: len(os.listdir("/proc/self/fd")) <= held[0])
    assert wait_until(lambda: all(is_gone(each.pid) for each in set(psutil.Process().children()) - children))


def test_what_cannot_be_opened_is_refused_with_the_remedy_and_without_the_password() -> None:
    with pytest.raises(CameraError, match=r"rtsp://\*\*\*@127\.0\.0\.1:9/\*\*\* cannot be opened") as caught:
        ApartCamera("rtsp://me:canary@127.0.0.1:9/x").__enter__()

    assert "canary" not in str(caught.value)


def test_frames_may_change_their_size_and_can_be_written_on() -> None:
    def growing(i: int) -> object:
        return scene(i).repeat(1 + i // 4 % 2, axis=0)

    with HttpCamera(growing) as device, ApartCamera(device.url, open_seconds=PATIENCE) as camera:
        frame = camera.read(PATIENCE)
        frame.pixels[0, 0] = 0

        assert frame.pixels.flags.writeable

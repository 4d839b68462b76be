"""The way from a V4L2 device to its USB port, in a drawn-up /sys; and the recovery step that resets it."""

from __future__ import annotations

from pathlib import Path

import pytest

from oahega_edge.cameras.opencv import OpenCvCamera
from oahega_edge.cameras.recovering import RecoveringCamera, RetrySteps
from oahega_edge.cameras.usb import UsbPorts
from oahega_edge.errors import CameraError, CameraStalled
from waiting import patiently


@pytest.fixture
def ports(tmp_path: Path) -> UsbPorts:
    """As the kernel shows a webcam, device 7 on bus 1, and a Pi's own codec, which is on no bus."""
    usb = tmp_path / "sys/devices/pci/usb1/1-1"
    webcam, codec = usb / "1-1:1.0", tmp_path / "sys/devices/platform/codec"
    for number, device in enumerate((webcam, codec)):
        device.mkdir(parents=True)
        node = tmp_path / f"sys/class/video4linux/video{number}"
        node.mkdir(parents=True)
        (node / "device").symlink_to(device)
    (usb / "busnum").write_text("1\n")
    (usb / "devnum").write_text("7\n")
    return UsbPorts(tmp_path / "sys", tmp_path / "dev")


@pytest.mark.parametrize("video", [0, "/dev/video0"])
def test_a_webcam_is_found_on_its_port(ports: UsbPorts, tmp_path: Path, video: str | int) -> None:
    assert ports.port_of(video) == tmp_path / "dev/bus/usb/001/007"


@pytest.mark.parametrize("video", [1, "/dev/video1", 9])
def test_what_is_on_no_usb_or_is_gone_has_no_port_and_is_not_reset(ports: UsbPorts, video: str | int) -> None:
    assert ports.port_of(video) is None
    assert not ports.reset(video)


def test_a_port_that_refuses_is_said_and_no_error(
    ports: UsbPorts, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A plain file answers the real ioctl with ENOTTY; a user without rights gets EACCES."""
    port = tmp_path / "dev/bus/usb/001/007"
    port.parent.mkdir(parents=True)
    port.touch()

    assert not ports.reset(0)

    assert "its USB port" in caplog.text
    assert "install the udev rule" in caplog.text


class RecordedPorts(UsbPorts):
    """Says what it was asked to reset."""

    def __init__(self) -> None:
        super().__init__()
        self.resets: list[str | int] = []

    def reset(self, video: str | int) -> bool:
        self.resets.append(video)
        return True


def lost_for_good(camera: RecoveringCamera) -> CameraError:
    for _ in patiently():
        try:
            camera.read(0.1)
        except CameraStalled:
            continue
        except CameraError as error:
            return error
    raise AssertionError


def test_the_second_attempt_resets_the_port_of_a_camera_that_does_not_open() -> None:
    ports = RecordedPorts()
    camera = RecoveringCamera(
        OpenCvCamera("/dev/video63", ports=ports), RetrySteps(first_pause=0.01, attempts=3)
    )

    with camera:
        error = lost_for_good(camera)

    assert "lost for good" in str(error)
    assert ports.resets == ["/dev/video63"] * 2


def test_a_network_camera_has_no_port() -> None:
    ports = RecordedPorts()

    OpenCvCamera("rtsp://camera/live", ports=ports).reset()

    assert ports.resets == []

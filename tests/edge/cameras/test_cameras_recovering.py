"""The steps of recovery: reopen, reset, pause, give up; with a fake on fake time and with real devices."""

from __future__ import annotations

import contextlib
import itertools
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future

import numpy as np
import pytest

from fake_picamera2 import Sensor, fake_picamera2
from fake_time import Clock
from filmed import scene
from network_camera import HttpCamera, RtspCamera
from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.cameras.opencv import OpenCvCamera
from oahega_edge.cameras.picamera import PiCamera
from oahega_edge.cameras.recovering import RecoveringCamera, RecoveryState, RetrySteps
from oahega_edge.chain.frame import Frame, Pixels
from oahega_edge.errors import CameraError, CameraStalled, NoFrameYet
from waiting import PATIENCE, patiently

GONE = CameraError("the fake camera is gone; plug it in")
QUICK = RetrySteps(stall_after=2.0, first_pause=0.1, longest_pause=0.4, settled_after=0.2, attempts=10_000)
"""Silence is noticed soon, and nothing is given up, however often a busy machine makes a camera silent."""
NEVER_STALLED = RetrySteps(
    stall_after=PATIENCE, first_pause=0.1, longest_pause=0.4, settled_after=0.2, attempts=10_000
)
"""Only what is said to be gone is lost."""


class Flaky(FakeCamera):
    """A live camera on fake time: one script per opening; a CameraError instead of a script fails to open.

    A stall takes the whole timeout; a frame takes a tenth of a second.
    """

    def __init__(self, clock: Clock, *openings: list[Frame | Exception] | CameraError) -> None:
        super().__init__([], live=True)
        self._clock = clock
        self._openings = list(openings)
        self.history: list[str] = []

    def __enter__(self):
        self.history.append("open")
        opening = self._openings.pop(0) if self._openings else GONE
        if isinstance(opening, CameraError):
            raise opening
        self._script = tuple(opening)
        return super().__enter__()

    def __exit__(self, *error) -> None:
        self.history.append("close")
        super().__exit__(*error)

    def reset(self) -> None:
        self.history.append("reset")

    def read(self, timeout: float) -> Frame:
        try:
            frame = super().read(timeout)
        except CameraStalled:
            self._clock.sleep(timeout)
            raise
        self._clock.sleep(0.1)
        return frame


def at_once(work) -> Future[None]:
    future: Future[None] = Future()
    try:
        work()
    except Exception as error:
        future.set_exception(error)
    else:
        future.set_result(None)
    return future


def lit(i: int) -> Pixels:
    """As from a sensor: no two rows and no two frames are equal."""
    return np.random.default_rng(i).integers(0, 256, (60, 80, 3), np.uint8)


def torn(i: int) -> Pixels:
    """Each breaks off in another row; what stays in one place would belong to the scene."""
    picture = lit(i)
    picture[20 + 7 * (i % 5) :] = 128
    return picture


def with_bezel(i: int) -> Pixels:
    """A frame around the screen that the camera looks through."""
    picture = lit(i)
    picture[50:] = (0x30, 0x34, 0x38)
    return picture


def with_grey_desk(i: int) -> Pixels:
    """As even and as grey as what a decoder leaves."""
    picture = lit(i)
    picture[45:] = 128
    return picture


def some(count: int) -> list[Frame]:
    return frames_of(lit(i) for i in range(count))


def on_fake_time(*openings, steps: RetrySteps | None = None) -> tuple[RecoveringCamera, Flaky, Clock]:
    clock = Clock()
    inner = Flaky(clock, *openings)
    camera = RecoveringCamera(inner, steps, clock=clock, sleep=clock.sleep, in_background=at_once)
    return camera, inner, clock


def read_through(camera: RecoveringCamera, count: int, timeout: float = 1.0) -> list[Frame]:
    """`count` frames, however many stalls lie between them."""
    frames: list[Frame] = []
    for _ in patiently():
        with contextlib.suppress(CameraStalled):
            frames.append(camera.read(timeout))
        if len(frames) == count:
            break
    return frames


def final_error(camera: RecoveringCamera) -> CameraError:
    for _ in patiently():
        try:
            camera.read(1.0)
        except CameraStalled:
            continue
        except CameraError as error:
            return error
    raise AssertionError


def test_a_working_camera_is_left_alone():
    camera, inner, _ = on_fake_time(some(20))

    with camera:
        frames = read_through(camera, 20)

    assert [frame.sequence for frame in frames] == list(range(20))
    assert inner.history == ["open", "close"]
    assert (camera.stalls, camera.reopens) == (0, 0)


def test_a_short_silence_is_the_readers_stall_and_loses_nothing():
    camera, inner, _ = on_fake_time([*some(3), CameraStalled("a moment"), *some(3)])

    with camera:
        read_through(camera, 3)
        with pytest.raises(CameraStalled, match="a moment"):
            camera.read(1.0)
        assert camera.state is RecoveryState.OK
        read_through(camera, 3)

    assert inner.history == ["open", "close"]


def test_a_long_silence_closes_and_reopens():
    camera, inner, clock = on_fake_time(some(3), some(3))

    with camera:
        read_through(camera, 3)
        lost_at = clock.now
        read_through(camera, 3)

    assert inner.history == ["open", "close", "open", "close"]
    assert (camera.stalls, camera.reopens) == (1, 1)
    assert clock.now - lost_at == pytest.approx(5.0, abs=1.0)


def test_a_dead_device_is_reopened_at_once_and_the_caller_sees_only_a_stall():
    camera, _, clock = on_fake_time([*some(3), GONE], some(3))

    with camera:
        read_through(camera, 3)
        died_at = clock.now
        with pytest.raises(CameraStalled, match="camera is reopening: the fake camera is gone"):
            camera.read(1.0)
        frame = camera.read(1.0)

    assert clock.now - died_at < 1.0
    assert frame.sequence > 3


def test_sequence_goes_on_with_a_gap_after_reopening():
    camera, _, _ = on_fake_time([*some(3), GONE], some(3))

    with camera:
        frames = read_through(camera, 6)

    assert [frame.sequence for frame in frames] == [0, 1, 2, 4, 5, 6]


def test_the_second_attempt_resets_and_later_ones_pause_longer_and_longer():
    camera, inner, clock = on_fake_time([*some(1), GONE], *[GONE] * 6, some(1))
    opened_at = []

    with camera:
        for _ in patiently():
            if camera.state is RecoveryState.OK and camera.reopens:
                break
            before = len(inner.history)
            with contextlib.suppress(CameraStalled):
                camera.read(0.25)
            if "open" in inner.history[before:]:
                opened_at.append(round(clock.now - 1000, 2))

    assert inner.history[:8] == ["open", "close", "open", "close", "reset", "open", "close", "reset"]
    pauses = [round(after - before) for before, after in itertools.pairwise(opened_at)]
    assert pauses[-5:] == [1, 2, 4, 8, 16]
    assert camera.reopens == 7


def test_pauses_have_a_bound():
    steps = RetrySteps(first_pause=1, longest_pause=30)

    pauses = [steps.pause_before(attempt) for attempt in (1, 2, 3, 4, 7, 8, 9, 1000)]

    assert pauses == [0, 0, 1, 2, 16, 30, 30, 30]


def test_after_the_set_number_of_attempts_it_is_over_for_good():
    camera, inner, clock = on_fake_time([*some(1), GONE], steps=RetrySteps(attempts=6))

    with camera:
        read_through(camera, 1)
        error = final_error(camera)
        again = final_error(camera)
        assert camera.state is RecoveryState.FAILED

    assert "for good after 6 attempts" in str(error)
    assert "the fake camera is gone" in str(error)
    assert again is error
    assert inner.history.count("open") == 1 + 6
    assert clock.now - 1000 == pytest.approx(1 + 2 + 4 + 8, abs=3)


def test_read_never_takes_longer_than_its_timeout():
    camera, _, clock = on_fake_time([*some(1), GONE], *[GONE] * 6, some(5))

    with camera:
        for _ in patiently():
            if camera.reopens == 7:
                break
            before = clock.now
            with contextlib.suppress(CameraStalled):
                camera.read(0.3)
            assert clock.now - before <= 0.3 + 1e-6


def test_a_camera_that_is_absent_at_the_start_is_waited_for():
    camera, _, _ = on_fake_time(GONE, GONE, GONE, some(3))

    with camera:
        frames = read_through(camera, 3)

    assert [frame.sequence for frame in frames] == [0, 1, 2]
    assert camera.stalls == 0
    assert camera.reopens == 3


def test_one_frame_between_losses_does_not_begin_the_count_anew():
    flapping = [[*some(1), GONE]] * 50
    camera, inner, _ = on_fake_time(*flapping, steps=RetrySteps(attempts=5))

    with camera:
        error = final_error(camera)

    assert "for good after 5 attempts" in str(error)
    assert inner.history.count("open") == 1 + 5


def test_a_while_of_good_frames_forgives_what_was_before():
    good = [*some(120), GONE]  # twelve seconds
    camera, inner, _ = on_fake_time(*[good] * 12, some(1), steps=RetrySteps(attempts=2))

    with camera:
        read_through(camera, 12 * 120 + 1)

    assert "reset" not in inner.history
    assert camera.stalls == 12


FREEZES_SOON = RetrySteps(frozen_after=1.0)


def test_a_frozen_picture_is_not_handed_on_and_the_camera_is_opened_again():
    still = frames_of([lit(0)] * 60)
    camera, inner, _ = on_fake_time(still, some(9), steps=FREEZES_SOON)

    with camera:
        frames = read_through(camera, 10)
        with pytest.raises(CameraStalled, match="the picture is frozen"):
            camera.read(1.0)
        again = read_through(camera, 3)

    assert all(np.array_equal(frame.pixels, lit(0)) for frame in frames)
    assert not np.array_equal(again[-1].pixels, lit(0))
    assert inner.history == ["open", "close", "open", "close"]
    assert camera.stalls == 1


def test_a_camera_that_shows_its_last_buffer_first_is_not_opened_once_more():
    """Frozen for long, reopened, the old picture once again, then moving ones: the camera works."""
    still, after = frames_of([lit(0)] * 60), frames_of([lit(0), *(lit(i) for i in range(1, 40))])
    camera, inner, _ = on_fake_time(still, after, steps=FREEZES_SOON)

    with camera:
        read_through(camera, 10 + 35)

    assert inner.history == ["open", "close", "open", "close"]


def test_a_torn_picture_is_left_out():
    camera, _, _ = on_fake_time(frames_of([lit(0), torn(1), lit(2)]))

    with camera:
        frames = read_through(camera, 2)

    assert [frame.sequence for frame in frames] == [0, 2]
    assert camera.left_out == 1
    assert camera.picture_problem is None


def test_a_camera_that_gives_only_torn_pictures_is_stalled_after_the_set_time():
    camera, _, clock = on_fake_time(
        frames_of([lit(0), *(torn(i) for i in range(100))]), steps=RetrySteps(stall_after=4.0)
    )
    said = []

    with camera:
        camera.read(1.0)
        while clock.now < 1006:
            with pytest.raises(CameraStalled, match="the picture is torn") as stalled:
                camera.read(1.0)
            said.append((clock.now - 1000.1, stalled.type))
        assert camera.picture_problem == "torn"

    assert {kind for after, kind in said if after < 3.9} == {NoFrameYet}
    assert {kind for after, kind in said if after > 4.1} == {CameraStalled}
    assert camera.left_out > 40


@pytest.mark.parametrize("view", [with_bezel, with_grey_desk])
def test_a_picture_that_stays_as_it_is_is_handed_on(view):
    camera, _, _ = on_fake_time(frames_of(view(i) for i in range(50)))

    with camera:
        frames = read_through(camera, 50)

    assert len(frames) == 50
    assert camera.left_out == 0


@pytest.mark.parametrize(("seconds_between", "stall_after"), [(0.9, 5.0), (4.8, 5.0), (20.0, 30.0)])
def test_a_slow_camera_is_not_lost_while_it_keeps_to_the_set_time(seconds_between, stall_after):
    waits = [NoFrameYet("not yet")] * int(seconds_between / 0.5)
    slow = [step for frame in some(10) for step in (*waits, frame)]
    camera, inner, _ = on_fake_time(slow, steps=RetrySteps(stall_after=stall_after))

    with camera:
        for _ in range(10):
            for _ in waits:
                with pytest.raises(NoFrameYet):
                    camera.read(0.5)
            camera.read(0.5)

    assert camera.stalls == 0
    assert inner.history == ["open", "close"]


def test_each_loss_and_return_is_logged_once(caplog):
    camera, _, _ = on_fake_time([*some(3), GONE], *[GONE] * 5, some(3))

    with caplog.at_level(logging.INFO), camera:
        read_through(camera, 6)

    texts = [record.getMessage() for record in caplog.records]
    assert len(texts) == 2
    assert texts[0] == "camera is lost, it will be opened again: the fake camera is gone; plug it in"
    assert texts[1].startswith("camera is back after")


def test_a_bug_in_an_adapter_is_not_taken_for_a_lost_camera():
    class Broken(FakeCamera):
        def __enter__(self):
            raise ZeroDivisionError

    with RecoveringCamera(Broken([]), in_background=at_once) as camera, pytest.raises(ZeroDivisionError):
        camera.read(1.0)


class HangingToOpen(FakeCamera):
    """Its driver does not come back before it is let go."""

    def __init__(self) -> None:
        super().__init__(some(3), live=True)
        self.let_go = threading.Event()
        self.closed = threading.Event()

    def __enter__(self):
        self.let_go.wait(PATIENCE)
        return super().__enter__()

    def __exit__(self, *error) -> None:
        super().__exit__(*error)
        self.closed.set()


def test_a_driver_that_hangs_while_it_opens_does_not_hang_the_reader():
    inner = HangingToOpen()
    with RecoveringCamera(inner) as camera:
        with pytest.raises(CameraStalled, match="camera is opening"):
            camera.read(0.05)

        inner.let_go.set()

        assert camera.read(PATIENCE).sequence == 0


def test_a_driver_that_hangs_for_ever_is_given_up():
    inner = HangingToOpen()
    with RecoveringCamera(inner, RetrySteps(longest_step=0.1)) as camera:
        error = final_error(camera)
        inner.let_go.set()

    assert "its driver hangs" in str(error)


def test_a_camera_that_opens_after_it_was_closed_is_closed_again():
    inner = HangingToOpen()
    camera = RecoveringCamera(inner)
    camera.__enter__()
    threading.Timer(2.2, inner.let_go.set).start()

    camera.__exit__(None, None, None)

    assert inner.closed.wait(PATIENCE)
    assert not inner.is_open


@pytest.mark.parametrize("kind", [HttpCamera, RtspCamera])
def test_a_network_camera_that_dies_and_comes_back(kind):
    with (
        kind(scene) as device,
        RecoveringCamera(
            OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE), NEVER_STALLED
        ) as camera,
    ):
        (before,) = read_through(camera, 1)
        device.die()
        stall_until(lambda: camera.reopens >= 3, camera)
        device.come_back()

        after = read_through(camera, 5, timeout=0.5)[-1]

        assert after.sequence > before.sequence
        assert camera.state is RecoveryState.OK
        assert camera.stalls == 1


def read_through_forever(camera: RecoveringCamera) -> None:
    for _ in patiently():
        camera.read(0.2)


def stall_until(condition: Callable[[], bool], camera: RecoveringCamera) -> None:
    for _ in patiently():
        if condition():
            break
        with pytest.raises(CameraStalled):
            read_through_forever(camera)


@pytest.mark.parametrize("kind", [HttpCamera, RtspCamera])
def test_a_network_camera_that_falls_silent_and_goes_on(kind):
    with (
        kind(scene) as device,
        RecoveringCamera(OpenCvCamera(device.url, open_seconds=2, read_seconds=1), QUICK) as camera,
    ):
        read_through(camera, 1)
        device.stall()
        with pytest.raises(CameraStalled):
            read_through_forever(camera)
        for _ in patiently():  # what was under way may still come
            if camera.state is not RecoveryState.OK:
                break
            with contextlib.suppress(CameraStalled):
                camera.read(0.2)
        device.go_on()

        read_through(camera, 5, timeout=0.5)

        assert camera.stalls >= 1


def test_a_pi_camera_that_only_a_reset_revives():
    sensor = Sensor(scene, stalls_until_reset=True)
    inner = PiCamera(width=96, height=64, module=fake_picamera2(sensor), settle_seconds=0.1)
    with RecoveringCamera(inner, QUICK) as camera:
        read_through(camera, 1)
        sensor.stalled = True

        frames = read_through(camera, 3, timeout=0.2)

        assert frames[-1].sequence > 0
        assert sensor.resets >= 1
        assert camera.stalls == 1


def test_closing_during_a_pause_is_prompt_and_clean():
    with HttpCamera(scene) as device:
        camera = RecoveringCamera(
            OpenCvCamera(device.url, open_seconds=PATIENCE, read_seconds=PATIENCE),
            RetrySteps(first_pause=100 * PATIENCE, longest_pause=100 * PATIENCE, stall_after=PATIENCE),
        )
        with camera:
            read_through(camera, 1)
            device.die()
            stall_until(lambda: camera.state is RecoveryState.WAITING, camera)
            before = time.monotonic()

        assert time.monotonic() - before < PATIENCE
        assert camera.state is RecoveryState.CLOSED

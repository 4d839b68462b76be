"""A live camera that comes back by itself: reopen, reset, pause and try again, give up.

Opening and closing a broken device may hang in its driver, so both happen in a thread of their own;
`read` keeps its timeout throughout, and the daemon goes on pinging its watchdog in a declared state.
Frozen and torn pictures are not handed on, because they do not show what happens now; they are counted, and a
camera whose picture stays frozen is opened again. A camera between two frames is not stalled before
`RetrySteps.stall_after`, however slow it is.
"""

from __future__ import annotations

import dataclasses
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from enum import StrEnum
from types import TracebackType
from typing import Self

from oahega_edge.cameras.picture_quality import FROZEN_AFTER, FrameWatch, Problem
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.errors import CameraError, CameraStalled, EndOfSource, NoFrameYet

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""Seconds that a camera gets for another picture: one that was just opened may show its last buffer first."""
ABORTS, ABORT_PAUSE_S = 40, 0.05
LONGEST_STEP = 60.0
"""Seconds; a camera in a process of its own gives up by itself before."""
Background = Callable[[Callable[[], None]], "Future[None]"]
"""Starts a piece of work elsewhere and returns at once."""


class RecoveryState(StrEnum):
    """Which recovery step the camera is in."""

    CLOSED = "closed"
    OPENING = "opening"
    """For the first time."""
    OK = "ok"
    """Frames come."""
    REOPENING = "reopening"
    """Closing and opening, or waiting for the first frame after it."""
    WAITING = "waiting"
    """A pause before the next attempt."""
    FAILED = "failed"
    """For good: the process should end and be started anew."""


@dataclasses.dataclass(frozen=True, slots=True)
class RetrySteps:
    """How long to wait before each recovery step."""

    stall_after: float = 5.0
    """Seconds without a whole frame until an open camera counts as stalled."""
    first_pause: float = 1.0
    """Seconds before the third attempt; the first two follow at once, the second with a reset."""
    longest_pause: float = 30.0
    """Pauses double up to this."""
    attempts: int = 10
    """Attempts in a row before giving up; with these defaults that is after about three minutes."""
    settled_after: float = 10.0
    """Seconds of frames after which the next loss counts from one again."""
    longest_step: float = LONGEST_STEP
    """Seconds that closing and opening may take; a longer one hangs in the kernel and never ends."""
    frozen_after: float = FROZEN_AFTER
    """Seconds of exactly equal pixels that make a picture frozen."""

    @classmethod
    def for_settings(cls, stall_s: float, attempts: int) -> RetrySteps:
        """No other step may end sooner than the time for which the settings let the camera be silent."""
        return cls(
            stall_after=stall_s,
            attempts=attempts,
            longest_step=LONGEST_STEP + 2 * stall_s,
            frozen_after=max(FROZEN_AFTER, stall_s),
        )

    def pause_before(self, attempt: int) -> float:
        """Seconds before the n-th attempt in a row, counted from 1."""
        if attempt <= 2:
            return 0.0
        return float(min(self.longest_pause, self.first_pause * 2.0 ** min(attempt - 3, 60)))


def in_thread(work: Callable[[], None]) -> Future[None]:
    """Run `work` in a daemon thread, which cannot keep the process from ending."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            work()
        except BaseException as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, name="camera recovery", daemon=True).start()
    return future


class RecoveringCamera(Camera):
    """A live camera that recovers by itself. Opening never fails: an absent camera is waited for."""

    live = True

    def __init__(
        self,
        camera: Camera,
        steps: RetrySteps | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        in_background: Background = in_thread,
    ) -> None:
        self.state = RecoveryState.CLOSED
        self.reason = ""
        """Of the last trouble, in one sentence; empty while all is well."""
        self.stalls = 0
        self.reopens = 0
        self.left_out = 0
        self.picture_problem: str | None = None
        self._camera = camera
        self._steps = steps or RetrySteps()
        self._clock = clock
        self._sleep = sleep
        self._in_background = in_background
        self._work: Future[None] | None = None
        self._problems: frozenset[Problem] = frozenset()

    def __enter__(self) -> Self:
        self._closed = threading.Event()
        self._failure: CameraError | None = None
        self._attempt = 0
        self._lost_at: float | None = None
        self._next_attempt_at: float | None = None
        self._first_sequence = 0
        self._last_sequence = -1
        self._last_good_at = self._clock()
        self._frame_watch = FrameWatch(self._steps.frozen_after)
        self._problems = frozenset()
        self.picture_problem = None
        self._frozen_since: float | None = None
        self.reason = ""
        self.state = RecoveryState.OPENING
        self._start(self._open)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.state is RecoveryState.CLOSED:
            return
        self.state = RecoveryState.CLOSED
        self._closed.set()
        if self._work is None or self._aborted(self._work):  # else the thread closes it when it gets there
            self._camera.__exit__(kind, error, trace)

    def _aborted(self, work: Future[None]) -> bool:
        """Cut opening short, again and again: it may be about to start what can be aborted."""
        for _ in range(ABORTS):
            self._camera.abort()
            if _is_over(work, ABORT_PAUSE_S):
                return True
        return False

    def read(self, timeout: float) -> Frame:
        """The newest whole frame. Raises NoFrameYet while the camera may take its time.

        Raises CameraStalled while it recovers or shows nothing new, CameraError when it cannot.
        """
        if self.state is RecoveryState.CLOSED:
            raise CameraError("the camera is not open; use it in a `with` block")
        deadline = self._clock() + timeout
        while True:
            self._await_open(deadline)
            frame = self._read(max(0.0, deadline - self._clock()))
            faults = self._judge(frame) & {Problem.FROZEN, Problem.TORN}
            if not faults:
                self._last_good_at = self._clock()
                return frame
            self.left_out += 1
            if self._clock() >= deadline:
                raise self._without_picture(f"the picture is {' and '.join(sorted(faults))}")

    def _without_picture(self, reason: str) -> CameraStalled:
        """A frozen picture has been one for long; a torn one may be followed by a whole one in time."""
        is_due = Problem.FROZEN in self._problems or (
            self._clock() - self._last_good_at >= self._steps.stall_after
        )
        return CameraStalled(reason) if is_due else NoFrameYet(reason)

    def _await_open(self, deadline: float) -> None:
        while not self._is_ready(max(0.0, deadline - self._clock())):
            if self._failure is not None:
                raise self._failure.with_traceback(None)
            if self._clock() >= deadline:
                raise CameraStalled(f"camera is {self.state}: {self.reason or 'it takes its time'}")

    def _judge(self, frame: Frame) -> frozenset[Problem]:
        """What is wrong with the picture; each change is logged, and a frozen camera is opened again."""
        now = self._clock()
        problems = self._frame_watch.see(frame, now)
        for problem in sorted(problems - self._problems):
            log.warning("camera: the picture is %s", problem)
        for problem in sorted(self._problems - problems):
            log.info("camera: the picture is no longer %s", problem)
        self._problems = problems
        self.picture_problem = " and ".join(sorted(problems)) or None
        if Problem.FROZEN not in problems:
            self._frozen_since = None
        elif self._frozen_since is None:
            self._frozen_since = now
        elif now - self._frozen_since >= FRESH_S:
            self._lost(CameraError("the picture is frozen"))
        return problems

    def _is_ready(self, seconds: float) -> bool:
        """Recover for at most `seconds`; True when the camera can be read."""
        if self._failure is not None:
            return False
        if self._next_attempt_at is not None:
            pause = self._next_attempt_at - self._clock()
            if pause > 0:
                self._sleep(min(pause, seconds))
            if self._clock() < self._next_attempt_at:
                return False
            self._next_attempt_at = None
            self._start_attempt()
        return self._work is None or self._has_opened(self._work, seconds)

    def _has_opened(self, work: Future[None], seconds: float) -> bool:
        if not _is_over(work, seconds):
            if self._clock() - self._step_began > self._steps.longest_step:
                self._give_up("its driver hangs")
            return False
        self._work = None
        error = work.exception()
        if error is None:
            self._last_frame_at = self._clock()
            return True
        if not isinstance(error, CameraError):
            raise error
        self._lost(error)
        return False

    def _read(self, timeout: float) -> Frame:
        try:
            frame = self._camera.read(timeout)
        except EndOfSource:
            raise
        except CameraStalled as error:
            if self._clock() - self._last_frame_at >= self._steps.stall_after:
                self._lost(error)
                raise
            raise self._without_picture(str(error)) from None
        except CameraError as error:
            self._lost(error)
            raise CameraStalled(f"camera is {self.state}: {error}") from error
        return self._accept(frame)

    def _accept(self, frame: Frame) -> Frame:
        now = self._last_frame_at = self._clock()
        if self.state is not RecoveryState.OK:
            self._say_back(now)
            self.state, self.reason = RecoveryState.OK, ""
            self._ok_since = now
            # A reopened camera counts from 0 again; ours goes on, with a gap.
            self._first_sequence = self._last_sequence + 1 + (self._last_sequence >= 0) - frame.sequence
        if now - self._ok_since >= self._steps.settled_after:
            self._attempt = 0
        self._last_sequence = self._first_sequence + frame.sequence
        return dataclasses.replace(frame, sequence=self._last_sequence)

    def _say_back(self, now: float) -> None:
        if self._lost_at is not None:
            log.info("camera is back after %.1f s and %d attempts", now - self._lost_at, self._attempt)
            self._lost_at = None

    def _lost(self, error: CameraError) -> None:
        """Plan the next attempt, or give up."""
        self._frozen_since = None
        if self._lost_at is None:
            self._lost_at = self._clock()
            log.warning("camera is lost, it will be opened again: %s", error)
        self.stalls += self.state is RecoveryState.OK
        self.reason = str(error)
        self._attempt += 1
        if self._attempt > self._steps.attempts:
            self._give_up(self.reason)
            return
        pause = self._steps.pause_before(self._attempt)
        self._next_attempt_at = self._clock() + pause
        self.state = RecoveryState.WAITING if pause else RecoveryState.REOPENING

    def _start_attempt(self) -> None:
        self.reopens += 1
        self.state = RecoveryState.REOPENING
        self._start(self._reset_and_open if self._attempt >= 2 else self._reopen)

    def _give_up(self, reason: str) -> None:
        lasted = self._clock() - (self._step_began if self._lost_at is None else self._lost_at)
        self.state, self.reason = RecoveryState.FAILED, reason
        self._failure = CameraError(
            f"camera is lost for good after {max(0, self._attempt - 1)} attempts in {lasted:.0f} s "
            f"({reason}); restart the service, then the machine"
        )

    def _start(self, step: Callable[[], None]) -> None:
        closed = self._closed

        def work() -> None:
            step()
            if closed.is_set():
                self._camera.__exit__(None, None, None)

        self._step_began = self._clock()
        self._work = self._in_background(work)

    def _open(self) -> None:
        self._camera.__enter__()

    def _reopen(self) -> None:
        self._camera.__exit__(None, None, None)
        self._camera.__enter__()

    def _reset_and_open(self) -> None:
        self._camera.__exit__(None, None, None)
        self._camera.reset()
        self._camera.__enter__()


def _is_over(work: Future[None], seconds: float) -> bool:
    try:
        work.exception(seconds)
    except TimeoutError:
        return False
    return True

"""The accelerator while it is healthy, the CPU while it is not, and the way back.

All models of the daemon share one accelerator, so they fall and return together. Calls come from one thread;
only the attempt to get the accelerator back runs beside them, because starting a Coral takes seconds.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from oahega_edge.errors import AcceleratorError, EdgeError
from oahega_edge.runtimes.port import Model

log = logging.getLogger(__name__)

Models = Mapping[str, Model]


@dataclass(frozen=True, slots=True)
class Pauses:
    """Seconds between attempts: the first one, then twice as long each time, up to the longest.

    They start anew only after the accelerator worked for the longest pause, so that one that comes and goes
    is not tried all the time.
    """

    first: float = 5.0
    longest: float = 600.0


class Fallback:
    """Two sets of the same models; `models` answers from the better one that works."""

    def __init__(
        self,
        on_cpu: Models,
        open_accelerator: Callable[[], Models],
        self_test: Callable[[Models], None],
        *,
        pauses: Pauses = Pauses(),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`open_accelerator`: the same names as `on_cpu`, freshly opened; EdgeError when it fails.

        `self_test`: EdgeError when they do not give the golden answers. Both are called from another thread.
        """
        self.models: Mapping[str, FallbackModel] = {name: FallbackModel(self, name) for name in on_cpu}
        self.reason: str | None = "the accelerator has not been opened yet"
        """Why the CPU answers; None while the accelerator does."""
        self.failures = 0
        """How often the accelerator was lost or could not be had, for health."""
        self._on_cpu = on_cpu
        self._on_accelerator: Models | None = None
        self._open_tested = lambda: _opened_and_tested(open_accelerator, self_test)
        self._pauses = pauses
        self._clock = clock
        self._pause = pauses.first
        self._try_at = float("-inf")
        self._since = float("-inf")
        self._attempt: _Attempt | None = None
        self._open_models = set(on_cpu)

    @property
    def degraded(self) -> bool:
        """Whether the CPU answers although an accelerator is wanted."""
        return self._on_accelerator is None

    @property
    def accelerator(self) -> str:
        """What answers now."""
        working = self._on_accelerator or self._on_cpu
        return next(iter(working.values())).accelerator

    def start(self, wait: float) -> None:
        """Try the accelerator now and give it `wait` seconds; it may still come later."""
        if self._attempt is None:
            self._attempt = _Attempt(self._open_tested)
        self._attempt.wait(wait)
        self._advance()

    def run(self, name: str, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """Answer one call, whatever happens to the accelerator meanwhile."""
        self._advance()
        if self._on_accelerator is not None:
            try:
                return self._on_accelerator[name].run(tensor)
            except AcceleratorError as error:
                self._lose(str(error))
        return self._on_cpu[name].run(tensor)

    def release(self) -> None:
        """Let go of the accelerator, which belongs to one at a time; the CPU answers until `reclaim`."""
        self._let_go()
        self._try_at = float("inf")
        self.reason = "the accelerator is lent to another bundle"

    def reclaim(self) -> None:
        """Try to get it again with the next call."""
        self._try_at = float("-inf")

    def forget(self, name: str) -> None:
        """One of the models was closed; the last one closes everything."""
        self._open_models.discard(name)
        if not self._open_models:
            self._close()

    def _close(self) -> None:
        self._let_go()
        _close_all(self._on_cpu)

    def _let_go(self) -> None:
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        _close_all(self._on_accelerator or {})
        self._on_accelerator = None

    def _advance(self) -> None:
        """Take what an attempt brought, or begin one when it is time. Never waits."""
        if self._attempt is not None:
            result = self._attempt.result()
            if result is not None:
                self._attempt = None
                self._take(result)
        elif self._on_accelerator is None and self._clock() >= self._try_at:
            self._attempt = _Attempt(self._open_tested)

    def _take(self, result: Models | EdgeError) -> None:
        if isinstance(result, EdgeError):
            self._wait_for_it(str(result))
            return
        self._on_accelerator = result
        self._since = self._clock()
        self.reason = None
        log.info("inference runs on %s", self.accelerator)

    def _lose(self, reason: str) -> None:
        if self._clock() - self._since >= self._pauses.longest:
            self._pause = self._pauses.first
        _close_all(self._on_accelerator or {})
        self._on_accelerator = None
        self._wait_for_it(reason)

    def _wait_for_it(self, reason: str) -> None:
        self.failures += 1
        self._try_at = self._clock() + self._pause
        level = logging.DEBUG if reason == self.reason else logging.WARNING
        log.log(level, "inference runs on the CPU: %s; trying again in %g s", reason, self._pause)
        self._pause = min(2 * self._pause, self._pauses.longest)
        self.reason = reason


class FallbackModel:
    """The `Model` port over one of a Fallback's models."""

    def __init__(self, group: Fallback, name: str) -> None:
        """Made by the Fallback."""
        self._group: Fallback = group
        self._name = name
        self._closed = False

    @property
    def accelerator(self) -> str:
        """What answers now."""
        return self._group.accelerator

    @property
    def degraded(self) -> bool:
        """Whether the CPU answers although an accelerator is wanted."""
        return self._group.degraded

    @property
    def reason(self) -> str | None:
        """Why the CPU answers; None while the accelerator does."""
        return self._group.reason

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        """See `Model.run`; a failing accelerator is not an error here."""
        if self._closed:
            raise ValueError("the model is closed")
        return self._group.run(self._name, tensor)

    def close(self) -> None:
        """Release it; everything is released with the last one."""
        self._closed = True
        self._group.forget(self._name)


class _Attempt:
    """One try to open the accelerator, in a thread of its own."""

    def __init__(self, open_tested: Callable[[], Models]) -> None:
        self._open_tested = open_tested
        self._results: queue.SimpleQueue[Models | EdgeError] = queue.SimpleQueue()
        self._abandoned = False
        self._lock = threading.Lock()
        # A daemon thread: a Coral that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._run, name="accelerator", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            result: Models | EdgeError = self._open_tested()
        except EdgeError as error:
            result = error
        except Exception as error:
            log.exception("opening the accelerator failed in an unforeseen way")
            result = AcceleratorError(f"opening the accelerator failed: {error!r}")
        with self._lock:
            self._results.put(result)
            if self._abandoned:
                self._discard()

    def wait(self, seconds: float) -> None:
        """Until it is decided, at most so long."""
        self._thread.join(seconds)

    def result(self) -> Models | EdgeError | None:
        """None while it is not decided."""
        try:
            return self._results.get_nowait()
        except queue.Empty:
            return None

    def abandon(self) -> None:
        """Close what the attempt opened or will open; its result is no longer wanted."""
        with self._lock:
            self._abandoned = True
            self._discard()

    def _discard(self) -> None:
        result = self.result()
        if result is not None and not isinstance(result, EdgeError):
            _close_all(result)


def _opened_and_tested(open_accelerator: Callable[[], Models], self_test: Callable[[Models], None]) -> Models:
    models = open_accelerator()
    try:
        self_test(models)
    except BaseException:
        _close_all(models)
        raise
    return models


def _close_all(models: Models) -> None:
    for model in models.values():
        model.close()

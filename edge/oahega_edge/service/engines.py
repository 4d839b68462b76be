"""The bundle in use, and its replacement while the daemon runs.

`bundle.path` may be a link, `bundles/current`. When it points elsewhere, the new bundle is opened and
tested; from then on it is on trial for a minute. A bundle that fails, or takes the whole process with it,
gives way to the one before, and is not tried again until the link changes, over restarts too. An accelerator
that only one can hold is the new one's from the beginning, and the old one's again if the new one fails.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path

from oahega_edge.errors import EdgeError
from oahega_edge.service.engine import Engine

_log = logging.getLogger(__name__)

TRIAL_S = 60.0
LOOK_EVERY_S = 2.0


class TrialRecord:
    """What survives a crash: which bundle is on trial or failed it, and which one worked before it."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "bundle-on-trial.json"

    def read(self) -> tuple[Path, Path] | None:
        """The bundle that must not be started with, and the one before."""
        if self._file is None:
            return None
        try:
            trial = json.loads(self._file.read_text())
            return Path(trial["on_trial"]), Path(trial["before"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.warning("%s is not readable (%s); ignoring it", self._file, error)
            return None

    def write(self, on_trial: Path, before: Path) -> None:
        """Before the new bundle's files meet an interpreter, which may take the process with it."""
        self._change(json.dumps({"on_trial": str(on_trial), "before": str(before)}))

    def clear(self) -> None:
        """The trial is passed, the link changed, or the daemon was asked to stop."""
        self._change(None)

    def _change(self, text: str | None) -> None:
        if self._file is None:
            return
        try:
            if text is None:
                self._file.unlink(missing_ok=True)
            else:
                new = self._file.with_suffix(".new")
                new.write_text(text)
                new.replace(self._file)
        except OSError as error:
            _log.warning(
                "%s cannot be written (%s); a crash in this trial will not be remembered",
                self._file,
                error.strerror,
            )


class Engines:
    """The engine in use, and the way to another one."""

    def __init__(
        self,
        open_engine: Callable[[Path], Engine],
        link: Path,
        record: TrialRecord,
        clock: Callable[[], float],
    ) -> None:
        """Opens the bundle at `link`, or the one before when that crashed on trial; EdgeError when it cannot.

        `open_engine` opens and self-tests a bundle; `clock` in monotonic seconds.
        """
        self._open = open_engine
        self._link = link
        self._record = record
        self._clock = clock
        self._looked_at = clock()
        self._before: tuple[Engine, Path] | None = None
        self._trial_since = 0.0
        self.problem: str | None = None
        """Why the bundle at the link is not the one in use."""
        self._refused: Path | None = None
        self._path = self._first_path()
        self.current = open_engine(self._path)

    def look(self) -> bool:
        """Check every two seconds whether the link moved or a trial ended; True when `current` changed."""
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        if self._before is not None and now - self._trial_since >= TRIAL_S:
            self._end_trial()
            _log.info("bundle %s has passed its first minute", self._path)
        target = self._link.resolve()
        if target == self._path:
            self._forgive()
            return False
        return target != self._refused and self._try(target, now)

    def failed(self, error: Exception) -> bool:
        """The current engine failed; if it is on trial, the one before comes back, and this is True."""
        if self._before is None:
            return False
        self._refuse(self._path, f"it failed on trial: {error}")
        self.current.close()
        (self.current, self._path), self._before = self._before, None
        self.current.reclaim()
        return True

    def close(self) -> None:
        """Stop in order: a bundle on trial has not failed."""
        self._end_trial()
        self.current.close()

    def _first_path(self) -> Path:
        target = self._link.resolve()
        trial = self._record.read()
        if trial is None:
            return target
        on_trial, before = trial
        if on_trial != target or not before.is_dir():
            self._record.clear()
            return target
        self._refuse(target, "it failed on trial, or the daemon crashed during the trial")
        return before

    def _try(self, target: Path, now: float) -> bool:
        self._record.write(target, self._path)
        self.current.release()
        try:
            engine = self._open(target)
        except EdgeError as error:
            self.current.reclaim()
            self._refuse(target, str(error))
            if self._before is not None:
                self._record.write(self._path, self._before[1])  # whose own trial goes on
            return False
        if self._before is not None:
            self._before[0].close()
        self._before = (self.current, self._path)
        self.current, self._path, self._trial_since = engine, target, now
        self.problem = self._refused = None
        _log.info("bundle %s is in use, on trial for %g s", target, TRIAL_S)
        return True

    def _refuse(self, path: Path, reason: str) -> None:
        self._refused = path
        self.problem = f"bundle {path} is not used: {reason}"
        _log.error("%s", self.problem)

    def _forgive(self) -> None:
        """The link points to the bundle in use again, so the other one may be tried again."""
        if self._refused is not None:
            self.problem = self._refused = None
            self._record.clear()

    def _end_trial(self) -> None:
        if self._before is not None:
            self._before[0].close()
            self._before = None
            self._record.clear()

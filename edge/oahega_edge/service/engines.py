"""The bundle in use, and its replacement while the daemon runs.

`bundle.path` may be a link, `bundles/current`. When it points elsewhere, the new bundle is opened and
tested; from then on it is on trial for a minute. A bundle that fails, or takes the whole process with it,
gives way to the one before, and is not tried again until the link or its files change, over restarts until
the link does. A bundle that
does not fit at the start gives way to the copy of the last one that worked. An accelerator that only one can
hold is the new one's from the beginning, and the old one's again if the new one fails.

With `bundle.shadow_minutes`, a bundle that never worked on this device first runs in the shadow of the one in
use: its classifier reads the same faces on the CPU, the one in use decides and keeps the accelerator. Then it
is taken and on trial like any other, or refused. After a start, the copy of the last good one is used
meanwhile.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Protocol

from oahega_edge.bundles.load import digest_of
from oahega_edge.drift.look import Look
from oahega_edge.files import read_file
from oahega_edge.service.engine import Engine
from oahega_edge.service.setup import place_of
from oahega_edge.shadow.trial import Shadowing, ShadowTrial, State

_log = logging.getLogger(__name__)

TRIAL_S = 60.0
LARGEST_RECORD = 64 << 10
"""Bytes."""
LOOK_EVERY_S = 2.0
FAILED_BEFORE = "it failed on trial, or the daemon crashed during the trial"


class Kept(Protocol):
    """Where the last bundle that worked is kept."""

    @property
    def path(self) -> Path | None:
        """None while there is none."""
        ...

    @property
    def sha256(self) -> str | None:
        """Which bundle it is."""
        ...

    def has_worked(self, sha256: str) -> bool:
        """Whether this bundle was kept once."""
        ...

    def keep(self, path: Path, sha256: str) -> None:
        """This one from now on. Never raises."""
        ...


class TrialRecord:
    """What survives a crash: which bundle is on trial or failed it, and which one worked before it."""

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / "bundle-on-trial.json"

    def read(self) -> tuple[Path, Path] | None:
        """The bundle that must not be started with, and the one before."""
        if self._file is None:
            return None
        try:
            trial = json.loads(read_file(self._file, LARGEST_RECORD))
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
        kept: Kept,
        clock: Callable[[], float],
        shadowing: Shadowing | None = None,
    ) -> None:
        """Opens the bundle at `link`, or the last good one when that does not fit; EdgeError when none does.

        `open_engine` opens and self-tests a bundle; `clock` in monotonic seconds; `shadowing`: None where new
        bundles are taken at once.
        """
        self._open = open_engine
        self._link = link
        self._record = record
        self._kept = kept
        self._clock = clock
        self._shadowing = shadowing
        self.shadow: ShadowTrial | None = None
        """The newest one, running or ended; None before the first."""
        self._shadow_of: tuple[Path, float] | None = None
        """The bundle in the shadow and since when, monotonic; None while there is none."""
        self._looked_at = clock()
        self._before: tuple[Engine, Path] | None = None
        """Open beside a bundle on trial that replaced it."""
        self._trial_since: float | None = None
        self.problem: str | None = None
        """Why the bundle at the link is not the one in use."""
        self._refused: tuple[Path, _Appearance] | None = None
        self._asked_to_retune = False
        self.current, self._path = self._open_first()

    def look(self) -> bool:
        """Check every two seconds whether the link moved or a trial ended; True when `current` changed."""
        if self._asked_to_retune:
            self._asked_to_retune = False
            self.current.retune()
            _log.info("bundle %s %s is in use", self.current.bundle.name, self.current.bundle.version)
            return True
        now = self._clock()
        if now - self._looked_at < LOOK_EVERY_S:
            return False
        self._looked_at = now
        if self._trial_since is not None and now - self._trial_since >= TRIAL_S:
            self._end_trial()
            self._kept.keep(self._path, self.current.bundle.sha256)
            _log.info("bundle %s has passed its first minute", self._path)
        target = place_of(self._link)
        if self._shadow_of is not None:
            if target == self._shadow_of[0]:
                return self._watch_shadow(target, now)
            self._leave_shadow("left")
        if target == self._path:
            self._forgive()
            return False
        if (target, _appearance(target)) == self._refused:
            return False
        if self._wants_shadow(target):
            self._begin_shadow(target, now)
            return False
        return self._try(target, now)

    def retune(self) -> None:
        """Let the next `look` use the tuning in the state folder; may be called from any thread."""
        self._asked_to_retune = True

    def saw(self, looks: Sequence[Look]) -> None:
        """Faces that ended, as the bundle in use and one in its shadow read them."""
        if self._shadow_of is not None and self.shadow is not None:
            self.shadow.saw(looks)

    def failed(self, error: Exception) -> bool:
        """The current engine failed; if it is on trial, the one before comes back, and this is True."""
        if self._before is None:
            return False
        self._refuse(self._path, f"it failed on trial: {error}")
        self.current.close()
        (self.current, self._path), self._before = self._before, None
        self._trial_since = None
        self.current.reclaim()
        return True

    def close(self) -> None:
        """Stop in order: a bundle on trial has not failed."""
        if self._shadow_of is not None:
            self._leave_shadow("left")
            self._record.clear()
        self._end_trial()
        self.current.close()

    def _wants_shadow(self, target: Path) -> bool:
        """Not while another one is on trial: there is one way back."""
        if self._shadowing is None or self._trial_since is not None:
            return False
        digest = digest_of(target)
        return digest is not None and not self._kept.has_worked(digest)

    def _begin_shadow(self, target: Path, now: float) -> None:
        assert self._shadowing is not None
        self._record.write(target, self._path)
        try:
            self.shadow = self._shadowing.begin(target, self.current.labels)
        except Exception as error:  # of any kind: the one in use goes on
            self._refuse(target, _said(error))
            return
        self.problem = self._refused = None
        self._shadow_of = target, now
        self.current.pipeline.read_beside(self.shadow.reader)
        _log.info("bundle %s runs in the shadow for %g min", target, self._shadowing.seconds / 60)

    def _watch_shadow(self, target: Path, now: float) -> bool:
        assert self._shadowing is not None
        assert self._shadow_of is not None
        assert self.shadow is not None
        shadow, since = self.shadow, self._shadow_of[1]
        if now - since >= TRIAL_S:
            self._record.clear()  # a power cut in a long shadow is not its fault
        over = now - since >= self._shadowing.seconds
        if not over and shadow.reader.problem is None:
            return False
        problem = shadow.problem
        self._leave_shadow("passed" if problem is None else "refused")
        if problem is None:
            return self._try(target, now)
        self._record.write(target, self._path)
        self._refuse(target, f"in the shadow of the one in use {problem}")
        return False

    def _leave_shadow(self, state: State) -> None:
        assert self.shadow is not None
        self.current.pipeline.read_beside(None)
        self.shadow.end(state)
        self._shadow_of = None

    def _open_first(self) -> tuple[Engine, Path]:
        """The bundle at the link; else the one before, else the copy of the last good one."""
        target = place_of(self._link)
        before = self._refused_by_record(target)
        if before is None and (kept := self._open_kept_before(target)) is not None:
            return kept
        places = [target, self._kept.path] if before is None else [before, self._kept.path, target]
        errors: list[Exception] = []
        for path in filter(None, places):
            try:
                engine = self._open_at_start(path, target, refused=before is not None)
            except Exception as error:  # of any kind: another one may work
                errors.append(error)
                continue
            if path != target:
                self._refuse(target, FAILED_BEFORE if before is not None else _said(errors[0]))
            return engine, path
        raise errors[0 if before is None else -1]

    def _open_kept_before(self, target: Path) -> tuple[Engine, Path] | None:
        """The last good bundle, where the one at the link is to run in its shadow first."""
        kept = self._kept.path
        if kept is None or not self._wants_shadow(target):
            return None
        try:
            return self._open(kept), kept
        except Exception as error:  # of any kind: there is none to be in the shadow of
            _log.warning("bundle %s does not open any more (%s)", kept, _said(error))
            return None

    def _refused_by_record(self, target: Path) -> Path | None:
        """The bundle before, when the one at the link is on record as refused; else the record is over."""
        trial = self._record.read()
        if trial is not None and trial[0] == target:
            return trial[1]
        if trial is not None:
            self._record.clear()
        return None

    def _open_at_start(self, path: Path, target: Path, refused: bool) -> Engine:
        """One that is not known to work is on trial where there is another one to go back to."""
        kept = self._kept.path
        if path != target or kept is None:
            engine = self._open(path)
            self._kept.keep(path, engine.bundle.sha256)
            return engine
        self._record.write(target, kept)
        try:
            engine = self._open(path)
        except Exception:
            if not refused:
                self._record.clear()  # the process survived it: it may be tried again at the next start
            raise
        if engine.bundle.sha256 == self._kept.sha256:
            self._record.clear()
        else:
            self._trial_since = self._clock()
        return engine

    def _try(self, target: Path, now: float) -> bool:
        self._record.write(target, self._path)
        self.current.release()
        try:
            engine = self._open(target)
        except Exception as error:  # of any kind: the one in use goes on
            self.current.reclaim()
            self._refuse(target, _said(error))
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
        self._refused = path, _appearance(path)
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
        if self._trial_since is not None:
            self._trial_since = None
            self._record.clear()


_Appearance = tuple[tuple[str, int, int], ...]


def _appearance(folder: Path) -> _Appearance:
    """Name, size and time of each file: a copy that is still arriving is tried again."""
    try:
        with os.scandir(folder) as entries:
            found = [(each.name, each.stat(follow_symlinks=False)) for each in islice(entries, 64)]
    except OSError:
        return ()
    return tuple(sorted((name, about.st_size, about.st_mtime_ns) for name, about in found))


def _said(error: Exception) -> str:
    return str(error) or repr(error)

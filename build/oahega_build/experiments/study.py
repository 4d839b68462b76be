"""A search that several processes and machines share: taking trials, and retrying those of dead workers.

Optuna stores the trials, in a journal file (one machine, or a shared folder) or in PostgreSQL. Its own
heartbeat covers databases only, so here the heartbeat is an attribute of the trial in both.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend, JournalFileSymlinkLock
from optuna.trial import FrozenTrial, TrialState

from oahega_build.errors import RunError
from oahega_build.runs.output import say
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.files import read_file

Direction = Literal["minimize", "maximize"]

BEAT = 10.0
"""Seconds between two heartbeats of a running trial."""
SILENCE = 120.0
"""Seconds without a heartbeat after which a trial is requeued. The clocks of machines that share a study
must agree within a minute."""
LOOK_AGAIN = 2.0
"""Seconds between two checks of the others' trials when there is no trial left to take."""

SEEN, WORKER, ORIGIN = "seen", "worker", "origin"
"""Attributes of a trial: time of its last heartbeat, its worker, the number of its first attempt."""


def open_study(name: str, storage: str, direction: Direction) -> optuna.Study:
    """Open the study `name`, and create it if it does not exist.

    `storage`: path of a journal file, or a URL `postgresql://USER@HOST/DATABASE` (password in PGPASSWORD
    or ~/.pgpass). Raises RunError if it cannot be reached.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(
        study_name=name, storage=_open_storage(storage), direction=direction, load_if_exists=True
    )


def _open_storage(storage: str) -> BaseStorage:
    if "://" not in storage:
        return JournalStorage(JournalFileBackend(_whole_lines(Path(storage))))
    url = storage.replace("postgresql://", "postgresql+psycopg://", 1)
    from sqlalchemy.pool import NullPool  # a worker talks to the database a few times a minute

    try:
        return RDBStorage(url, engine_kwargs={"poolclass": NullPool})
    except (ImportError, OSError, RuntimeError, ValueError) as error:
        raise RunError(f"the study's storage {_without_password(storage)} cannot be used: {error}") from error
    except Exception as error:
        # SQLAlchemy and its drivers have no common base class for a refused connection.
        if type(error).__module__.startswith(("sqlalchemy", "psycopg")):
            said = str(error).splitlines()[0]
            raise RunError(
                f"the study's storage {_without_password(storage)} cannot be reached ({said}); is it running?"
            ) from error
        raise


def _whole_lines(path: Path) -> str:
    """Cut off an incomplete last line, which a killed writer may have left."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        lock = JournalFileSymlinkLock(str(path))
        lock.acquire()
        try:
            data = read_file(path, LARGEST_DOCUMENT)
            if data and not data.endswith(b"\n"):
                os.truncate(path, data.rfind(b"\n") + 1)
        finally:
            lock.release()
    return str(path)


def _without_password(url: str) -> str:
    scheme, _, rest = url.partition("://")
    access, at, place = rest.rpartition("@")
    return f"{scheme}://{access.partition(':')[0]}{at}{place}"


Objective = Callable[[optuna.Trial, int], float]
"""Computes the figure to optimise from a trial and the number of its first attempt. May raise TrialPruned."""
Sampling = Callable[[int], optuna.samplers.BaseSampler]
"""A function of the number of trials finished or running that returns the sampler of the next one."""


def work(study: optuna.Study, budget: int, sampling: Sampling, objective: Objective) -> None:
    """Run trials until `budget` of them are finished, by any worker.

    If no trial is left to take, wait for the others' trials, and take over those whose worker has died. On an
    interrupt or an error, requeue this worker's trial and raise.
    """
    while True:
        requeue_abandoned(study, time.time())
        trials = study.get_trials(deepcopy=False)
        if len(finished(trials)) >= budget:
            return
        taken = [t for t in trials if t.state not in (TrialState.FAIL, TrialState.WAITING)]
        if len(taken) >= budget:
            time.sleep(LOOK_AGAIN)
            continue
        trial = study.ask()
        place = _place(study, trial.number)
        if place >= budget:  # two workers took the last trial at the same time
            study.tell(trial, state=TrialState.FAIL)
            continue
        # Seeded by place, not by process, so that a resumed search draws the same values.
        study.sampler = sampling(place)
        _run(study, trial, objective)


def finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """The trials that are complete or were stopped early."""
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def _place(study: optuna.Study, number: int) -> int:
    """The number of earlier trials that are finished or running, without lost attempts."""
    ended = (TrialState.FAIL, TrialState.WAITING)
    return sum(t.number < number and t.state not in ended for t in study.get_trials(deepcopy=False))


def _run(study: optuna.Study, trial: optuna.Trial, objective: Objective) -> None:
    origin = int(trial.user_attrs.get(ORIGIN, trial.number))
    trial.set_user_attr(WORKER, this_worker())
    try:
        with _heartbeat(trial):
            value = objective(trial, origin)
        _tell(study, trial, value, TrialState.COMPLETE)
    except optuna.TrialPruned:
        _tell(study, trial, None, TrialState.PRUNED)
    except BaseException:
        requeue(study, trial.number, trial.params, origin)
        raise


def _tell(study: optuna.Study, trial: optuna.Trial, value: float | None, state: TrialState) -> None:
    try:
        study.tell(trial, value, state)
    except (UpdateFinishedTrialError, ValueError):
        # This machine was silent for too long (suspended), and another worker took the trial.
        say(f"trial {trial.number} was requeued meanwhile; this result is discarded")


def requeue(study: optuna.Study, number: int, params: Mapping[str, Any], origin: int) -> None:
    """End an attempt without a result and put its values at the front of the queue."""
    study.tell(number, state=TrialState.FAIL)
    study.enqueue_trial(dict(params), user_attrs={ORIGIN: origin})


def requeue_abandoned(study: optuna.Study, now: float) -> list[int]:
    """Requeue the running trials whose worker has died. Returns their numbers."""
    requeued = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_abandoned(trial, now):
            continue
        try:
            requeue(study, trial.number, trial.params, int(trial.user_attrs.get(ORIGIN, trial.number)))
        except (UpdateFinishedTrialError, ValueError):
            continue  # another worker requeued it at the same moment
        requeued.append(trial.number)
    return requeued


def is_abandoned(trial: FrozenTrial, now: float) -> bool:
    """Whether the worker has died: its process on this machine has ended, or it was silent for too long."""
    host, _, process = str(trial.user_attrs.get(WORKER, "")).rpartition(":")
    if host == socket.gethostname() and not _exists(int(process)):
        return True
    started = trial.datetime_start.timestamp() if trial.datetime_start else now
    return now - float(trial.user_attrs.get(SEEN, started)) > SILENCE


def this_worker() -> str:
    """This process as `host:process`."""
    return f"{socket.gethostname()}:{os.getpid()}"


def _exists(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(process)


def _is_zombie(process: int) -> bool:
    """Whether a process is dead but still has its number because its parent has not waited for it."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@contextmanager
def _heartbeat(trial: optuna.Trial) -> Iterator[None]:
    stopped = threading.Event()

    def beat() -> None:
        while True:
            try:
                trial.set_user_attr(SEEN, time.time())
            except UpdateFinishedTrialError:
                return  # requeued meanwhile; `_tell` reports it
            if stopped.wait(BEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()

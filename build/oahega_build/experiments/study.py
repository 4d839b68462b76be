"""A search that several processes and machines share: who takes which trial, who has died, what is lost.

Optuna keeps the trials, in a journal file (one machine, or a shared folder) or in PostgreSQL. Its own
heartbeat covers databases only, so the sign of life here is an attribute of the trial, in both.
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

Direction = Literal["minimize", "maximize"]

BEAT = 10.0
"""Seconds between two signs of life of a running trial."""
SILENCE = 120.0
"""Seconds without one after which a trial is given to somebody else. Clocks of the machines that share a
study must agree within a minute."""
LOOK_AGAIN = 2.0
"""Seconds between two looks at the trials of others, when there is nothing left to take."""

SEEN, WORKER, ORIGIN = "seen", "worker", "origin"
"""Attributes of a trial: time of its last sign of life, who runs it, the number of its first attempt."""


def open_study(name: str, storage: str, direction: Direction) -> optuna.Study:
    """The study `name`, made when it is not there.

    `storage`: path of a journal file, or a URL `postgresql://USER@HOST/DATABASE` (password in PGPASSWORD
    or ~/.pgpass). Raises RunError when it cannot be reached.
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
        # SQLAlchemy and its drivers have no common root for a refused connection.
        if type(error).__module__.startswith(("sqlalchemy", "psycopg")):
            said = str(error).splitlines()[0]
            raise RunError(
                f"the study's storage {_without_password(storage)} cannot be reached ({said}); is it running?"
            ) from error
        raise


def _whole_lines(path: Path) -> str:
    """Cut off the half line that a writer left who was killed in the middle of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_file():
        lock = JournalFileSymlinkLock(str(path))
        lock.acquire()
        try:
            data = path.read_bytes()
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
"""(trial, number of its first attempt) to the figure that is optimised; may raise TrialPruned."""
Sampling = Callable[[int], optuna.samplers.BaseSampler]
"""How many trials are through or under way -> the sampler of the next one."""


def work(study: optuna.Study, budget: int, sampling: Sampling, objective: Objective) -> None:
    """Run trials until `budget` of them are through, whoever ran them.

    With nothing left to take it waits for the others' trials and takes over those whose worker has died.
    An interrupt or an error gives this worker's trial back before it goes on.
    """
    while True:
        bury_the_dead(study, time.time())
        trials = study.get_trials(deepcopy=False)
        if len(through(trials)) >= budget:
            return
        taken = [t for t in trials if t.state not in (TrialState.FAIL, TrialState.WAITING)]
        if len(taken) >= budget:
            time.sleep(LOOK_AGAIN)
            continue
        trial = study.ask()
        place = _place(study, trial.number)
        if place >= budget:  # two workers asked for the last one at once
            study.tell(trial, state=TrialState.FAIL)
            continue
        # Seeded by place, not by process: a resumed search draws what an undisturbed one draws.
        study.sampler = sampling(place)
        _run(study, trial, objective)


def through(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Those that ended by themselves: complete or stopped early."""
    return [t for t in trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]


def _place(study: optuna.Study, number: int) -> int:
    """How many trials before this one are through or under way; lost attempts do not count."""
    ended = (TrialState.FAIL, TrialState.WAITING)
    return sum(t.number < number and t.state not in ended for t in study.get_trials(deepcopy=False))


def _run(study: optuna.Study, trial: optuna.Trial, objective: Objective) -> None:
    origin = int(trial.user_attrs.get(ORIGIN, trial.number))
    trial.set_user_attr(WORKER, this_worker())
    try:
        with _signs_of_life(trial):
            value = objective(trial, origin)
        _tell(study, trial, value, TrialState.COMPLETE)
    except optuna.TrialPruned:
        _tell(study, trial, None, TrialState.PRUNED)
    except BaseException:
        give_back(study, trial.number, trial.params, origin)
        raise


def _tell(study: optuna.Study, trial: optuna.Trial, value: float | None, state: TrialState) -> None:
    try:
        study.tell(trial, value, state)
    except (UpdateFinishedTrialError, ValueError):
        # It was silent for so long (a suspended machine) that others took it: theirs counts.
        say(f"trial {trial.number} had been given to another worker; its result is dropped")


def give_back(study: optuna.Study, number: int, params: Mapping[str, Any], origin: int) -> None:
    """End an attempt without a result and put the same values in front of the queue."""
    study.tell(number, state=TrialState.FAIL)
    study.enqueue_trial(dict(params), user_attrs={ORIGIN: origin})


def bury_the_dead(study: optuna.Study, now: float) -> list[int]:
    """Give back the running trials whose worker is gone; their numbers."""
    buried = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not is_dead(trial, now):
            continue
        try:
            give_back(study, trial.number, trial.params, int(trial.user_attrs.get(ORIGIN, trial.number)))
        except (UpdateFinishedTrialError, ValueError):
            continue  # somebody else buried it in the same moment
        buried.append(trial.number)
    return buried


def is_dead(trial: FrozenTrial, now: float) -> bool:
    """Whether nobody runs it: its process on this machine has ended, or it has been silent for too long."""
    host, _, process = str(trial.user_attrs.get(WORKER, "")).rpartition(":")
    if host == socket.gethostname() and not _exists(int(process)):
        return True
    started = trial.datetime_start.timestamp() if trial.datetime_start else now
    return now - float(trial.user_attrs.get(SEEN, started)) > SILENCE


def this_worker() -> str:
    """`host:process`."""
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
    """A killed child whose parent has not looked yet still has its number."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return False


@contextmanager
def _signs_of_life(trial: optuna.Trial) -> Iterator[None]:
    stopped = threading.Event()

    def beat() -> None:
        while True:
            try:
                trial.set_user_attr(SEEN, time.time())
            except UpdateFinishedTrialError:
                return  # given to somebody else; `_tell` says so
            if stopped.wait(BEAT):
                return

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()

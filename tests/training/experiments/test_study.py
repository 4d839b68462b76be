"""Several workers share one search, and a killed one loses at most its trial."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from oahega_build.errors import RunError
from oahega_build.experiments import study as shared
from postgres import running_postgres
from waiting import PATIENCE, wait_until

HERE = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def postgres() -> Iterator[str]:
    with running_postgres() as server:
        yield server.url


@pytest.fixture(params=["journal", pytest.param("postgres", marks=pytest.mark.lengthy)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgres":
        return str(request.getfixturevalue("postgres"))
    return str(tmp_path / "study.journal")


Start = Callable[[str, int], subprocess.Popen[bytes]]


@pytest.fixture
def gate(tmp_path: Path) -> Path:
    """Workers wait in their first trial until this file is there."""
    return tmp_path / "gate"


@pytest.fixture
def start(storage: str, gate: Path) -> Iterator[Start]:
    """Starts workers of a study, with a number of trials; they are gone after the test."""
    with contextlib.ExitStack() as stack:

        def worker(name: str, budget: int) -> subprocess.Popen[bytes]:
            command = [sys.executable, HERE / "study_worker.py", name, storage, str(budget), gate]
            process = subprocess.Popen(command, env=os.environ | {"PYTHONWARNINGS": "default"})
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield worker


@pytest.mark.lengthy
def test_of_two_workers_one_is_killed_and_only_its_attempt_is_lost(
    storage: str, start: Start, gate: Path
) -> None:
    study = shared.open_study("killed", storage, "minimize")
    doomed, other = start("killed", 8), start("killed", 8)

    def runs(process: subprocess.Popen[bytes]) -> bool:
        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        own = [t for t in running if t.user_attrs.get(shared.WORKER, "").endswith(f":{process.pid}")]
        return any(t.params for t in own)

    wait_until(lambda: runs(doomed) and runs(other))
    doomed.kill()
    doomed.wait()
    gate.touch()
    assert other.wait(PATIENCE) == 0

    trials = study.get_trials()
    complete = [t for t in trials if t.state is TrialState.COMPLETE]
    failed = [t for t in trials if t.state is TrialState.FAIL]
    assert len(complete) == 8
    assert len(failed) == 1
    again = [t for t in complete if t.user_attrs.get(shared.ORIGIN) in {f.number for f in failed}]
    assert [t.params for t in again] == [f.params for f in failed]


def test_two_workers_never_do_more_trials_than_asked_for(storage: str, start: Start, gate: Path) -> None:
    study = shared.open_study("counted", storage, "minimize")
    gate.touch()
    workers = [start("counted", 3) for _ in range(2)]

    codes = [worker.wait(PATIENCE) for worker in workers]

    done = [t for t in study.get_trials() if t.state is TrialState.COMPLETE]
    assert codes == [0, 0]
    assert len(done) == 3


def test_an_interrupted_trial_is_the_next_one_taken(tmp_path: Path) -> None:
    study = shared.open_study("one", str(tmp_path / "journal"), "minimize")
    seen: list[tuple[int, float]] = []

    def interrupted_once(trial: optuna.Trial, origin: int) -> float:
        x = trial.suggest_float("x", 0, 1)
        seen.append((origin, x))
        if len(seen) == 2:
            raise KeyboardInterrupt
        return x

    def sampling(place: int) -> optuna.samplers.BaseSampler:
        return optuna.samplers.RandomSampler(seed=place)

    with pytest.raises(KeyboardInterrupt):
        shared.work(study, 3, sampling, interrupted_once)
    shared.work(
        shared.open_study("one", str(tmp_path / "journal"), "minimize"), 3, sampling, interrupted_once
    )

    assert seen[2] == seen[1]
    assert len(seen) == 4


def test_an_interrupted_search_draws_what_an_undisturbed_one_draws(tmp_path: Path) -> None:
    def sampling(place: int) -> optuna.samplers.BaseSampler:
        if place < 3:
            return optuna.samplers.RandomSampler(seed=place)
        return optuna.samplers.TPESampler(seed=place, n_startup_trials=0)

    def searched(name: str, stops: list[int]) -> list[float]:
        count = 0

        def objective(trial: optuna.Trial, origin: int) -> float:
            nonlocal count
            count += 1
            if count in stops:
                raise KeyboardInterrupt
            return (trial.suggest_float("x", 0, 1) - 0.3) ** 2

        while True:
            study = shared.open_study(name, str(tmp_path / name), "minimize")
            try:
                shared.work(study, 7, sampling, objective)
                return [t.params["x"] for t in shared.finished(study.get_trials())]
            except KeyboardInterrupt:
                pass

    assert searched("stopped", [1, 4, 6]) == searched("undisturbed", [])


def test_a_silent_worker_elsewhere_is_given_up_after_a_while(tmp_path: Path) -> None:
    study = shared.open_study("one", str(tmp_path / "journal"), "minimize")
    trial = study.ask()
    trial.set_user_attr(shared.WORKER, "another-host:1")
    trial.set_user_attr(shared.SEEN, 1000.0)

    early = shared.requeue_abandoned(study, 1000.0 + shared.SILENCE - 1)
    late = shared.requeue_abandoned(study, 1000.0 + shared.SILENCE + 1)

    assert (early, late) == ([], [0])


def test_half_a_line_left_by_a_killed_writer_does_not_lock_the_study(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    first = shared.open_study("one", str(journal), "minimize")
    first.tell(first.ask(), 1.0)
    with journal.open("ab") as file:
        file.write(b'{"op_code": 6, "worker_')

    again = shared.open_study("one", str(journal), "minimize")
    again.tell(again.ask(), 2.0)

    assert [t.value for t in shared.open_study("one", str(journal), "minimize").trials] == [1.0, 2.0]


def test_a_database_that_is_away_is_one_sentence_without_the_password() -> None:
    with pytest.raises(RunError, match="cannot be reached") as failed:
        shared.open_study("one", "postgresql://someone:secret@127.0.0.1:1/none", "minimize")

    assert "secret" not in str(failed.value)

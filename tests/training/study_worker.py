"""One worker of a search, as a process: minimises (x - 0.3)^2 once the gate is open."""

import sys
import time
from pathlib import Path

import optuna

from oahega_build.experiments import study as shared


def objective(trial: optuna.Trial, origin: int) -> float:
    """The first trial waits for the gate: a test can see all workers at work."""
    x = trial.suggest_float("x", 0, 1)
    while not GATE.exists():
        time.sleep(0.05)
    return (x - 0.3) ** 2


if __name__ == "__main__":
    _, NAME, STORAGE, BUDGET, GATE_NAME = sys.argv
    GATE = Path(GATE_NAME)
    shared.LOOK_AGAIN = 0.2
    shared.work(
        shared.open_study(NAME, STORAGE, "minimize"),
        int(BUDGET),
        lambda place: optuna.samplers.RandomSampler(seed=place),
        objective,
    )

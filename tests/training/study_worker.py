"""One worker of a search, as a process: minimises (x - 0.3)^2, slowly."""

import sys
import time
from pathlib import Path

import optuna

from oahega_build.experiments import study as shared


def objective(trial: optuna.Trial, origin: int) -> float:
    """Attempts append to the file, so that a test sees who tried what."""
    x = trial.suggest_float("x", 0, 1)
    with LOG.open("a") as log:
        log.write(f"{origin} {trial.number} {x}\n")
    time.sleep(PAUSE)
    return (x - 0.3) ** 2


if __name__ == "__main__":
    _, NAME, STORAGE, BUDGET, LOG_NAME, PAUSE_TEXT = sys.argv
    LOG, PAUSE = Path(LOG_NAME), float(PAUSE_TEXT)
    shared.LOOK_AGAIN = 0.2
    shared.work(
        shared.open_study(NAME, STORAGE, "minimize"),
        int(BUDGET),
        lambda place: optuna.samplers.RandomSampler(seed=place),
        objective,
    )

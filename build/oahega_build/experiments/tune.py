"""Stage `tune`: Bayesian search over the paper's eight hyper-parameters (paper, section 4.2).

Optuna's tree-structured Parzen estimator replaces the random-forest surrogate of the original
(scikit-optimize, archived in 2024). Trials that are worse than the median of the others are stopped early.
"""

from __future__ import annotations

import dataclasses
import json
import multiprocessing
import multiprocessing.connection
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import TypeAdapter

from oahega_build.emotion.metrics import ClassFigures
from oahega_build.emotion.recipe import EmotionRecipe
from oahega_build.errors import RecipeError, RunError
from oahega_build.experiments import study as shared
from oahega_build.models.trunk import convolution_names
from oahega_build.pictures.dataset import read_dataset, split_train
from oahega_build.runs import artifacts
from oahega_build.runs.artifacts import as_plain, open_run, write_json
from oahega_build.runs.progress import progress
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text

JOURNAL = "study.journal"
BEST = "best.json"
TRIALS = "trials.json"
BEST_TRIALS = 5
"""Number of rows of Table 1."""
LOOK = 5.0
"""Seconds between two looks at the trials of the workers."""
FIGURES: Mapping[str, tuple[str, shared.Direction]] = {
    "loss": ("loss", "minimize"),
    "precision": ("precision", "maximize"),
}
"""Held-out figure and direction of each objective. Section 4.2 names the loss, figure 5 the precision."""


@dataclass(frozen=True, slots=True)
class TuneRecipe:
    """The search. Ranges are (lowest, highest); equal ends fix a value. Defaults: the paper's code."""

    base: EmotionRecipe
    """Everything that the search does not change."""
    class_weights_mu: tuple[float, float] = (0.01, 1.0)
    epochs: tuple[int, int] = (50, 100)
    batch: tuple[int, int] = (32, 88)
    """Batch sizes, in steps of 8."""
    dropout: tuple[float, float] = (0.1, 0.8)
    learning_rate: tuple[float, float] = (1e-5, 1e-3)
    """Learning rates, on a logarithmic scale."""
    l2: tuple[float, float] = (1e-3, 1.0)
    """L2 weight of the dense layers' kernels, on a logarithmic scale."""
    fine_tuned: tuple[int, ...] = (0, 5, 10, 15)
    """Number of convolutions, counted from the last, that are trained; 0 trains all. Needs `base.init`."""
    dense: tuple[int, int] = (1, 3)
    """Number of dense layers between pooling and output, each half as wide as the one before."""
    dense_units: int = 2048
    """Width of the first dense layer."""

    trials: int = 10
    objective: Literal["loss", "precision"] = "loss"
    random_trials: int = 4
    """Number of first trials that are drawn at random, before the surrogate starts."""
    patience: int = 5
    """Epochs before which no trial is stopped."""
    seed: int = 1


def suggest(recipe: TuneRecipe, trial: optuna.Trial | optuna.trial.FixedTrial) -> EmotionRecipe:
    """Put the trial's values into the base recipe. Raises RecipeError for a space that cannot be searched."""
    if recipe.fine_tuned and recipe.base.init is None:
        raise RecipeError(
            "`fine_tuned` layers need `init` weights in the base recipe; set base.init, or fine_tuned=()"
        )
    layers = trial.suggest_int("dense", *recipe.dense)
    chosen = dataclasses.replace(
        recipe.base,
        class_weights_mu=trial.suggest_float("class_weights_mu", *recipe.class_weights_mu),
        epochs=trial.suggest_int("epochs", *recipe.epochs),
        batch=trial.suggest_int("batch", *recipe.batch, step=8),
        dropout=trial.suggest_float("dropout", *recipe.dropout),
        learning_rate=trial.suggest_float("learning_rate", *recipe.learning_rate, log=True),
        hidden_l2=trial.suggest_float("l2", *recipe.l2, log=True),
        hidden=tuple(recipe.dense_units >> i for i in range(layers)),
    )
    if not recipe.fine_tuned:
        return chosen
    count = trial.suggest_categorical("fine_tuned", recipe.fine_tuned)
    every = len(convolution_names(recipe.base.trunk))
    return dataclasses.replace(chosen, tune_from=max(0, every - count) if count else 0)


def tune(
    recipe: TuneRecipe,
    data: Path,
    artifacts_folder: Path,
    run_name: str,
    workers: int = 1,
    storage: str = "",
) -> Path:
    """Search, and write best.json, trials.json, Table 1 and the plots to `<artifacts>/tune/<run>`.

    `workers` processes share the search, with one thread each if there are several. The same call on other
    machines with the same PostgreSQL `storage` joins the search; each machine needs the pictures at `data`.
    After an interrupt the same call continues, and a trial continues after its last finished epoch.
    Raises BuildError.
    """
    with open_run(artifacts_folder, "tune", run_name, recipe) as run:
        shared_in = storage or str(run.folder / JOURNAL)
        study = _open(recipe, shared_in, run_name)
        if workers == 1:
            run_worker(recipe, data, run.folder, shared_in, run_name)
        else:
            _run_workers(workers, study, (recipe, data, run.folder, shared_in, run_name, 1))
        finish(study, recipe, run.folder, read_labels(data))
        for leftover in (run.folder / "trials").glob(f"*{artifacts.UNFINISHED}/checkpoints"):
            shutil.rmtree(leftover)
    return run.finished


def _open(recipe: TuneRecipe, storage: str, name: str) -> optuna.Study:
    study = shared.open_study(f"oahega-{name}", storage, FIGURES[recipe.objective][1])
    described = json.loads(json.dumps(as_plain(recipe)))
    if study.user_attrs.setdefault("recipe", described) != described:
        raise RunError(f"the study of run {name} was started with another recipe; give another --run name")
    study.set_user_attr("recipe", described)
    study.pruner = optuna.pruners.MedianPruner(
        n_startup_trials=recipe.random_trials, n_warmup_steps=recipe.patience
    )
    return study


def _run_workers(workers: int, study: optuna.Study, arguments: tuple[Any, ...]) -> None:
    context = multiprocessing.get_context("spawn")  # TensorFlow does not survive a fork
    processes = [context.Process(target=run_worker, args=arguments) for _ in range(workers)]
    try:
        for process in processes:
            process.start()
        _follow(processes, study, arguments[0].trials)
    finally:
        for process in processes:
            process.terminate()
            process.join()
    failed = [process.exitcode for process in processes if process.exitcode]
    if len(failed) == len(processes):
        raise RunError(f"every tuning worker ended early (exit codes {failed}); their output says why")


def _follow(processes: Sequence[BaseProcess], study: optuna.Study, trials: int) -> None:
    """Show how many trials are through, until every worker has ended."""
    seen = len(shared.finished(study.get_trials(deepcopy=False)))
    with progress("trials", trials, seen) as shown:
        while alive := [process.sentinel for process in processes if process.is_alive()]:
            multiprocessing.connection.wait(alive, LOOK)
            now = len(shared.finished(study.get_trials(deepcopy=False)))
            shown.advance(now - seen)
            seen = now


def run_worker(
    recipe: TuneRecipe, data: Path, folder: Path, storage: str, name: str, threads: int = 0
) -> None:
    """Run one worker of the search until all trials are finished. `threads` 0: one per core."""
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(threads)
    dataset = read_dataset(data, recipe.base.colour)
    chosen_on = split_train(dataset, recipe.base.held_out, recipe.base.group_pattern)

    def objective(trial: optuna.Trial, origin: int) -> float:
        return train_trial(recipe, trial, f"trial-{origin:03d}", dataset.labels, chosen_on, folder)

    shared.work(_open(recipe, storage, name), recipe.trials, lambda place: sampler(recipe, place), objective)


def sampler(recipe: TuneRecipe, place: int) -> optuna.samplers.BaseSampler:
    """The sampler of the trial that has `place` trials before it."""
    seed = recipe.seed * 10_000 + place
    if place < recipe.random_trials:
        return optuna.samplers.RandomSampler(seed=seed)
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=0)


def train_trial(
    recipe: TuneRecipe,
    trial: optuna.Trial,
    name: str,
    labels: Sequence[str],
    chosen_on: tuple[Sequence[Any], Sequence[Any]],
    folder: Path,
) -> float:
    """Train one trial in `folder/trials/<name>`, and return the held-out figure of its last epoch.

    Raises TrialPruned if it is worse than the median of the others.
    """
    from oahega_build.emotion.train import Trainer

    chosen = suggest(recipe, trial)
    figure = FIGURES[recipe.objective][0]
    finished = folder / "trials" / name
    if not finished.exists():
        with open_run(folder, "trials", name, chosen) as run:
            for line in read_log(run.folder):
                trial.report(line[figure], int(line["epoch"]))

            def after_epoch(epoch: int, figures: Mapping[str, float]) -> None:
                trial.report(figures[figure], epoch)
                if epoch < chosen.epochs and trial.should_prune():
                    _remember(trial, read_log(run.folder))
                    raise optuna.TrialPruned

            trainer = Trainer(chosen, labels, *chosen_on, run, after_epoch=after_epoch)
            trainer.train()
            run.write_metrics(_measured(trainer.exported_model(), chosen_on[1], chosen, labels))
    log = read_log(finished)
    _remember(trial, log)
    trial.set_user_attr(
        "table_1", json.loads(read_text(finished / "metrics.json", LARGEST_DOCUMENT))["table_1"]
    )
    return float(log[-1][figure])


def _measured(
    model: Any, held_out: Sequence[Any], recipe: EmotionRecipe, labels: Sequence[str]
) -> dict[str, Any]:
    import numpy as np

    from oahega_build.emotion.metrics import summary, table_one
    from oahega_build.emotion.network import predict
    from oahega_edge.chain.classification import softmax

    probabilities = softmax(predict(model, held_out, recipe), 1.0)
    truth = np.array([sample.label for sample in held_out])
    return {
        **asdict(summary(probabilities, truth)),
        "table_1": {
            label: {"pictures": row.pictures, **_as_lists(row)}
            for label, row in table_one(probabilities.argmax(axis=1), truth, labels).items()
        },
    }


def _as_lists(row: ClassFigures) -> dict[str, list[float]]:
    """Value, lower and upper bound of each figure."""
    figures = {"precision": row.precision, "recall": row.recall, "f1": row.f1}
    return {name: [figure.value, figure.low, figure.high] for name, figure in figures.items()}


def _remember(trial: optuna.Trial, log: Sequence[Mapping[str, float]]) -> None:
    """Store the curves in the study, where every machine can read them."""
    trial.set_user_attr("log", [dict(line) for line in log])


def read_log(folder: Path) -> list[dict[str, float]]:
    """The logged epochs of a training, finished or not."""
    path = folder / "log.jsonl"
    return (
        [json.loads(line) for line in read_text(path, LARGEST_DOCUMENT).splitlines()]
        if path.is_file()
        else []
    )


def read_labels(data: Path) -> tuple[str, ...]:
    """The classes of a dataset, without reading its pictures."""
    from oahega_build.pictures.folders import class_folders, parts_of
    from oahega_build.pictures.problems import Problems

    return tuple(sorted(class_folders(parts_of(data, Problems())["train"], Problems())))


def finish(study: optuna.Study, recipe: TuneRecipe, folder: Path, labels: Sequence[str]) -> None:
    """Write the results of the search. All of them come from the study, so any machine can do it."""
    from oahega_build.experiments import tune_plots

    found = described_trials(study)
    best = best_trials(found, recipe.objective)
    if not best:
        raise RunError("no trial of the search was completed; widen the ranges or set more trials")
    write_json(folder / TRIALS, found)
    chosen = suggest(recipe, optuna.trial.FixedTrial(best[0]["params"]))
    write_json(folder / BEST, chosen)
    figures = {
        "objective": recipe.objective,
        "trials": len(found),
        "pruned": sum(t["state"] == "PRUNED" for t in found),
        "lost_attempts": sum(t.state == TrialState.FAIL for t in study.get_trials(deepcopy=False)),
        "best": {key: best[0][key] for key in ("number", "value", "params")},
        "table_1": [
            {"trial": t["number"], "value": t["value"], "classes": t["table_1"]} for t in best[:BEST_TRIALS]
        ],
        "importance": importance(study),
    }
    write_json(folder / "metrics.json", figures)
    (folder / "table_1.txt").write_text(as_table(figures["table_1"], labels) + "\n")
    tune_plots.draw_all(found, figures, folder)


def described_trials(study: optuna.Study) -> list[dict[str, Any]]:
    """The finished trials with what plots and tables need."""
    return [_described(trial) for trial in shared.finished(study.get_trials(deepcopy=False))]


def _described(trial: FrozenTrial) -> dict[str, Any]:
    return {
        "number": trial.number,
        "state": trial.state.name,
        "value": trial.value if trial.state is TrialState.COMPLETE else None,
        "params": trial.params,
        "seconds": round(trial.duration.total_seconds(), 1) if trial.duration else None,
        "worker": trial.user_attrs.get(shared.WORKER, ""),
        "log": trial.user_attrs.get("log", []),
        "table_1": trial.user_attrs.get("table_1"),
    }


def best_trials(found: Sequence[Mapping[str, Any]], objective: str) -> list[Mapping[str, Any]]:
    """The complete trials, best first."""
    sign = 1 if FIGURES[objective][1] == "minimize" else -1
    return sorted((t for t in found if t["value"] is not None), key=lambda t: sign * t["value"])


def importance(study: optuna.Study) -> dict[str, float]:
    """Share of each hyper-parameter in the variance of the objective. Empty if there are too few trials."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < 4 or len({t.value for t in complete}) < 2:
        return {}
    evaluator = optuna.importance.FanovaImportanceEvaluator(seed=0)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return {name: round(float(share), 4) for name, share in found.items()}


def best_recipe(run: Path) -> EmotionRecipe:
    """The recipe that a finished search found. Raises RunError if `run` is not such a search."""
    try:
        return TypeAdapter(EmotionRecipe).validate_python(json.loads(read_text(run / BEST, LARGEST_DOCUMENT)))
    except (OSError, ValueError) as error:
        raise RunError(
            f"{run} has no valid {BEST} ({type(error).__name__}); give a finished run of tune"
        ) from error


def as_table(rows: Sequence[Mapping[str, Any]], labels: Sequence[str]) -> str:
    """Table 1 for a terminal: precision per class of the best trials, on the held-out pictures."""
    lines = ["trial  " + "  ".join(f"{label:>9}" for label in (*labels, "average"))]
    for row in rows:
        precision = [row["classes"][label]["precision"][0] for label in labels]
        cells = "  ".join(f"{value:>9.3f}" for value in (*precision, sum(precision) / len(precision)))
        lines.append(f"{row['trial']:>5}  {cells}")
    return "\n".join(lines)

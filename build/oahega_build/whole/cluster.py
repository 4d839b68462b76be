"""Label, collect and tune on a Ray cluster: the same stage functions, their tasks run elsewhere.

Every machine must see the data and the artifacts under the same paths (a shared folder). A task whose
worker dies is run again by Ray; what it had finished it finds on disk. The stage itself, called
afterwards, finds all tasks done and only writes what is told about them, so that the result is the local
run's by construction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from oahega_build.errors import BuildError
from oahega_build.runs import artifacts

LOCAL = "local"
RETRIES = 3
"""Of a task whose worker died."""

Task = TypeVar("Task")
Result = TypeVar("Result")
Spread = Callable[[Callable[[Any], Any], Sequence[Any]], Iterator[Any]]


@contextmanager
def connected(address: str, workers: int = 0) -> Iterator[Spread]:
    """A function that runs tasks on the cluster at `address`, or on a Ray of this machine for `local`.

    `workers`: how many run at once; 0: as many as the cluster has cores. Raises BuildError without Ray
    or without that cluster.
    """
    try:
        import ray
    except ImportError as error:
        raise BuildError("Ray is not installed; `pip install -e .[cluster]`") from error
    try:
        if address == LOCAL:
            ray.init(num_cpus=workers or None, include_dashboard=False, log_to_driver=False)
        else:
            ray.init(address=address, log_to_driver=False)
    except Exception as error:  # Ray raises bare Exception, too, when its node does not come up
        ray.shutdown()  # of the processes that did come up
        raise BuildError(
            f"there is no Ray cluster at {address} ({error}); start one or give `local`"
        ) from error
    try:
        yield spread
    finally:
        ray.shutdown()


def spread(function: Callable[[Task], Result], tasks: Sequence[Task]) -> Iterator[Result]:
    """Results as they come, one core a task. Errors of a task are raised here."""
    import ray

    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(function)
    pending = [remote.remote(task) for task in tasks]
    try:
        while pending:
            (done,), pending = ray.wait(pending, num_returns=1)
            yield ray.get(done)
    except ray.exceptions.WorkerCrashedError as error:
        raise BuildError(
            f"a task ended its worker {RETRIES + 1} times ({error}); look at its input, then run this again"
        ) from error


def label(recipe: Any, data: Path, artifacts_folder: Path, run: str, spread: Spread) -> Path:
    """Stage `label` with its shards made on the cluster."""
    from oahega_build.labelling import label as stage
    from oahega_build.pictures.problems import Problems

    finished = artifacts_folder / "label" / run
    if not finished.exists():
        tasks = stage.plan(recipe, data.resolve(), _unfinished(finished), Problems())
        _through(spread(stage.label_shard, [t for t in tasks if stage.finished_report(t) is None]))
    return stage.label(recipe, data, artifacts_folder, run)


def collect(recipe: Any, source: Path, data: Path, artifacts_folder: Path, run: str, spread: Spread) -> Path:
    """Stage `collect` with its units done on the cluster."""
    from oahega_build.labelling import collect as stage
    from oahega_build.pictures.problems import Problems

    folder = _unfinished(artifacts_folder / "collect" / run)
    units = stage.plan(source.resolve(), Problems())
    tasks = [stage.UnitTask(recipe, data.resolve(), folder, unit) for unit in units]
    _through(spread(stage.collect_unit, [t for t in tasks if not stage.report_path(t).is_file()]))
    return stage.collect(recipe, source, data, artifacts_folder, run)


def tune(
    recipe: Any, data: Path, artifacts_folder: Path, run: str, spread: Spread, workers: int, storage: str = ""
) -> Path:
    """Stage `tune` with its workers on the cluster, one core each."""
    from oahega_build.experiments import tune as stage

    folder = _unfinished(artifacts_folder / "tune" / run)
    shared_in = storage or str(folder / stage.JOURNAL)
    arguments = (recipe, data.resolve(), folder, shared_in, run, 1)
    _through(spread(_tuning_worker, [arguments] * workers))
    return stage.tune(recipe, data, artifacts_folder, run, storage=storage)


def _tuning_worker(arguments: tuple[Any, ...]) -> None:
    from oahega_build.experiments.tune import run_worker

    run_worker(*arguments)


def _unfinished(finished: Path) -> Path:
    """Where `open_run` will look for a begun run."""
    folder = finished.with_name(finished.name + artifacts.UNFINISHED).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _through(results: Iterator[Any]) -> None:
    for _ in results:
        pass

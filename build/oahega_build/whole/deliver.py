"""The last stages of `all`: `bundle`, `bench`, `deliver` and `report`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import oahega_edge
from oahega_build.runs.artifacts import open_run
from oahega_build.runs.plan import Plan
from oahega_build.whole.bundle import make_bundle
from oahega_build.whole.options import Options
from oahega_edge.bundles.load import load_bundle
from oahega_edge.tools.bench_models import described, time_models

BUNDLE, REPORT = "bundle", "report.html"
BENCH_RUNS, BENCH_THREADS = 100, 4
"""Timed invocations of each model, and threads at most, of which no device has more."""


def bundle_run(options: Options, detector: Path, emotion: Path, artifacts_folder: Path, name: str) -> None:
    """Stage `bundle` in a run folder, signed when there is a key."""
    with open_run(
        artifacts_folder, "bundle", name, {"name": options.name, "version": options.version}
    ) as run:
        made = make_bundle(detector, emotion, run.folder / BUNDLE, options.name, options.version)
        signed_by = None
        if options.key is not None:
            from oahega_build.whole.signing import sign_bundle  # needs the package cryptography

            signed_by = sign_bundle(made, options.key)
        run.write_metrics(
            {
                "sha256": load_bundle(made).sha256,
                "public_key": signed_by,
                "files": {p.name: p.stat().st_size for p in sorted(made.iterdir())},
            }
        )


def bench_run(bundle: Path, artifacts_folder: Path, name: str) -> None:
    """Stage `bench`: what `oahega-edge bench --models` says of a bundle on this machine."""
    loaded = load_bundle(bundle)
    with open_run(artifacts_folder, "bench", name, {"bundle": loaded.sha256}) as run:
        times = list(time_models(loaded, min(os.cpu_count() or 1, BENCH_THREADS), "cpu", BENCH_RUNS))
        run.write_metrics(described(loaded, times, oahega_edge.__version__))


def deliver(bundle: Path, out: Path, name: str) -> None:
    """Put the finished bundle at `out/bundle`, replacing an older one in one step."""
    target, making = out / BUNDLE, out / f".{BUNDLE}-new"
    shutil.rmtree(making, ignore_errors=True)
    shutil.copytree(bundle, making)
    shutil.rmtree(target, ignore_errors=True)
    making.rename(target)
    for mark in out.glob(f".{BUNDLE}-*"):
        mark.unlink()
    (out / f".{BUNDLE}-{name}").touch()


def report_run(plan: Plan, name: str) -> None:
    """Stage `report` over exactly the runs of this plan; a finished one is only put in its place again."""
    from oahega_build.whole.report.page import write_report  # needs Jinja2 and matplotlib

    runs = [step.result for step in plan.steps if step.result.is_dir()]
    finished = plan.artifacts / "report" / name
    if not finished.is_dir():
        with open_run(plan.artifacts, "report", name, {"runs": [run.name for run in runs]}) as run:
            write_report(runs, run.folder / REPORT)
            run.write_metrics({"runs": len(runs)})
    shutil.copyfile(finished / REPORT, plan.out / REPORT)

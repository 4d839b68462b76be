"""From the two models to what is delivered: a sealed bundle, its times on this machine, the report."""

from __future__ import annotations

from pathlib import Path

from oahega_build.runs.freshness import folder_digest
from oahega_build.runs.plan import Plan, Step
from oahega_build.whole.deliver import BUNDLE, REPORT, bench_run, bundle_run, deliver, report_run
from oahega_build.whole.options import Options
from oahega_edge.bundles.load import MANIFEST

WHOLE = Path(__file__).parents[1]


def add_bundle(plan: Plan, options: Options, emotion: Step, detector: Step) -> None:
    """The last steps of the plan."""
    made = plan.add(
        "bundle",
        f"{options.name} {options.version}, sealed" + (" and signed" if options.key else ""),
        recipe={
            "name": options.name,
            "version": options.version,
            "key": folder_digest(options.key) if options.key else None,
            "card": folder_digest(WHOLE / "templates"),
        },
        after=[*(step for step in plan.steps if step.stage == "evaluate-emotion"), emotion, detector],
        module="oahega_build.whole.bundle",
        make=lambda stage, own: bundle_run(options, detector.result, emotion.result, plan.artifacts, own),
    )
    plan.add(
        "bench",
        "the bundle's models on this machine (figure 9)",
        after=[made],
        module="oahega_edge.tools.bench_models",
        make=lambda stage, own: bench_run(made.result / BUNDLE, plan.artifacts, own),
        guess=10,
    )
    before = list(plan.steps)
    _add_delivery(plan, options.out, made)
    plan.add(
        "report",
        f"to {options.out / REPORT}",
        recipe={"templates": folder_digest(WHOLE / "report" / "templates")},
        after=before,
        module="oahega_build.whole.report.page",
        make=lambda stage, own: report_run(plan, own),
        guess=10,
        leaves=(options.out / REPORT,),
    )


def _add_delivery(plan: Plan, out: Path, made: Step) -> None:
    """It makes no run; the bundle's hash in the name of a hidden file says what was delivered."""
    step = Step(
        "deliver",
        f"to {out / BUNDLE}",
        made.hash,
        out / f".{BUNDLE}-{made.hash}",
        lambda: deliver(made.result / BUNDLE, out, made.hash),
        guess=1,
        leaves=(out / BUNDLE / MANIFEST,),
    )
    plan.steps.append(step)

"""Verb `report`: the sections in their order, between a summary and what made it all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from oahega_build.errors import RunError
from oahega_build.runs.artifacts import now
from oahega_build.whole.report import cells, pictures
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.sections import (
    accuracy,
    architecture,
    bundle,
    dataset,
    decisions,
    detector,
    devices,
    distillation,
    elsewhere,
    pruning,
    rivals,
    search,
    training,
)

SECTIONS = (
    dataset.SECTION,
    dataset.COLLECTED,
    dataset.EMBEDDINGS,
    search.SECTION,
    training.TAUGHT,
    training.SECTION,
    elsewhere.SECTION,
    accuracy.SECTION,
    distillation.SECTION,
    pruning.SECTION,
    rivals.SECTION,
    detector.SECTION,
    decisions.SECTION,
    bundle.SECTION,
    architecture.SECTION,
    devices.SECTION,
)
"""In the order of the page; a section with nothing to show is left out."""
FEW = 4
"""More commits than these are only counted."""


def write_report(
    folders: Sequence[Path], target: Path, devices: Sequence[Path] = (), title: str = "OAHEGA edge: a run"
) -> Path:
    """Write the page of these runs to `target`. Raises RunError when none of them has anything to show."""
    runs = Runs([Run(folder) for folder in folders], devices)
    shown = [(section, parts) for section in SECTIONS if (parts := section.parts(runs))]
    if not shown:
        raise RunError(
            f"{len(folders)} runs hold nothing to report; give the artifacts folder of some stages"
        )
    page = _templates().get_template("page.html")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(
        page.render(
            title=title,
            summary=_summary(runs),
            tiles=list(_tiles(runs)),
            shown=shown,
            machines=_machines(runs),
            written=now(),
        )
    )
    return target


def _templates() -> Environment:
    made = Environment(
        loader=PackageLoader("oahega_build.whole.report"),
        autoescape=True,
        undefined=StrictUndefined,  # a figure that is missing is an error, not an empty cell
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "cell": cells.cell,
        "short": cells.short,
        "size": cells.size,
        "interval": cells.interval,
        "counted": cells.counted,
        "text_columns": cells.text_columns,
        "embedded": pictures.embedded,
    }
    return made


def _summary(runs: Runs) -> str:
    made = [run.environment for run in runs.every if run.environment]
    if not made:
        return ""
    begun = min(environment["started"] for environment in made)[:16].replace("T", " ")
    commits = sorted({environment["commit"] for environment in made})
    code = ", ".join(commits) if len(commits) < FEW else f"{len(commits)} commits"
    return f"{cells.counted(len(runs.every), 'stage')}, started {begun} UTC, code at {code}."


def _tiles(runs: Runs) -> Iterator[tuple[str, str]]:
    """(a figure, what it is) for the top of the page."""
    for source, figures in elsewhere.newest(runs):
        yield f"{figures['balanced']['value']:.1%}", f"balanced accuracy on {source}"
    for run in runs.of("evaluate-emotion")[-1:]:
        figures = run.metrics
        accuracy, summary = figures["accuracy"], figures["summary"]
        yield f"{accuracy['value']:.1%}", f"accuracy, {accuracy['low']:.1%} to {accuracy['high']:.1%}"
        yield f"{summary['balanced_accuracy']:.1%}", "balanced accuracy"
        yield f"{summary['ece']:.3f}", "calibration error"
        yield cells.size(figures["bytes"]), "emotion model, int8"
        yield str(figures["pictures"]), "pictures that chose nothing"
    for run in runs.of("bundle"):
        yield cells.size(sum(run.metrics["files"].values())), "the whole bundle"


def _machines(runs: Runs) -> list[str]:
    """A line for every set of packages that made some of the runs."""
    lines = {}
    for made in (run.environment for run in runs.every if run.environment):
        packages = ", ".join(f"{name} {version}" for name, version in made["packages"].items())
        lines[packages] = f"Python {made['python']}, {made['cores']} cores {made['machine']}: {packages}"
    return list(lines.values())

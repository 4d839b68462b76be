"""A plan of steps: which are up to date, what the others cost, and in which order they run.

A step's run folder carries the hash of its recipe, of what it reads and of its code. A folder that is
there is up to date, a missing one is made, and an unfinished one is resumed: there is no other state.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oahega_build.runs import artifacts
from oahega_build.runs.artifacts import write_json
from oahega_build.runs.freshness import fingerprint
from oahega_build.runs.output import say
from oahega_build.runs.progress import duration, heartbeat
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text

COSTS = "costs.json"
"""File in the output folder with the seconds that each stage last took per unit of work."""


@dataclass(frozen=True, slots=True)
class Step:
    """One line of the plan."""

    stage: str
    what: str
    """Description for the plan."""
    hash: str
    result: Path
    """Its run folder, which exists if the step is up to date."""
    make: Callable[[], object]
    work: float = 1.0
    """Amount of work, in units that the stage's cost is proportional to (pictures times epochs)."""
    guess: float = 5.0
    """Expected seconds before anything was measured."""
    leaves: tuple[Path, ...] = ()
    """Files outside its run folder; if one is missing, the step runs again."""

    @property
    def is_fresh(self) -> bool:
        """Whether the step has nothing to do."""
        return all(path.exists() for path in (self.result, *self.leaves))


@dataclass(slots=True)
class Plan:
    """The steps in their order."""

    out: Path
    steps: list[Step] = field(default_factory=list)

    def add(
        self,
        stage: str,
        what: str,
        *,
        after: Sequence[Step | str],
        module: str,
        make: Callable[[Any, str], object],
        recipe: Any = None,
        work: float = 1.0,
        guess: float = 5.0,
        leaves: tuple[Path, ...] = (),
    ) -> Step:
        """Append a step that reads what `after` names: earlier steps, or digests of files.

        `make` gets `module`, imported when the step runs, and the name of its run. The recipe, `after` and
        the code of `module` decide whether the step is up to date.
        """
        inputs = [step.hash if isinstance(step, Step) else step for step in after]
        own = fingerprint(stage, recipe, inputs, module)

        def made() -> object:
            return make(importlib.import_module(module), own)

        step = Step(stage, what, own, self.artifacts / stage / own, made, work, guess, leaves)
        self.steps.append(step)
        return step

    @property
    def artifacts(self) -> Path:
        """The folder with the runs of every stage."""
        return self.out / "artifacts"


def run_plan(plan: Plan) -> None:
    """Make what is missing, in order; after an interrupt the next call continues."""
    for number, step in enumerate(plan.steps, start=1):
        if step.is_fresh:
            continue
        say(f"[{number}/{len(plan.steps)}] {step.stage}: {step.what}")
        started = time.monotonic()
        resumed = step.result.with_name(step.result.name + artifacts.UNFINISHED).exists()
        with heartbeat(step.stage):
            step.make()
        if not resumed:  # a resumed step was measured only in part
            _remember_cost(plan.out, step, time.monotonic() - started)


def as_text(plan: Plan) -> str:
    """The plan with its expected cost, for a dry run."""
    costs = measured_costs(plan.out)
    lines, total = [], 0.0
    for number, step in enumerate(plan.steps, start=1):
        seconds = 0.0 if step.is_fresh else expected_seconds(step, costs)
        total += seconds
        state = "up to date" if step.is_fresh else f"about {duration(seconds)}"
        lines.append(f"{number:>2}  {step.stage:<21} {state:<14} {step.what}")
    lines.append(f"    {'together':<21} about {duration(total)}")
    return "\n".join(lines)


def expected_seconds(step: Step, costs: dict[str, float]) -> float:
    """From the last measurement here, else the recipe's guess."""
    return costs[step.stage] * step.work if step.stage in costs else step.guess


def measured_costs(out: Path) -> dict[str, float]:
    """Seconds per unit of work by stage; empty before the first run."""
    path = out / COSTS
    return json.loads(read_text(path, LARGEST_DOCUMENT)) if path.is_file() else {}


def _remember_cost(out: Path, step: Step, seconds: float) -> None:
    write_json(out / COSTS, measured_costs(out) | {step.stage: round(seconds / step.work, 6)})

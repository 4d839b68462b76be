"""Figures 7 and 8: the student with and without its teacher (`compare-distillation`, else the logs)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from oahega_build.experiments import distillation_plot
from oahega_build.whole.report.cells import DASH, short, size
from oahega_build.whole.report.pictures import all_drawn
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section

LOG = "log.jsonl"
TEACHING = ("distil_share", "distil_temperature")
"""Fields of a recipe in which a taught student differs from its twin."""
HELD_OUT = ("held_out_accuracy", "held_out_balanced_accuracy")
PARTS = {"valid": "valid, which chose nothing", "held-out": "the held-out part"}


@dataclass(frozen=True, slots=True)
class Part:
    """One set of pictures on which the students were compared."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    differences: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Students over seeds, on the same pictures."""

    runs: Sequence[Run]
    panels: Sequence[Markup]
    students: Sequence[Sequence[object]]
    parts: Sequence[Part] = ()
    recipe: Mapping[str, Any] | None = None
    """Of the student, where only the logs of the trainings are compared."""


def _comparisons(runs: Runs) -> list[Comparison]:
    return [_comparison(run) for run in runs.of("compare-distillation")] or _from_logs(runs)


def _comparison(run: Run) -> Comparison:
    figures = run.metrics
    groups = figures["groups"]
    return Comparison(
        [run],
        _figures_7_8(figures["curves"]),
        [_student(name, group) for name, group in groups.items()],
        [_part(name, found, groups) for name, found in figures["parts"].items()],
    )


def _student(name: str, group: Mapping[str, Any]) -> tuple[object, ...]:
    teaching = (short(group[key] or DASH) for key in ("temperature", "share"))
    return name, len(group["runs"]), group["epochs"], *teaching, size(max(group["bytes"]))


def _part(name: str, found: Mapping[str, Any], groups: Mapping[str, Any]) -> Part:
    """A column per seed; int8 files."""
    seeds = sorted({seed for group in groups.values() for seed in group["seeds"]})
    rows = []
    for student, row in found["groups"].items():
        by_seed = dict(zip(groups[student]["seeds"], row["accuracy"]["of_each"], strict=True))
        means = (row[key]["mean"] for key in ("accuracy", "balanced_accuracy", "ece"))
        rows.append((student, *(by_seed.get(seed) for seed in seeds), *means))
    return Part(
        f"{found['pictures']} pictures of {PARTS.get(name, name)}",
        ("accuracy, int8", *(f"seed {seed}" for seed in seeds), "mean", "balanced", "ECE"),
        rows,
        found["differences"],
    )


def _from_logs(runs: Runs) -> list[Comparison]:
    """Without a comparison on pictures: what the trainings themselves noted of the last student."""
    distilled = [run for run in runs.of("distill") if run.has(LOG)]
    if not distilled:
        return []
    recipe = distilled[-1].read("recipe.json")
    taught = _of_recipe(distilled, recipe, but=("seed",))
    alone = _of_recipe(runs.of("train-emotion"), recipe, but=("seed", *TEACHING))
    if not alone:
        return []
    groups = {"with a teacher": taught, "alone": alone}
    rows = [
        (name, run.read("recipe.json").get("seed", DASH), *(run.metrics[key] for key in HELD_OUT))
        for name, group in groups.items()
        for run in group
    ]
    curves = {name: [run.read_lines(LOG) for run in group] for name, group in groups.items()}
    return [Comparison([*taught, *alone], _figures_7_8(curves), rows, recipe=recipe)]


def _of_recipe(runs: Iterable[Run], recipe: Mapping[str, Any], but: Sequence[str]) -> list[Run]:
    def rest(of: Mapping[str, Any]) -> dict[str, Any]:
        return {key: value for key, value in of.items() if key not in but}

    return [run for run in runs if run.has(LOG) and rest(run.read("recipe.json")) == rest(recipe)]


def _figures_7_8(curves: Mapping[str, Any]) -> list[Markup]:
    return all_drawn(distillation_plot.curve(curves, key) for key in distillation_plot.FIGURES.values())


SECTION = Section("Distillation", "distillation.html", _comparisons)

"""Stage `compare-distillation`: the same network with and without a teacher, over seeds (figures 7, 8)."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.evaluate import (
    VALID_LOG,
    EmotionModel,
    load_emotion,
    log_valid,
    part_of,
    require_labels,
)
from oahega_build.emotion.metrics import Interval, summary
from oahega_build.emotion.recipe import EmotionRecipe, recipe_of
from oahega_build.errors import RunError
from oahega_build.experiments import distillation_plot
from oahega_build.pictures.dataset import Dataset, Sample, held_out, read_dataset
from oahega_build.pictures.framing import Framing
from oahega_build.runs.artifacts import as_plain, open_run
from oahega_build.runs.reading import LARGEST_DOCUMENT
from oahega_edge.text import read_text

HELD_OUT = "held-out"
ROUNDS = 2000
"""Rounds of the bootstrap."""
OF_A_SEED = ("seed",)
OF_TEACHING = ("distil_share", "distil_temperature")
"""Fields of a recipe that may differ between a student and its twin."""


@dataclass(frozen=True, slots=True)
class Student:
    """One finished run of `train-emotion` or `distill`."""

    folder: Path
    recipe: EmotionRecipe
    model: EmotionModel

    @property
    def name(self) -> str:
        """`stage/run`."""
        return f"{self.folder.parent.name}/{self.folder.name}"

    @property
    def log(self) -> list[dict[str, float]]:
        """The held-out figures after each epoch."""
        path = self.folder / "log.jsonl"
        try:
            return [json.loads(line) for line in read_text(path, LARGEST_DOCUMENT).splitlines()]
        except (OSError, ValueError) as error:
            raise RunError(
                f"{path} cannot be read ({type(error).__name__}); give a run of train-emotion or distill"
            ) from error


@dataclass(frozen=True, slots=True)
class Group:
    """Students of one recipe that differ only in their seed, in the order of seeds."""

    name: str
    students: Sequence[Student]

    @property
    def recipe(self) -> EmotionRecipe:
        """The recipe of the first student."""
        return self.students[0].recipe

    @property
    def is_taught(self) -> bool:
        """Whether the students had a teacher."""
        return self.recipe.distil_share > 0

    @property
    def seeds(self) -> list[int]:
        """The seeds, in the order of the students."""
        return [student.recipe.seed for student in self.students]


def read_student(folder: Path) -> Student:
    """Read a run with its recipe and its exported file. Raises RunError."""
    folder = folder.resolve()
    return Student(folder, recipe_of(folder), load_emotion(folder))


def grouped(students: Sequence[Student]) -> list[Group]:
    """Group students whose recipes differ only in the seed: untaught groups first, then by number of seeds.

    The name of a group lists the fields in which groups of its kind differ.
    """
    found: dict[str, list[Student]] = {}
    for student in sorted(students, key=lambda s: (s.recipe.distil_share, s.recipe.seed, s.name)):
        found.setdefault(json.dumps(_but(student.recipe, OF_A_SEED), sort_keys=True), []).append(student)
    groups = [
        Group("taught" if of_one[0].recipe.distil_share else "alone", of_one) for of_one in found.values()
    ]
    groups.sort(key=lambda group: (group.is_taught, -len(group.students)))
    return [Group(_name_among(group, groups), group.students) for group in groups]


def _name_among(group: Group, groups: Sequence[Group]) -> str:
    alike = [other for other in groups if other.name == group.name]
    own = as_plain(group.recipe)
    differing = [
        key
        for key, value in own.items()
        if key not in OF_A_SEED and any(as_plain(other.recipe)[key] != value for other in alike)
    ]
    said = [
        f"{key.replace('_', ' ')} {own[key]}" for key in differing if not isinstance(own[key], dict | list)
    ]
    if not said:
        return group.name if len(alike) == 1 else f"{group.name} {group.students[0].folder.name}"
    return f"{group.name}, {', '.join(said)}"


def twin_of(taught: Group, groups: Sequence[Group]) -> tuple[Group, list[str]] | None:
    """Return the untaught group that fits best, and the fields besides teaching in which it differs.

    None if no group fits exactly and there are several to choose from.
    """
    alone = [group for group in groups if not group.is_taught]
    fitting = [group for group in alone if not differing_fields(taught, group)]
    chosen = fitting or (alone if len(alone) == 1 and taught is _first_taught(groups) else [])
    return (chosen[0], differing_fields(taught, chosen[0])) if chosen else None


def _first_taught(groups: Sequence[Group]) -> Group | None:
    """The taught group with the most seeds."""
    return max((g for g in groups if g.is_taught), key=lambda g: len(g.students), default=None)


def differing_fields(one: Group, other: Group) -> list[str]:
    """The fields in which two recipes differ, apart from the seed and the teaching."""
    ours, theirs = (_but(g.recipe, (*OF_A_SEED, *OF_TEACHING)) for g in (one, other))
    return [key for key in ours if ours[key] != theirs[key]]


def _but(recipe: EmotionRecipe, fields: Sequence[str]) -> dict[str, Any]:
    return {key: value for key, value in as_plain(recipe).items() if key not in fields}


def paired_difference(
    taught: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    labels: NDArray[np.integer],
    same_seeds: bool,
    rounds: int = ROUNDS,
) -> dict[str, Interval]:
    """Accuracy and balanced accuracy of `taught` less those of `alone`, with 95 % bootstrap intervals.

    `taught` and `alone` have the shape (seeds, pictures) and are True for right answers. Each round draws the
    same pictures for both sides. It draws the same seeds for both if `same_seeds`, otherwise separately.
    """
    rng = np.random.default_rng(0)
    shares = _class_shares(labels)
    values = []
    for _ in range(rounds):
        pictures = rng.multinomial(len(labels), np.full(len(labels), 1 / len(labels)))
        ours = rng.integers(0, len(taught), len(taught))
        theirs = ours if same_seeds else rng.integers(0, len(alone), len(alone))
        values.append(_difference(taught[ours], alone[theirs], shares, pictures))
    value = _difference(taught, alone, shares, np.ones(len(labels)))
    low, high = np.nanpercentile(values, (2.5, 97.5), axis=0)
    return {
        name: Interval(*(round(float(v), 4) for v in (value[i], low[i], high[i])))
        for i, name in enumerate(("accuracy", "balanced_accuracy"))
    }


def _class_shares(labels: NDArray[np.integer]) -> NDArray[np.float64]:
    """An array (classes, pictures) that is 1 where a picture belongs to a class."""
    return np.asarray(np.unique(labels)[:, None] == labels, np.float64)


def _difference(
    taught: NDArray[np.bool_],
    alone: NDArray[np.bool_],
    shares: NDArray[np.float64],
    weights: NDArray[Any],
) -> NDArray[np.float64]:
    gained = (taught.mean(axis=0) - alone.mean(axis=0)) * weights
    with np.errstate(invalid="ignore"):  # a class that a round did not draw
        recall = (shares @ gained) / (shares @ weights)
    return np.array([gained.sum() / weights.sum(), np.nanmean(recall)])


def compare_part(
    groups: Sequence[Group], samples: Sequence[Sample]
) -> tuple[dict[str, Any], dict[Path, Any]]:
    """Return the figures of all groups and differences on `samples`, and each student's Summary by folder."""
    labels = np.array([sample.label for sample in samples])
    pictures = [sample.pixels for sample in samples]
    right: dict[str, NDArray[np.bool_]] = {}
    rows: dict[str, Any] = {}
    summaries: dict[Path, Any] = {}
    for group in groups:
        answers = [student.model.probabilities(pictures, Framing()) for student in group.students]
        figures = [summary(answer, labels) for answer in answers]
        summaries |= {s.folder: f for s, f in zip(group.students, figures, strict=True)}
        right[group.name] = np.stack([answer.argmax(axis=1) == labels for answer in answers])
        rows[group.name] = {
            key: _over_seeds([getattr(f, key) for f in figures])
            for key in ("accuracy", "balanced_accuracy", "ece")
        }
    differences = []
    for group in (g for g in groups if g.is_taught):
        twin = twin_of(group, groups)
        if twin is None:
            continue
        other, differing = twin
        same_seeds = group.seeds == other.seeds
        differences.append(
            {
                "taught": group.name,
                "alone": other.name,
                "also_differ_in": differing,
                "paired_seeds": same_seeds,
                **paired_difference(right[group.name], right[other.name], labels, same_seeds),
                "by_seed": _by_seed(right[group.name], right[other.name], group.seeds) if same_seeds else {},
            }
        )
    return {"pictures": len(samples), "groups": rows, "differences": differences}, summaries


def _over_seeds(values: Sequence[float]) -> dict[str, Any]:
    """The mean over seeds and, if there are several, the standard deviation of a single run."""
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {
        "of_each": list(values),
        "mean": round(float(np.mean(values)), 4),
        "deviation": None if deviation is None else round(deviation, 4),
    }


def _by_seed(taught: NDArray[np.bool_], alone: NDArray[np.bool_], seeds: Sequence[int]) -> dict[str, float]:
    gained = taught.mean(axis=1) - alone.mean(axis=1)
    return {str(seed): round(float(value), 4) for seed, value in zip(seeds, gained, strict=True)}


def compare_distillation(
    folders: Sequence[Path],
    data: Path,
    parts: Sequence[str],
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> dict[str, Any]:
    """Write figures and curves to `<artifacts>/compare-distillation/<run>`, and return the figures.

    `folders`: runs of `train-emotion` (no teacher) and `distill`; runs that differ only in their seed form a
    group. `parts`: `held-out` (the pictures that the recipes held out), `valid` or both; each look at `valid`
    is logged. Raises BuildError.
    """
    groups = grouped([read_student(folder) for folder in folders])
    _require_both_kinds(groups)
    described: dict[str, Any] = {
        "runs": [[s.name, s.model.entry.cpu.sha256] for g in groups for s in g.students]
    }
    described |= {"data": data.name, "parts": list(parts)}
    with open_run(artifacts_folder, "compare-distillation", run_name, described) as run:
        dataset = read_dataset(data, groups[0].recipe.colour)
        for student in (s for g in groups for s in g.students):
            require_labels(student.model.labels, dataset)
        figures: dict[str, Any] = {
            "groups": {group.name: _described(group) for group in groups},
            "curves": {group.name: [student.log for student in group.students] for group in groups},
            "parts": {},
        }
        for part in parts:
            figures["parts"][part], summaries = compare_part(groups, _samples(dataset, part, groups))
            if part == "valid":
                for student in (s for g in groups for s in g.students):
                    log_valid(student.model, summaries[student.folder], data.name, log)
        run.write_metrics(figures)
        distillation_plot.draw(figures["curves"], run.folder)
    return figures


def _require_both_kinds(groups: Sequence[Group]) -> None:
    kinds = {group.is_taught for group in groups}
    if kinds != {True, False}:
        there = "taught" if True in kinds else "untaught"
        raise RunError(
            f"all students are {there}; give runs of `distill`, and of `train-emotion` with the same recipe "
            "and distil_share=0"
        )


def _samples(dataset: Dataset, part: str, groups: Sequence[Group]) -> Sequence[Sample]:
    """The pictures of a part. `held-out` is split off as the recipes do it."""
    if part != HELD_OUT:
        return part_of(dataset, part)
    splits = {(group.recipe.held_out, group.recipe.group_pattern) for group in groups}
    if len(splits) > 1:
        raise RunError(
            f"the runs hold out different pictures ({sorted(splits)}); compare them on another part"
        )
    return held_out(dataset, *splits.pop())


def _described(group: Group) -> dict[str, Any]:
    recipe = group.recipe
    return {
        "runs": [student.name for student in group.students],
        "seeds": group.seeds,
        "epochs": recipe.epochs,
        "temperature": recipe.distil_temperature if group.is_taught else None,
        "share": recipe.distil_share,
        "bytes": [len(student.model.data) for student in group.students],
    }


def as_table(figures: Mapping[str, Any]) -> str:
    """The figures as fixed-width text."""
    lines = []
    for part, found in figures["parts"].items():
        lines.append(f"{part}, {found['pictures']} pictures")
        width = max(map(len, found["groups"]))
        for name, row in found["groups"].items():
            each = " ".join(f"{value:.4f}" for value in row["accuracy"]["of_each"])
            lines.append(
                f"  {name:<{width}}  accuracy {row['accuracy']['mean']:.4f} ({each}), balanced "
                f"{row['balanced_accuracy']['mean']:.4f}, ECE {row['ece']['mean']:.3f}"
            )
        for row in found["differences"]:
            lines.append(
                f"  {row['taught']} less {row['alone']}: accuracy {row['accuracy']}, balanced "
                f"{row['balanced_accuracy']}"
                + (
                    f"; they also differ in {', '.join(row['also_differ_in'])}"
                    if row["also_differ_in"]
                    else ""
                )
            )
    return "\n".join(lines)

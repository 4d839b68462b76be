"""Stages `split` and `overview`: a dataset made ready for training, and what is in it."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from oahega_build.pictures.dataset import (
    VOTES,
    Overview,
    Sample,
    draw_overview,
    overview,
    read_dataset,
    split_groups,
    split_off,
)
from oahega_build.pictures.tables import read_table
from oahega_build.runs.artifacts import open_run

TERMS = "TERMS.txt"


def split_dataset(source: Path, share: float, pattern: str, artifacts_folder: Path, name: str) -> Path:
    """Stage `split`: `<name of source>/train` and `/valid` of a dataset without them; the same everywhere.

    Near-copies, and what `pattern` groups, stay on one side. Files are linked where the disk allows it.
    """
    described = {"source": source, "share": share, "pattern": pattern}
    with open_run(artifacts_folder, "split", name, described) as run:
        dataset, target = read_dataset(source), run.folder / source.name
        groups = split_groups(dataset.train, pattern)
        parts = dict(zip(("train", "valid"), split_off(dataset.train, share, 0, groups), strict=True))
        placed = {
            sample.name: _place(part, dataset.labels[sample.label], sample)
            for part, samples in parts.items()
            for sample in samples
        }
        for before, after in placed.items():
            _link(source / before, target / after)
        _copy_beside(source, target, placed, dataset.labels)
        counts = {part: len(samples) for part, samples in parts.items()}
        run.write_metrics({"labels": dataset.labels, **counts, "problems": dataset.problems})
    return run.finished


def _place(part: str, label: str, sample: Sample) -> str:
    inner = sample.name.split("/", 1)[1].replace("/", "-")
    return f"{part}/{label}/{inner}"


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    target.unlink(missing_ok=True)
    try:
        os.link(source.resolve(), target)
    except OSError:
        shutil.copyfile(source, target)


def _copy_beside(source: Path, target: Path, placed: Mapping[str, str], labels: Sequence[str]) -> None:
    """The votes, by the new names, and the terms of use."""
    if (source / VOTES).is_file():
        _copy_votes(source / VOTES, target / VOTES, placed, labels)
    if (source / TERMS).is_file():
        shutil.copyfile(source / TERMS, target / TERMS)


def _copy_votes(source: Path, target: Path, placed: Mapping[str, str], labels: Sequence[str]) -> None:
    table = read_table(source, {"file", *labels})
    with target.open("w", newline="") as copy:
        writer = csv.writer(copy)
        writer.writerow(("file", *labels))
        for row in table.rows:
            name = table.path_in(row["file"])
            if name in placed:
                writer.writerow((placed[name], *(table.number(row[label]) for label in labels)))


def overview_run(data: Path, artifacts_folder: Path, name: str) -> Overview:
    """Stage `overview` of the dataset."""
    with open_run(artifacts_folder, "overview", name, {"data": data.name}) as run:
        figures = overview(read_dataset(data))
        run.write_metrics(figures.as_figures())
        draw_overview(figures, run.folder / "overview.png")
    return figures

"""Models on other people's pictures, source by source (`evaluate-emotion --elsewhere`, `compare-emotion`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oahega_build.whole.report.cells import interval
from oahega_build.whole.report.runs import Run, Runs
from oahega_build.whole.report.section import Section

STAGE = "evaluate-elsewhere"
HEAD = ("model", "balanced", "accuracy", "ECE", "faces", "not found", "answered", "of those right")
UNCLEAR_HEAD = ("model", "faces", "cross-entropy", "entropy of the votes", "sure of no label", "of")


@dataclass(frozen=True, slots=True)
class Source:
    """One set of pictures, or the sentence that there is none."""

    name: str
    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    runs: Sequence[Run]


def _sources(runs: Runs) -> list[Source]:
    found = [_source(run, name) for run in runs.of(STAGE) for name in _names(run.metrics["rows"])]
    if not found and runs.of("evaluate-emotion", "compare-emotion"):
        return [Source("", (), (), ())]
    return found


def _names(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["source"] for row in rows))


def _source(run: Run, name: str) -> Source:
    rows = [row for row in run.metrics["rows"] if row["source"] == name]
    if "balanced" in rows[0]:
        ranked = sorted(rows, key=lambda row: -row["balanced"]["value"])
        return Source(name, HEAD, [_row(row) for row in ranked], [run])
    return Source(name, UNCLEAR_HEAD, [_unclear_row(row) for row in rows], [run])


def _row(row: Mapping[str, Any]) -> tuple[object, ...]:
    share = (row["answered"], row["precision"])
    counts = (row["pictures"], row["not_found"])
    return row["model"], interval(row["balanced"]), interval(row["accuracy"]), row["ece"], *counts, *share


def _unclear_row(row: Mapping[str, Any]) -> tuple[object, ...]:
    sure = interval(row["surely_answered"])
    return row["model"], row["pictures"], row["cross_entropy"], row["entropy"], sure, row["without_label"]


def newest(runs: Runs) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The first model's figures on each source of the newest run."""
    for run in runs.of(STAGE)[-1:]:
        for name in _names(run.metrics["rows"]):
            row = next(row for row in run.metrics["rows"] if row["source"] == name)
            if "balanced" in row:
                yield name, row


SECTION = Section("Pictures from elsewhere", "elsewhere.html", _sources)

"""The visits that the device reports, beside those that people made: number, length, expressions."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from oahega_build.scenes.sequences import Truth
from oahega_build.scenes.video.methods import Device, played
from oahega_build.scenes.video.metrics import AWAY, assign
from oahega_build.scenes.video.records import Recording
from oahega_edge.visits.visit import Visit, VisitTally

ALL = "all"
PERCENTILE = 90

Stay = tuple[int, int]
"""A true visit of a sequence: the person, and how often that person had left before."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One true visit and what was reported of it."""

    true: Visit
    """As the device would report it if it missed nothing."""
    reported: Sequence[Visit]
    """Empty where it was missed, several where its track broke."""

    @property
    def longest(self) -> Visit | None:
        """Of the reported visits, the one that is compared in length and expressions."""
        return max(self.reported, key=lambda visit: visit.seen, default=None)


@dataclass(frozen=True, slots=True)
class Visited:
    """The visits of one sequence."""

    compared: Sequence[Compared]
    of_nobody: Sequence[Visit] = ()
    """Reported where no face was."""


@dataclass(frozen=True, slots=True)
class VisitFigures:
    """Reported visits beside the true ones. Lengths are in seconds, errors are reported less true."""

    true: int
    reported: int
    """Those of nobody included."""
    missed: int
    """True visits without a reported one."""
    broken: int
    """True visits that were reported as two or more."""
    of_nobody: int
    per_visit: float
    """Reported visits of people per true visit."""
    mean_s: float
    reported_mean_s: float
    """Over all reported visits."""
    error_s: float
    """Median error in length of a true visit's longest reported one."""
    absolute_error_s: float
    """Median size of that error."""
    absolute_error_p90_s: float
    """Its 90th percentile."""
    share_error: float
    """Mean absolute error of the share of time of each expression in a visit."""
    dominant_right: float
    """Share of visits whose longest expression is the true one."""
    shares: Mapping[str, float]
    """Share of the time of all true visits by expression."""
    reported_shares: Mapping[str, float]
    """The same of the time that was read in all reported visits."""


@dataclass(slots=True)
class _Stays:
    """The true visits of one sequence, as it goes on."""

    labels: Sequence[str]
    tallies: dict[Stay, VisitTally] = field(default_factory=dict)
    _left: Counter[int] = field(default_factory=Counter)
    _last: dict[int, float] = field(default_factory=dict)

    def see(self, shown: Truth, now: float) -> Stay:
        """A frame in which a person's face is visible."""
        person = shown.person
        self._left[person] += now - self._last.get(person, now) > AWAY
        self._last[person] = now
        stay = person, self._left[person]
        tally = self.tallies.setdefault(stay, VisitTally())
        tally.see(self.labels[shown.label], shown.box.height, now)
        return stay


def visited(record: Recording, device: Device) -> Visited:
    """What the device would have reported of a sequence, beside the truth.

    A reported visit belongs to the true one on whose face its track lay in most frames.
    """
    stays, decider = _Stays(record.labels), device.decider()
    reported: dict[int, Visit] = {}
    lay_on: defaultdict[int, Counter[Stay]] = defaultdict(Counter)
    for moment, seen in played(record, decider, device.settings.detection.min_face_px):
        reported.update(zip(seen.ended, seen.visits, strict=True))
        pairs, _ = assign(moment.truths, [face.box for face in seen.faces])
        for shown in (one for one in moment.truths if one.visible):
            stay = stays.see(shown, moment.time)
            if shown.person in pairs:
                lay_on[seen.faces[pairs[shown.person]].track][stay] += 1
    last = decider.finish()
    reported.update(zip(last.ended, last.visits, strict=True))
    return _joined(stays, reported, lay_on)


def _joined(stays: _Stays, reported: Mapping[int, Visit], lay_on: Mapping[int, Counter[Stay]]) -> Visited:
    of: defaultdict[Stay, list[Visit]] = defaultdict(list)
    of_nobody = []
    for track, visit in reported.items():
        if track in lay_on:
            of[lay_on[track].most_common(1)[0][0]].append(visit)
        else:
            of_nobody.append(visit)
    return Visited([Compared(tally.visit(), of[stay]) for stay, tally in stays.tallies.items()], of_nobody)


def visit_figures(sequences: Iterable[Visited], labels: Sequence[str]) -> VisitFigures:
    """Of all sequences together. What nothing was reported for is `nan`."""
    sequences = list(sequences)
    compared = [one for sequence in sequences for one in sequence.compared]
    of_nobody = [visit for sequence in sequences for visit in sequence.of_nobody]
    of_people = [visit for one in compared for visit in one.reported]
    true = [one.true for one in compared]
    pairs = [(one.true, longest) for one in compared if (longest := one.longest) is not None]
    read = [(real, said) for real, said in pairs if said.shares]
    errors = [said.seen - real.seen for real, said in pairs]
    sizes = np.abs(errors)
    return VisitFigures(
        true=len(true),
        reported=len(of_people) + len(of_nobody),
        missed=sum(not one.reported for one in compared),
        broken=sum(len(one.reported) > 1 for one in compared),
        of_nobody=len(of_nobody),
        per_visit=len(of_people) / len(true) if true else math.nan,
        mean_s=_mean([visit.seen for visit in true]),
        reported_mean_s=_mean([visit.seen for visit in (*of_people, *of_nobody)]),
        error_s=float(np.median(errors)) if errors else math.nan,
        absolute_error_s=float(np.median(sizes)) if errors else math.nan,
        absolute_error_p90_s=float(np.percentile(sizes, PERCENTILE)) if errors else math.nan,
        share_error=_mean([_share_error(real, said, labels) for real, said in read]),
        dominant_right=_mean([real.dominant == said.dominant for real, said in read]),
        shares=_shares(true, labels),
        reported_shares=_shares([*of_people, *of_nobody], labels),
    )


def by_level(records: Sequence[Recording], device: Device) -> dict[str, VisitFigures]:
    """At all noise levels together, then at each."""
    sequences = [(record.level, visited(record, device)) for record in records]
    levels = [ALL, *dict.fromkeys(level for level, _ in sequences)]
    return {
        level: visit_figures([one for of, one in sequences if level in (ALL, of)], records[0].labels)
        for level in levels
    }


def as_lines(levels: Mapping[str, VisitFigures]) -> list[str]:
    """For a terminal."""
    lines = [
        "visits: reported beside true ones; errors of the length of a visit (reported less true), and of the "
        "share of time of each expression",
        f"{'noise':<8}{'true':>6}{'reported':>9}{'missed':>7}{'broken':>7}{'nobody':>7}{'mean s':>8}"
        f"{'reported':>9}{'error s':>8}{'|error|':>8}{'p90':>7}{'shares':>7}{'longest right':>14}",
        *(_line(level, figures) for level, figures in levels.items()),
    ]
    total = levels[ALL]
    shares = (
        f"{label} {total.reported_shares.get(label, 0.0):.3f} ({share:.3f})"
        for label, share in total.shares.items()
    )
    return [*lines, f"share of time by expression, reported (true): {', '.join(shares)}"]


def _line(level: str, of: VisitFigures) -> str:
    return (
        f"{level:<8}{of.true:>6}{of.reported:>9}{of.missed:>7}{of.broken:>7}{of.of_nobody:>7}{of.mean_s:>8.2f}"
        f"{of.reported_mean_s:>9.2f}{of.error_s:>8.2f}{of.absolute_error_s:>8.2f}"
        f"{of.absolute_error_p90_s:>7.2f}{of.share_error:>7.3f}{of.dominant_right:>14.3f}"
    )


def _share_error(true: Visit, said: Visit, labels: Sequence[str]) -> float:
    return _mean([abs(said.shares.get(label, 0.0) - true.shares.get(label, 0.0)) for label in labels])


def _shares(visits: Iterable[Visit], labels: Sequence[str]) -> dict[str, float]:
    """Of the time of all visits together, as a summary adds them up."""
    held = Counter[str]()
    for visit in visits:
        held.update({label: share * visit.read for label, share in visit.shares.items()})
    total = sum(held.values())
    return {label: held[label] / total for label in labels} if total else {}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan

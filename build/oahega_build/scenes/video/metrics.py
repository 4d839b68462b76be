"""Metrics of the answers to a sequence: accuracy per frame and per event, steadiness, delay, identity."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oahega_build.scenes.sequences import Truth
from oahega_build.scenes.video.records import Recording
from oahega_edge.chain.geometry import Box, edges_of, iou_matrix
from oahega_edge.chain.trigger import UNCERTAIN

SAME_FACE = 0.3
"""Minimum IoU of an answer's box with the face that it belongs to."""
SAME_EVENT = 0.5
"""Minimum temporal IoU of an answered expression with a true one."""
AWAY = 1.0
"""Seconds out of sight after which a person counts as returned."""
LEAST_SHOWN = 1.0
"""Seconds for which an expression must be visible to count for the onset."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The answer of a method for one face in one frame."""

    track: int
    box: Box
    emotion: str
    """A label or `uncertain`."""


Answers = Sequence[Sequence[Answer]]
"""The answers of each frame."""
FrameMatches = Sequence[tuple[dict[int, int], list[int]]]
"""For each frame, the index of the answer by person, and the indices of the answers without a face."""


@dataclass(slots=True)
class Line:
    """The visible frames of one person, in order."""

    truth: list[int] = field(default_factory=list)
    said: list[str | None] = field(default_factory=list)
    """The answers; None where no face was found, or where its track had no label yet."""
    times: list[float] = field(default_factory=list)
    run: list[int] = field(default_factory=list)
    """Number of returns of the person so far; a return begins a new expression."""


@dataclass(frozen=True, slots=True)
class VideoFigures:
    """One line of the table."""

    frame_f1: float
    """Macro F1 over faces in frames. Missed and uncertain faces and answers without a face are errors."""
    frame_accuracy: float
    """Share of visible faces in frames with the right label."""
    event_f1: float
    """F1 of expressions. One is right if its temporal IoU with a true one is at least SAME_EVENT."""
    flips_per_minute: float
    """Changes of the answer for a person, `uncertain` included, per minute of visibility."""
    onset_s: float
    """Median seconds from the start of an expression to its first right answer; infinite if there is none."""
    found: float
    """Share of expressions that got a right answer."""
    mixed_frames: int
    """Faces in frames that have the track of another person."""
    mixed_tracks: int
    answered: float
    """Share of visible faces in frames that got a label."""
    false_per_minute: float
    """Seconds of answers without a face, per minute."""


class Tally:
    """Collects the answers to sequences and computes the figures."""

    def __init__(self, labels: Sequence[str]) -> None:
        self._labels = list(labels)
        self._lines: list[Line] = []
        self._false: Counter[str] = Counter()
        self._false_runs = 0
        self._mixed_frames = 0
        self._mixed_tracks = 0
        self._seconds = 0.0
        self._false_seconds = 0.0

    def add(self, record: Recording, answers: Answers, matching: FrameMatches | None = None) -> None:
        """Add a sequence and its answers, frame by frame. `matching` saves matching them again."""
        lines: dict[int, Line] = defaultdict(Line)
        owner: dict[int, int] = {}
        mixed: set[int] = set()
        spoken: set[int] = set()
        stray: dict[int, str] = {}
        known = match(record, answers) if matching is None else matching
        for moment, said, (pairs, unmatched) in zip(record.moments, answers, known, strict=True):
            spoken |= {answer.track for answer in said if answer.emotion != UNCERTAIN}
            for truth in moment.truths:
                if not truth.visible:
                    continue
                answer = said[pairs[truth.person]] if truth.person in pairs else None
                if answer is not None and owner.setdefault(answer.track, truth.person) != truth.person:
                    self._mixed_frames += 1
                    mixed.add(answer.track)
                _extend(lines[truth.person], truth, _word(answer, spoken), moment.time)
            self._strays((said[i] for i in unmatched), stray, record.interval)
        self._lines += lines.values()
        self._mixed_tracks += len(mixed)
        self._seconds += len(record.moments) * record.interval

    def _strays(self, unmatched: Iterable[Answer], stray: dict[int, str], interval: float) -> None:
        for answer in unmatched:
            if answer.emotion == UNCERTAIN:
                continue
            self._false[answer.emotion] += 1
            self._false_seconds += interval
            if stray.get(answer.track) != answer.emotion:
                stray[answer.track] = answer.emotion
                self._false_runs += 1

    def figures(self) -> VideoFigures:
        """The figures of everything added so far."""
        visible = sum(len(line.truth) for line in self._lines)
        minutes = sum(_duration(line) for line in self._lines) / 60
        onsets = [delay for line in self._lines for delay in _onsets(line, self._labels)]
        labelled = sum(s is not None and s != UNCERTAIN for line in self._lines for s in line.said)
        right = sum(
            self._labels[t] == s for line in self._lines for t, s in zip(line.truth, line.said, strict=True)
        )
        return VideoFigures(
            frame_f1=self._frame_f1(),
            frame_accuracy=right / max(1, visible),
            event_f1=self._event_f1(),
            flips_per_minute=sum(_flips(line.said) for line in self._lines) / max(minutes, 1e-9),
            onset_s=_median(onsets),
            found=float(np.mean(np.isfinite(onsets))) if onsets else math.nan,
            mixed_frames=self._mixed_frames,
            mixed_tracks=self._mixed_tracks,
            answered=labelled / max(1, visible),
            false_per_minute=60 * self._false_seconds / max(self._seconds, 1e-9),
        )

    def true_flips_per_minute(self) -> float:
        """Changes that the people really make."""
        minutes = sum(_duration(line) for line in self._lines) / 60
        changes = sum(int(np.count_nonzero(np.diff(line.truth))) for line in self._lines)
        return changes / max(minutes, 1e-9)

    def _frame_f1(self) -> float:
        hits, told, true = Counter[str](), Counter(self._false), Counter[str]()
        for line in self._lines:
            for label, said in zip(line.truth, line.said, strict=True):
                name = self._labels[label]
                true[name] += 1
                told[said or ""] += 1
                hits[name] += said == name
        shown = [label for label in self._labels if true[label]]
        return float(np.mean([2 * hits[n] / (told[n] + true[n]) for n in shown])) if shown else math.nan

    def _event_f1(self) -> float:
        hits = shown = told = 0
        for line in self._lines:
            segments = [
                (self._labels[line.truth[part.start]], part)
                for part in _runs(list(zip(line.run, line.truth, strict=True)))
            ]
            runs = [
                (str(line.said[part.start]), part)
                for part in _runs(line.said)
                if line.said[part.start] not in (None, UNCERTAIN)
            ]
            shown += len(segments)
            told += len(runs)
            hits += sum(
                any(said == label and _overlap(part, run) >= SAME_EVENT for said, run in runs)
                for label, part in segments
            )
        return 2 * hits / max(1, shown + told + self._false_runs)


def clip_flips(record: Recording, answers: Answers) -> tuple[int, float, int]:
    """For a clip without labels: changes of the answer, minutes of tracked faces, number of tracks."""
    lines: dict[int, list[str]] = defaultdict(list)
    faces = 0
    for said in answers:
        for answer in said:
            faces += 1
            if answer.emotion != UNCERTAIN or lines[answer.track]:
                lines[answer.track].append(answer.emotion)
    return sum(_flips(line) for line in lines.values()), faces * record.interval / 60, len(lines)


def match(record: Recording, answers: Answers) -> FrameMatches:
    """Match the answers of each frame to people, by their boxes alone."""
    return [
        assign(m.truths, [answer.box for answer in said])
        for m, said in zip(record.moments, answers, strict=True)
    ]


def assign(truths: Sequence[Truth], boxes: Sequence[Box]) -> tuple[dict[int, int], list[int]]:
    """Match greedily by overlap: the index of the box by person, and the unmatched boxes."""
    if not truths or not boxes:
        return {}, list(range(len(boxes)))
    overlap = iou_matrix(edges_of(t.box for t in truths), edges_of(boxes))
    pairs: dict[int, int] = {}
    used: set[int] = set()
    for flat in np.argsort(-overlap, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(boxes))
        if overlap[row, column] < SAME_FACE:
            break
        if truths[row].person not in pairs and column not in used:
            pairs[truths[row].person] = column
            used.add(column)
    return pairs, [i for i in range(len(boxes)) if i not in used]


def _word(answer: Answer | None, spoken: set[int]) -> str | None:
    """The answer that a subscriber knows: none for a track before its first label."""
    return answer.emotion if answer is not None and answer.track in spoken else None


def _extend(line: Line, truth: Truth, said: str | None, time: float) -> None:
    returned = bool(line.times) and time - line.times[-1] > AWAY
    line.run.append((line.run[-1] if line.run else 0) + returned)
    line.truth.append(truth.label)
    line.said.append(said)
    line.times.append(time)


def _flips(said: Sequence[str | None]) -> int:
    answers = [answer for answer in said if answer is not None]
    return sum(a != b for a, b in itertools.pairwise(answers))


def _duration(line: Line) -> float:
    """Seconds for which a person was visible."""
    gaps = np.diff(line.times)
    return float(np.median(gaps) * len(line.times)) if len(gaps) else 0.0


def _onsets(line: Line, labels: Sequence[str]) -> list[float]:
    """Seconds until the first right answer for each expression; infinite if there is none."""
    delays = []
    for part in _runs(list(zip(line.run, line.truth, strict=True))):
        times = line.times[part]
        if times[-1] - times[0] < LEAST_SHOWN:
            continue
        name = labels[line.truth[part.start]]
        right = [i for i in range(part.start, part.stop) if line.said[i] == name]
        delays.append(line.times[right[0]] - times[0] if right else math.inf)
    return delays


def _median(delays: Sequence[float]) -> float:
    """The lower median, so that a finite value is never averaged with an infinite one."""
    return sorted(delays)[(len(delays) - 1) // 2] if delays else math.nan


def _runs(values: Sequence[object]) -> list[slice]:
    """The slices of equal values."""
    starts = [i for i, value in enumerate(values) if i == 0 or value != values[i - 1]]
    return [slice(a, b) for a, b in zip(starts, [*starts[1:], len(values)], strict=True)]


def _overlap(a: slice, b: slice) -> float:
    shared = min(a.stop, b.stop) - max(a.start, b.start)
    return shared / (max(a.stop, b.stop) - min(a.start, b.start)) if shared > 0 else 0.0

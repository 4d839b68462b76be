"""Ways to decide, compared on the same recordings: the paper's, the original's, and ours."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from oahega_build.scenes.video.methods import Device, Sights, always, original, ours, paper_mean, single_frame
from oahega_build.scenes.video.metrics import Answers, FrameMatches, Tally, VideoFigures, clip_flips, match
from oahega_build.scenes.video.records import Recording

Play = Callable[[Recording, Sights], Answers]
ALL = "all"
OURS = "ours, as set"
PAPER_FRAMES = (3, 5, 8, 12, 20)
PAPER_THRESHOLDS = (0.0, 0.5)
OUR_FRAMES = (1, 2, 3, 4, 6, 9)


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table."""

    name: str
    level: str
    """Noise level, or `all`."""
    figures: VideoFigures
    clip_flips_per_minute: float | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything but the decision."""

    records: Sequence[Recording]
    sights: Sequence[Sights]
    matchings: Sequence[FrameMatches]
    clips: Sequence[Recording]
    clip_sights: Sequence[Sights]

    def row(self, name: str, play: Play) -> Row:
        """One method at all noise levels together."""
        return self.rows(name, play)[0]

    def rows(self, name: str, play: Play) -> list[Row]:
        """One method at all noise levels together, then at each."""
        return self._summed(
            name, [play(r, s) for r, s in zip(self.records, self.sights, strict=True)], self._clip_flips(play)
        )

    def original(self) -> list[Row]:
        """The original's way, which has lists and no tracks, and so a matching of its own."""
        answers = [original(record) for record in self.records]
        own = replace(self, matchings=[match(r, said) for r, said in zip(self.records, answers, strict=True)])
        return own._summed("original: maximum by list index", answers, None)

    def _summed(self, name: str, answers: Sequence[Answers], clips: float | None) -> list[Row]:
        levels = dict.fromkeys(record.level for record in self.records)
        tallies = {level: Tally(self.records[0].labels) for level in (ALL, *levels)}
        for record, said, matching in zip(self.records, answers, self.matchings, strict=True):
            tallies[ALL].add(record, said, matching)
            tallies[record.level].add(record, said, matching)
        return [
            Row(name, level, tally.figures(), clips if level == ALL else None)
            for level, tally in tallies.items()
        ]

    def truth_flips(self) -> float:
        """Flips per minute that the people really make."""
        tally = Tally(self.records[0].labels)
        for record, sights, matching in zip(self.records, self.sights, self.matchings, strict=True):
            tally.add(record, single_frame(record, sights), matching)
        return tally.true_flips_per_minute()

    def _clip_flips(self, play: Play) -> float | None:
        if not self.clips:
            return None
        counted = [
            clip_flips(clip, play(clip, sights))
            for clip, sights in zip(self.clips, self.clip_sights, strict=True)
        ]
        return sum(flips for flips, _, _ in counted) / max(sum(minutes for _, minutes, _ in counted), 1e-9)


def prepared(records: Sequence[Recording], clips: Sequence[Recording], device: Device) -> Prepared:
    """Play the device over every record, once."""
    sights = [device.sights(record) for record in records]
    matchings = [
        match(record, single_frame(record, sight)) for record, sight in zip(records, sights, strict=True)
    ]
    return Prepared(records, sights, matchings, clips, [device.sights(clip) for clip in clips])


def compare(plain: Prepared, held: Prepared, best: Row, frequent: str) -> list[Row]:
    """Every way at every noise level, the paper's at its `best` point.

    `plain` shows a face only in frames in which it was found, `held` for the settings' moment longer.
    """
    frames, threshold = _settings_of(best)
    ways = [
        plain.rows("single frame", single_frame),
        plain.rows(f"always {frequent}", always(frequent)),
        plain.original(),
        plain.rows(f"paper's mean, N={frames}", paper_mean(frames, threshold)),
        held.rows(f"paper's mean, N={frames}, held", paper_mean(frames, threshold)),
        plain.rows("ours, not held", ours),
        held.rows(OURS, ours),
    ]
    return [row for rows in zip(*ways, strict=True) for row in rows]


def _settings_of(row: Row) -> tuple[int, float]:
    """N and threshold of a point of the paper's sweep."""
    frames, threshold = (part.split("=")[1] for part in row.name.split())
    return int(frames), float(threshold)


def paper_sweep(stage: Prepared) -> list[Row]:
    """The paper's average at several N and thresholds."""
    return [
        stage.row(f"N={frames} threshold={threshold}", paper_mean(frames, threshold))
        for threshold in PAPER_THRESHOLDS
        for frames in PAPER_FRAMES
    ]


def our_sweep(stage: Prepared, device: Device) -> list[Row]:
    """Ours at several N, all else as set."""
    return [stage.row(f"N={frames}", _at(device, frames)) for frames in OUR_FRAMES]


def _at(device: Device, frames: int) -> Play:
    """The device at another N, which follows the same faces."""
    other = device.changed("smoothing", frames=frames)
    return lambda record, _sights: ours(record, other.sights(record))


@dataclass(frozen=True, slots=True)
class Match:
    """One of the paper's operating points, and ours that is nowhere worse."""

    paper: Row
    ours: Row | None
    """None where none of our points is."""


def matched_points(paper: Sequence[Row], ours_: Sequence[Row]) -> list[Match]:
    """For each of the paper's points, ours with the fewest flips among those that are at least as good.

    At least as good: frame F1 not lower (over all visible faces; an unanswered face is an error, so that
    answering less does not help) and onset not later.
    """
    return [Match(point, _as_good(point, ours_)) for point in paper]


def _as_good(point: Row, ours_: Sequence[Row]) -> Row | None:
    wanted = point.figures
    good = [
        row
        for row in ours_
        if row.figures.frame_f1 >= wanted.frame_f1
        and row.figures.onset_s <= wanted.onset_s + 1e-6  # differences of equal times are equal to rounding
    ]
    return min(good, key=lambda row: row.figures.flips_per_minute, default=None)

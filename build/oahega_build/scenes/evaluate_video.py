"""Stage `evaluate-video`: how steady, how true and how soon the decisions on labelled sequences are.

The real chain (detector, crop, classifier) sees every frame once; tracking and decisions are then played on
the record by the device's own classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from oahega_build.emotion.decision import DECISION
from oahega_build.emotion.evaluate import VALID_LOG, load_emotion, part_of
from oahega_build.errors import RunError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.runs import artifacts
from oahega_build.scenes.sequences import (
    FORMAT,
    LEVELS,
    SEEDS,
    Noise,
    Scenario,
    Scenery,
    describe,
    make_scenery,
    plan_scenarios,
    render,
)
from oahega_build.scenes.video_methods import (
    Device,
    Sights,
    always,
    original,
    ours,
    paper_mean,
    single_frame,
)
from oahega_build.scenes.video_metrics import Answers, FrameMatches, Tally, VideoFigures, clip_flips, match
from oahega_build.scenes.video_records import (
    YUNET_SIDE,
    Find,
    Recording,
    cached,
    clip_frames,
    recorded,
    yunet,
)
from oahega_edge.bundles.load import load_bundle
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.endings import is_video
from oahega_edge.chain.classifier import Classifier, EmotionClassifier
from oahega_edge.chain.detection import HEAD_ODDS
from oahega_edge.chain.detector import Detector
from oahega_edge.runtimes import open_model
from oahega_edge.service.chains import UNSURE
from oahega_edge.service.settings import PACKAGED, Settings, read_layers

Play = Callable[[Recording, Sights], Answers]
ALL = "all"
OURS = "ours, as set"
PAPER_FRAMES = (3, 5, 8, 12, 20)
PAPER_THRESHOLDS = (0.0, 0.5)
OUR_FRAMES = (1, 2, 3, 4, 6, 9)
YUNET_SCORE = 0.6
"""Least score of a face where YuNet stands in for the bundle's detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The models of one evaluation."""

    detector: Find
    classifier: Classifier
    face_score: float
    """Least score that starts a track."""
    key: Mapping[str, str]
    """What a record depends on."""
    prior: tuple[float, ...] | None = None
    """What the classifier takes for granted."""


def open_chain(
    bundle: Path | None, yunet_file: Path | None, emotion: Path | None
) -> AbstractContextManager[Chain]:
    """The models that the options name. Raises RunError when they name none, or both kinds."""
    if bundle is not None and yunet_file is None and emotion is None:
        return bundle_chain(bundle)
    if bundle is None and yunet_file is not None and emotion is not None:
        return yunet_chain(yunet_file, emotion)
    raise RunError("give --bundle, or --yunet and --emotion together, to say whose decisions to judge")


def device_settings(bundle: Path | None, assignments: Iterable[str]) -> Settings:
    """The packaged settings with a bundle's suggestions, or usual ones without, and `assignments`."""
    without = [
        "detection.face_score=0.5",
        "detection.person_score=0.5",
        "detection.nms_iou=0.5",
        f"smoothing.frames={DECISION.frames}",
        f"trigger.threshold={DECISION.threshold}",
    ]
    chosen = [*(without if bundle is None else ()), "deployment.context=development", *assignments]
    layers = read_layers(PACKAGED, {}, chosen)
    if bundle is not None:
        layers = layers.with_suggestions(load_bundle(bundle).manifest)
    return layers.resolve()


@contextmanager
def bundle_chain(folder: Path) -> Iterator[Chain]:
    """Both models of a bundle."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    detector, emotion = manifest.detector, manifest.emotion
    detects = open_model(bundle.file(detector.cpu), detector.outputs, detector.input)
    reads = open_model(bundle.file(emotion.cpu), emotion.outputs, emotion.input)
    score = detector.suggested.score
    least = score | {"face": score["face"] * UNSURE}
    try:
        yield Chain(
            Detector(detector, detects, least),
            EmotionClassifier(emotion, reads),
            score["face"],
            {
                "detector": detector.cpu.sha256,
                "score": str(score["face"]),
                "head_odds": str(HEAD_ODDS),
                "emotion": emotion.cpu.sha256,
            },
            emotion.prior,
        )
    finally:
        detects.close()
        reads.close()


@contextmanager
def yunet_chain(path: Path, emotion_folder: Path) -> Iterator[Chain]:
    """YuNet in the detector's place, and an exported emotion model."""
    emotion = load_emotion(emotion_folder)
    reads = open_model(emotion_folder / emotion.entry.cpu.file, emotion.entry.outputs, emotion.entry.input)
    try:
        yield Chain(
            yunet(path, YUNET_SCORE * UNSURE),
            EmotionClassifier(emotion.entry, reads),
            YUNET_SCORE,
            {
                "detector": f"{artifacts.sha256_of(path)} at {YUNET_SIDE}",
                "emotion": emotion.entry.cpu.sha256,
            },
            emotion.entry.prior,
        )
    finally:
        reads.close()


def record_sequences(
    chain: Chain, scenery: Scenery, part: str, count: int, seconds: float, folder: Path
) -> list[Recording]:
    """`count` scenarios at every noise level through the chain; from `folder` where they were seen before."""
    scenarios = plan_scenarios(scenery, SEEDS[part], count, seconds)
    return [
        _sequence(chain, scenery, part, scenario, noise, folder) for noise in LEVELS for scenario in scenarios
    ]


def _sequence(
    chain: Chain, scenery: Scenery, part: str, scenario: Scenario, noise: Noise, folder: Path
) -> Recording:
    key = {
        **chain.key,
        "format": FORMAT,
        "faces": [part, [len(stills) for stills in scenery.stills], len(scenery.scenes)],
        "scenario": [scenario.name, scenario.seed, scenario.seconds],
        "noise": noise,
    }
    return cached(
        folder,
        key,
        lambda: recorded(
            scenario.name, noise.name, render(scenario, scenery, noise), chain.detector, chain.classifier
        ),
    )


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


def evaluate_run(
    chain: Chain,
    settings: Settings,
    data: Path,
    scenes: Path,
    clips: Path | None,
    part: str,
    size: tuple[int, float],
    artifacts_folder: Path,
    run_name: str,
) -> str:
    """Stage `evaluate-video`: the table as text; figures and plot go into the run's folder.

    `size`: scenarios per noise level, and seconds of each.
    """
    device = device_of(settings, chain)
    described = {**chain.key, "data": data.name, "part": part, "size": size, **described_device(device)}
    with artifacts.open_run(artifacts_folder, "evaluate-video", run_name, described) as run:
        dataset = read_dataset(data)
        samples = part_of(dataset, part)
        scenery = make_scenery(samples, dataset.labels, scenes)
        cache = artifacts_folder / "sequences"
        records = record_sequences(chain, scenery, part, *size, cache)
        seen = [] if clips is None else record_clips(chain, clips, cache)
        plain = prepared(records, seen, device.changed("tracking", hold_ms=0))
        held = prepared(records, seen, device)
        counts = Counter(sample.label for sample in samples)
        paper, mine = paper_sweep(held), our_sweep(held, device)
        matched = matched_points(paper, mine)
        best = max(paper, key=lambda row: row.figures.frame_f1)
        frequent = dataset.labels[counts.most_common(1)[0][0]]
        rows = compare(plain, held, best, frequent)
        truth = plain.truth_flips()
        run.write_metrics(
            {
                "sequences": describe(plan_scenarios(scenery, SEEDS[part], *size)),
                "rows": rows,
                "paper": paper,
                "ours": mine,
                "matched": matched,
                "true_flips_per_minute": truth,
                "clips": [clip.name for clip in seen],
            }
        )
        draw(paper, mine, rows, truth, run.folder / "operating-points.png")
        if part == "valid":
            log_valid(rows, chain, data.name)
    return as_table(rows, matched, truth)


def log_valid(rows: Sequence[Row], chain: Chain, data: str, log: Path = VALID_LOG) -> None:
    """Append the look at `valid` to the committed log."""
    ours_ = next(row for row in rows if row.level == ALL and row.name == OURS).figures
    flips = round(ours_.flips_per_minute, 1)
    shown = {"frame_f1": round(ours_.frame_f1, 4), "flips_per_minute": flips}
    artifacts.log_look(log, data, "evaluate-video", {**chain.key, **shown})


def device_of(settings: Settings, chain: Chain) -> Device:
    """The device with these settings, but for the score at which the chain's detector is sure of a face."""
    device = Device(settings, chain.classifier.labels, chain.prior)
    return device.changed("detection", face_score=chain.face_score)


def described_device(device: Device) -> dict[str, object]:
    """The settings that decide, for a run's description."""
    sections = ("tracking", "smoothing", "trigger")
    settings = device.settings.model_dump(mode="json", include=set(sections))
    return {section: settings[section] for section in sections} | {"prior": device.prior}


def record_clips(chain: Chain, folder: Path, cache: Path) -> list[Recording]:
    """Every video below a folder through the chain."""
    paths = sorted(p for p in folder.rglob("*") if is_video(p))
    return [
        cached(
            cache,
            {**chain.key, "clip": artifacts.sha256_of(path)},
            lambda path=path: recorded(  # type: ignore[misc]
                path.name, "", clip_frames(open_camera(str(path))), chain.detector, chain.classifier
            ),
        )
        for path in paths
    ]


def as_table(rows: Sequence[Row], matched: Sequence[Match], truth: float) -> str:
    """For a terminal."""
    head = (
        f"{'noise':<8}{'way':<38}{'frame F1':>9}{'event F1':>9}{'flips/min':>10}{'onset s':>8}"
        f"{'found':>7}{'mixed':>7}{'answered':>9}{'clips':>7}"
    )
    lines = [head, *(_line(row.level, row) for row in rows)]
    lines += [
        "",
        f"people change {truth:.1f} times a minute; `flips/min` counts these, too; `clips`: flips per minute "
        "on clips of real people; `mixed`: faces in frames that bear another person's track",
        "",
        "matched: ours with the fewest flips among those whose frame F1 is not lower and whose onset is not "
        "later (both hold faces; an unanswered face is an error)",
        *(_matched_line(match_) for match_ in matched),
    ]
    return "\n".join(lines)


def _line(level: str, row: Row) -> str:
    f = row.figures
    clip = "" if row.clip_flips_per_minute is None else f"{row.clip_flips_per_minute:.1f}"
    return (
        f"{level:<8}{row.name:<38}{f.frame_f1:>9.3f}{f.event_f1:>9.3f}{f.flips_per_minute:>10.1f}"
        f"{f.onset_s:>8.2f}{f.found:>7.2f}{f.mixed_frames:>7}{f.answered:>9.3f}{clip:>7}"
    )


def _matched_line(match_: Match) -> str:
    paper = f"the paper's {match_.paper.name}: {_point(match_.paper)}"
    if match_.ours is None:
        return f"{paper}; none of ours"
    return f"{paper}; ours {match_.ours.name}: {_point(match_.ours)}"


def _point(row: Row) -> str:
    f = row.figures
    return f"F1 {f.frame_f1:.3f}, {f.flips_per_minute:.1f} flips/min, onset {f.onset_s:.2f} s"


def draw(paper: Sequence[Row], mine: Sequence[Row], rows: Sequence[Row], truth: float, path: Path) -> None:
    """Frame F1 over flips per minute and over onset delay: up and to the left is better."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.6), layout="constrained")
    steady, soon = figure.subplots(1, 2, sharey=True)
    single = next(row for row in rows if row.level == ALL and row.name == "single frame")
    chosen = next(row for row in rows if row.level == ALL and row.name == OURS)
    for axes, value in ((steady, "flips_per_minute"), (soon, "onset_s")):
        for threshold in PAPER_THRESHOLDS:
            points = [row for row in paper if row.name.endswith(f"threshold={threshold}")]
            _curve(axes, points, value, f"the paper's mean, threshold {threshold}", "s--")
        _curve(axes, mine, value, "ours", "o-")
        axes.plot(getattr(single.figures, value), single.figures.frame_f1, "k*", ms=12, label="single frame")
        axes.plot(
            getattr(chosen.figures, value),
            chosen.figures.frame_f1,
            "o",
            ms=14,
            mfc="none",
            mec="k",
            label="default",
        )
        axes.grid(alpha=0.3)
    steady.axvline(truth, color="grey", lw=1, ls=":", label="changes that are real")
    steady.set(xlabel="label flips per minute", ylabel="frame macro F1")
    soon.set(xlabel="median onset delay, s")
    steady.legend(fontsize=8)
    figure.savefig(path, dpi=120)


def _curve(axes: Any, rows: Sequence[Row], value: str, label: str, style: str) -> None:
    points = [(getattr(row.figures, value), row.figures.frame_f1, row.name.split()[0]) for row in rows]
    axes.plot([x for x, _, _ in points], [y for _, y, _ in points], style, ms=4, label=label)
    for x, y, name in points:
        if np.isfinite(x):
            axes.annotate(
                name.removeprefix("N="), (x, y), fontsize=7, xytext=(3, 3), textcoords="offset points"
            )

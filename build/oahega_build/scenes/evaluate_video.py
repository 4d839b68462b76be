"""Stage `evaluate-video`: how steady, how true and how soon the decisions on labelled sequences are.

The real chain (detector, crop, classifier) sees every frame once; tracking and decisions are then played on
the record by the device's own classes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from oahega_build.emotion.evaluate import VALID_LOG, part_of
from oahega_build.pictures.dataset import read_dataset
from oahega_build.runs import artifacts
from oahega_build.scenes.chain import Chain, described_device, device_of
from oahega_build.scenes.render import render
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
)
from oahega_build.scenes.video.comparison import (
    ALL,
    OURS,
    Row,
    compare,
    matched_points,
    our_sweep,
    paper_sweep,
    prepared,
)
from oahega_build.scenes.video.decisions import of_all, on_card
from oahega_build.scenes.video.records import Recording, cached, clip_frames, recorded
from oahega_build.scenes.video.report import as_lines, as_table, draw
from oahega_build.scenes.video.visits import as_lines as visit_lines
from oahega_build.scenes.video.visits import by_level
from oahega_edge.cameras import open_camera
from oahega_edge.endings import is_video
from oahega_edge.service.settings import Settings


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
    card: Path | None = None,
) -> str:
    """Stage `evaluate-video`: the table as text; figures and plot go into the run's folder.

    `size`: scenarios per noise level, and seconds of each; `card`: folder of an emotion model whose card gets
    the reliability of the decisions.
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
        told = of_all(records, device)
        visits = by_level(records, device)
        run.write_metrics(
            {
                "sequences": describe(plan_scenarios(scenery, SEEDS[part], *size)),
                "rows": rows,
                "paper": paper,
                "ours": mine,
                "matched": matched,
                "true_flips_per_minute": truth,
                "reliability": told,
                "visits": visits,
                "clips": [clip.name for clip in seen],
            }
        )
        draw(paper, mine, rows, truth, run.folder / "operating-points.png")
        if card is not None:
            on_card(card, told)
        if part == "valid":
            log_valid(rows, chain, data.name)
    return "\n\n".join([as_table(rows, matched, truth), as_lines(told), "\n".join(visit_lines(visits))])


def log_valid(rows: Sequence[Row], chain: Chain, data: str, log: Path = VALID_LOG) -> None:
    """Append the look at `valid` to the committed log."""
    ours_ = next(row for row in rows if row.level == ALL and row.name == OURS).figures
    flips = round(ours_.flips_per_minute, 1)
    shown = {"frame_f1": round(ours_.frame_f1, 4), "flips_per_minute": flips}
    artifacts.log_look(log, data, "evaluate-video", {**chain.key, **shown})


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

"""Stage `evaluate-scenes`: the classifier's accuracy where the device meets its faces.

Every face of a dataset's part is shown once for a few frames, on the shoulders of somebody in a photograph
or alone in a scene without people. The real detector, tracker and crop find it; a face that is missed counts
as an error.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from oahega_build.emotion.evaluate import VALID_LOG, EmotionModel, part_of, require_labels
from oahega_build.emotion.metrics import Interval, mean_interval
from oahega_build.errors import DataError
from oahega_build.pictures.dataset import read_dataset
from oahega_build.pictures.framing import Framing
from oahega_build.pictures.people import Portrait, portraits_of
from oahega_build.pictures.records import read_records, shards_of
from oahega_build.runs import artifacts
from oahega_build.runs.progress import track
from oahega_build.runs.reading import LARGEST_MODEL
from oahega_build.scenes.chain import Chain, bundle_chain, described_device, device_of
from oahega_build.scenes.portraits import fits, frames_of
from oahega_build.scenes.render import render
from oahega_build.scenes.sequences import (
    FPS,
    LEVELS,
    WIDTH,
    LabelledFrame,
    Person,
    Scenario,
    Scenery,
    Shot,
    Truth,
    Wave,
    make_scenery,
    stills_of,
)
from oahega_build.scenes.video.methods import Device, Sight, Sights
from oahega_build.scenes.video.records import Recording, recorded_by
from oahega_edge.bundles.load import load_bundle
from oahega_edge.files import read_file
from oahega_edge.service.settings import Settings

SEED = 20261126
FRAMES = 6
"""For which a face is shown. Judged are the last one alone, and what its track was seen with until then."""
HEIGHTS = (40.0, 200.0)
"""Pixels of a face in 480 lines."""
BANDS = (40, 64, 100, 200)
ROLL = 10.0
"""Degrees to each side."""
MOST_FACES = 3
SAME_FACE = 0.5
"""Least overlap of a track's box with the face."""
NOISE = LEVELS[0]
MISSED = -1


@dataclass(frozen=True, slots=True, eq=False)
class Shown:
    """A few frames of faces that hardly move."""

    name: str
    frames: Iterable[LabelledFrame]
    heights: Sequence[float]
    """Pixels, by the person's number."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What became of one face."""

    label: int
    answered: int
    """Best label of the mean over its track, or MISSED."""
    at_once: int
    """Best label in the last frame alone, or MISSED."""
    height: float
    """Pixels."""
    place: tuple[float, float, float] | None = None
    """Of the box that was found in the last frame: width and height in units of the labelled one, and how
    much lower its middle lies, in units of the latter's height."""

    @property
    def right(self) -> bool:
        """Found, and read as it is labelled."""
        return self.answered == self.label

    @property
    def right_at_once(self) -> bool:
        """The same in the last frame alone."""
        return self.at_once == self.label


@dataclass(frozen=True, slots=True)
class SceneFigures:
    """Accuracies on the same faces."""

    faces: int
    in_scenes: Interval
    """Through detector, tracker and crop, averaged over the track as the device does."""
    at_once: Interval
    """The same from the last frame alone."""
    as_crops: Interval
    """The pictures themselves, cropped as in `evaluate-emotion`."""
    missed: int
    missed_at_once: int
    by_height: dict[str, float]
    """Accuracy in scenes by height in pixels."""
    place: tuple[float, float, float]
    """The medians of `Seen.place`: `Framing` knows them."""

    def as_text(self) -> str:
        """For a terminal."""
        lost = 100 * (self.as_crops.value - self.in_scenes.value)
        bands = ", ".join(f"{name} px {value}" for name, value in self.by_height.items())
        return (
            f"{self.faces} faces: accuracy in scenes {self.in_scenes}, as crops {self.as_crops} "
            f"({lost:.1f} points less in scenes), {self.missed} not found\n"
            f"from one frame {self.at_once}, {self.missed_at_once} not found in it\n{bands}\n"
            "boxes found: {:.3f} as wide and {:.3f} as high as labelled, {:.3f} of a height lower".format(
                *self.place
            )
        )


def plan(scenery: Scenery, seed: int = SEED) -> list[Scenario]:
    """Scenes of one to three faces, in which every still of the scenery appears once."""
    rng = np.random.default_rng(seed)
    faces = [(label, still) for label, stills in enumerate(scenery.stills) for still in range(len(stills))]
    rng.shuffle(faces)
    scenarios: list[Scenario] = []
    while faces:
        chosen = [faces.pop() for _ in range(min(len(faces), int(rng.integers(1, MOST_FACES + 1))))]
        people = [_person(rng, number, len(chosen), *face) for number, face in enumerate(chosen)]
        index = len(scenarios)
        scene = int(rng.integers(len(scenery.scenes)))
        scenarios.append(
            Scenario(f"{index:04d}-still", "still", FRAMES / FPS, scene, tuple(people), (seed, index))
        )
    return scenarios


def _person(rng: np.random.Generator, number: int, of: int, label: int, still: int) -> Person:
    """Somebody who hardly moves, beside the others."""
    least, most = HEIGHTS
    height = float(np.exp(rng.uniform(math.log(least), math.log(min(most, WIDTH / of)))))
    still_wave = {"period": 5.0, "phase": float(rng.uniform(0, 6.28))}
    return Person(
        number=number,
        x=Wave((number + float(rng.uniform(0.45, 0.55))) / of, 0.004, **still_wave),
        y=Wave(float(rng.uniform(0.3, 0.65)), 0.004, **still_wave),
        height=Wave(height, 0.0, 5.0, 0.0),
        roll=Wave(float(rng.uniform(-ROLL, ROLL)), 0.0, 5.0, 0.0),
        absences=(),
        hidden=(),
        shots=(Shot(0.0, label, still),),
        tint=(1.0, float(rng.uniform(0.76, 0.88)), float(rng.uniform(0.62, 0.8))),
        dissolve=0.1,
    )


def alone(scenery: Scenery) -> list[Shown]:
    """Every face in a scene without people."""
    return [
        Shown(
            scenario.name,
            render(scenario, scenery, NOISE),
            [person.height.middle for person in scenario.people],
        )
        for scenario in plan(scenery)
    ]


def on_people(scenery: Scenery, heads: Sequence[Portrait], seed: int = SEED) -> list[Shown]:
    """Every face in the place of somebody's. Raises DataError when no head fits."""
    if not any(fits(head, HEIGHTS[1]) for head in heads):
        raise DataError(
            f"none of {len(heads)} pictures shows a face that can be {HEIGHTS[1]:g} pixels high; "
            "label pictures of people who are nearer"
        )
    shown = []
    for label, stills in enumerate(scenery.stills):
        for still in range(len(stills)):
            rng = np.random.default_rng([seed, label, still])
            person = _person(rng, 0, 1, label, still)
            fitting = [head for head in heads if fits(head, person.height.middle)]
            head = fitting[int(rng.integers(len(fitting)))]
            frames = frames_of(head, person, scenery, NOISE, FRAMES, (seed, label, still))
            shown.append(Shown(f"{label}-{still:04d}-head", frames, [person.height.middle]))
    return shown


def look(shown: Shown, chain: Chain, device: Device) -> list[Seen]:
    """The answers to the faces of one scene in its last frame."""
    (seen,) = look_by(shown, [(chain, device)])
    return seen


def look_by(shown: Shown, several: Sequence[tuple[Chain, Device]]) -> list[list[Seen]]:
    """The same of several chains, each with its device; a detector that they share looks once."""
    models = [(chain.detector, chain.classifier) for chain, _ in several]
    records = recorded_by(shown.name, NOISE.name, shown.frames, models)
    return [_seen(shown, record, device) for record, (_, device) in zip(records, several, strict=True)]


def _seen(shown: Shown, record: Recording, device: Device) -> list[Seen]:
    sights = device.sights(record)
    return [
        Seen(
            label=truth.label,
            answered=_answer(truth, sights),
            at_once=_answer(truth, [[sight for sight in sights[-1] if sight.face is not None]]),
            height=shown.heights[truth.person],
            place=_place(truth, sights[-1]),
        )
        for truth in record.moments[-1].truths
    ]


def _answer(truth: Truth, frames: Sights) -> int:
    """Of the track that is on the face in the last frame: the mean of its scores in all of `frames`, read by
    both crops in turn."""
    there = _on(truth, frames[-1])
    if there is None:
        return MISSED
    seen = [sight.face for frame in frames for sight in frame if sight.tracked.track == there.tracked.track]
    faces = [face for face in seen if face is not None]
    return int(np.mean([face.read(turn % 2 == 1) for turn, face in enumerate(faces)], axis=0).argmax())


def _on(truth: Truth, frame: Sequence[Sight]) -> Sight | None:
    """The sight of that face."""
    there = max(frame, key=lambda sight: sight.tracked.box.iou(truth.box), default=None)
    return None if there is None or there.tracked.box.iou(truth.box) < SAME_FACE else there


def _place(truth: Truth, frame: Sequence[Sight]) -> tuple[float, float, float] | None:
    there = _on(truth, frame)
    if there is None:
        return None
    found, labelled = there.tracked.box, truth.box
    lower = (found.center[1] - labelled.center[1]) / labelled.height
    return found.width / labelled.width, found.height / labelled.height, lower


def figures_of(seen: Sequence[Seen], crops_right: Sequence[bool]) -> SceneFigures:
    """`crops_right`: of the same faces as crops."""
    by_height = {
        f"{low}-{high}": [s.right for s in seen if low <= s.height < high]
        for low, high in itertools.pairwise(BANDS)
    }
    return SceneFigures(
        faces=len(seen),
        in_scenes=mean_interval(np.array([s.right for s in seen])),
        at_once=mean_interval(np.array([s.right_at_once for s in seen])),
        as_crops=mean_interval(np.asarray(crops_right)),
        missed=Counter(s.answered for s in seen)[MISSED],
        missed_at_once=Counter(s.at_once for s in seen)[MISSED],
        by_height={name: round(float(np.mean(right)), 4) for name, right in by_height.items() if right},
        place=_medians([s.place for s in seen if s.place]),
    )


def _medians(places: Sequence[tuple[float, float, float]]) -> tuple[float, float, float]:
    if not places:
        return math.nan, math.nan, math.nan
    width, height, lower = np.median(places, axis=0).tolist()
    return round(width, 3), round(height, 3), round(lower, 3)


def evaluate_run(
    bundle_folder: Path,
    settings: Settings,
    data: Path,
    scenes: Path,
    people: bool,
    part: str,
    artifacts_folder: Path,
    run_name: str,
    log: Path = VALID_LOG,
) -> SceneFigures:
    """Stage `evaluate-scenes`: figures into a run's metrics.json; a look at `valid` is logged.

    `people`: `scenes` is a labelling run whose people lend their heads (its `valid` for `valid`, what it
    held out otherwise), and not a folder of pictures without people. Raises BuildError.
    """
    bundle = load_bundle(bundle_folder)
    entry = bundle.manifest.emotion
    emotion = EmotionModel(bundle_folder.name, entry, read_file(bundle.file(entry.cpu), LARGEST_MODEL))
    with bundle_chain(bundle_folder) as chain:
        device = device_of(settings, chain)
        described = {**chain.key, "data": data.name, "part": part, "seed": SEED, "people": people}
        described |= described_device(device)
        with artifacts.open_run(artifacts_folder, "evaluate-scenes", run_name, described) as run:
            dataset = read_dataset(data)
            require_labels(emotion.labels, dataset)
            samples = part_of(dataset, part)
            if people:
                heads = portraits_of(read_records(shards_of(scenes, "valid" if part == "valid" else "held")))
                shown = on_people(Scenery(dataset.labels, stills_of(samples, dataset.labels), []), heads)
            else:
                shown = alone(make_scenery(samples, dataset.labels, scenes))
            seen = [face for scene in track(shown, "scenes") for face in look(scene, chain, device)]
            crops = emotion.probabilities([s.pixels for s in samples], Framing())
            right = crops.argmax(axis=1) == np.array([s.label for s in samples])
            figures = figures_of(seen, right.tolist())
            run.write_metrics(artifacts.as_plain(figures))
            if part == "valid":
                _log_valid(figures, chain, data.name, people, log)
    return figures


def _log_valid(figures: SceneFigures, chain: Chain, data: str, people: bool, log: Path) -> None:
    shown = {
        "accuracy": figures.in_scenes.value,
        "accuracy_at_once": figures.at_once.value,
        "accuracy_as_crops": figures.as_crops.value,
    }
    model = "evaluate-scenes" + (" on people" if people else "")
    artifacts.log_look(log, data, model, {**chain.key, **shown})

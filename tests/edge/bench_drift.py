"""What drift and a bundle in the shadow cost: `python tests/edge/bench_drift.py` prints a table.

Times are of the thread's processor; on a busy machine the fastest tenth is nearest to those of a quiet one.
A face costs its measurements, in the frames in which it comes nearer, and being counted when it ends.
Both are taken inside the whole chain, between invocations of the classifier: alone, they are faster.
Aims: at most 0.05 ms of drift per face and 64 kB; a shadow costs no more than the second classifier's
invocation.
"""

from __future__ import annotations

import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from edge.drift.faces import MONDAY, faces  # noqa: E402
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle  # noqa: E402
from oahega_edge.chain.classifier import FaceCrop, FaceGauge  # noqa: E402
from oahega_edge.chain.decider import Nearest  # noqa: E402
from oahega_edge.chain.detection import FACE, Detection  # noqa: E402
from oahega_edge.chain.frame import Frame, Pixels  # noqa: E402
from oahega_edge.chain.geometry import Box  # noqa: E402
from oahega_edge.chain.pipeline import FaceRules, Pipeline  # noqa: E402
from oahega_edge.drift.keeper import DriftWatch  # noqa: E402
from oahega_edge.drift.look import Look  # noqa: E402
from oahega_edge.runtimes import open_model  # noqa: E402
from oahega_edge.service.chains import make_classifier, make_decider, make_shadow_reader  # noqa: E402
from oahega_edge.service.settings import PACKAGED, Settings, read_layers  # noqa: E402
from oahega_edge.shadow.reader import ShadowReader  # noqa: E402
from oahega_edge.stopwatch import Stopwatch  # noqa: E402

ROUNDS = 20
GROWTH = 1.06
"""From frame to frame, so that the face is nearer in each."""
LOWEST, STEPS = 0.1, 24
"""Height of the face in the first frame, as a share of the picture's, and frames until it leaves."""
FACES = 100
"""Of each way below."""
WAYS = {"stays": 1.0, "comes nearer": 1.5, "walks up from afar": 4.0}
"""How much higher a face is in its last frame than in its first one."""
TREMBLE = 0.02
"""Standard deviation of the logarithm of its height, which the detector errs by."""
DAYS, FACES_A_DAY, LABELS = 30, 200, 5
WIDTH, HEIGHT = 640, 480
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
CALL = "one invocation of the second classifier"

Times = dict[str, list[float]]
"""Microseconds of the thread's processor."""


def microseconds(call: Callable[[], object]) -> float:
    started = time.thread_time_ns()
    call()
    return (time.thread_time_ns() - started) / 1000


class Calendar:
    def __init__(self) -> None:
        self.now = MONDAY

    def __call__(self) -> datetime:
        return self.now


def lived(folder: Path) -> Times:
    """What a month of faces took, one by one, as the daemon hands them over."""
    calendar, rng = Calendar(), np.random.default_rng(0)
    watch = watch_of(folder, calendar)
    idle: list[float] = []
    counted: list[float] = []

    for day in range(DAYS):
        calendar.now = MONDAY + timedelta(days=day)
        for drawn in faces(rng, FACES_A_DAY):
            look = replace(drawn, scores=rng.dirichlet(np.ones(LABELS)))
            idle.append(microseconds(partial(turn, watch, ())))
            counted.append(microseconds(partial(turn, watch, (look,))))
    watch.keep()
    return {"a frame in which no face ends": idle, "one in which a face ends (mean: with writing)": counted}


class Spent:
    """What calls took, in microseconds."""

    def __init__(self) -> None:
        self.microseconds = 0.0

    def of(self, call: Callable[..., Any]) -> Callable[..., Any]:
        """The same call, measured."""

        def measured(*told: object) -> object:
            time.thread_time_ns()  # which takes long when it was not read just before
            started = time.thread_time_ns()
            answer = call(*told)
            ended = time.thread_time_ns()
            clock = time.thread_time_ns() - ended
            self.microseconds += (ended - started - clock) / 1000
            return answer

        return measured


def followed(folder: Path, settings: Settings) -> dict[str, list[tuple[int, float, float]]]:
    """Of each face by its way: how often its light was measured, and microseconds to measure and to count.

    Counting is what is added to a frame in which no face ends.
    """
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    calendar = Calendar()
    watch = watch_of(folder, calendar)
    boxes: list[Box] = []
    pipeline = chain(settings, None, measured=True, face=lambda step: boxes[step])
    spent, plain, gauge, lit = Spent(), (Nearest.see, Nearest.look), pipeline.gauge, [0]
    assert gauge is not None

    def gauged(pixels: Pixels, box: Box) -> tuple[float, float, float]:
        lit[0] += 1
        return gauge(pixels, box)

    pipeline.gauge = gauged
    Nearest.see, Nearest.look = map(spent.of, plain)  # type: ignore[method-assign]
    found: dict[str, list[tuple[int, float, float, float]]] = {way: [] for way in WAYS}
    for number in range(FACES):
        calendar.now = MONDAY + timedelta(days=number * len(WAYS) // FACES_A_DAY)
        for way, growth in WAYS.items():
            heights = LOWEST * growth ** np.linspace(0, 1, STEPS) * np.exp(rng.normal(0, TREMBLE, STEPS))
            boxes[:] = map(box_of, heights)
            lit[0], spent.microseconds = 0, 0.0
            for step in range(STEPS):
                at = (number * STEPS + step) / 15
                pipeline.process(Frame(noise.copy(), at, NOON + timedelta(seconds=at), step))
            looks = pipeline.finish().looks
            counted = microseconds(partial(watch.saw, looks))
            due = microseconds(watch.due)
            found[way].append((lit[0], spent.microseconds, counted + due, due))
    Nearest.see, Nearest.look = plain  # type: ignore[method-assign]
    idle = float(np.median([due for faces_of in found.values() for *_, due in faces_of]))
    return {
        way: [(often, took, counted - idle) for often, took, counted, _ in faces_of]
        for way, faces_of in found.items()
    }


def alone() -> list[float]:
    """Microseconds of a face that is measured once, where nothing else runs in between."""
    gauge = FaceGauge(FaceCrop(load_bundle(DEFAULT_BUNDLE).manifest.emotion))
    pixels = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    box, scores = box_of(0.3), np.ones(LABELS) / LABELS
    gauge(pixels, box)  # the classifier has cropped it

    def measured() -> None:
        nearest = Nearest()
        nearest.see(scores, box, 0.9, lambda box, lit: (gauge(pixels, box) if lit else None, None))
        nearest.look(0.1)

    return [microseconds(measured) for _ in range(DAYS * FACES_A_DAY)]


def turn(watch: DriftWatch, looks: Sequence[Look]) -> None:
    """What the daemon does after a frame."""
    watch.saw(looks)
    watch.due()


def watch_of(folder: Path, wall: Callable[[], datetime]) -> DriftWatch:
    watch = DriftWatch(folder, wall)
    watch.use("a" * 64, LABELS, None)
    return watch


def kept(folder: Path) -> tuple[int, int]:
    """Bytes of the file, and of what a daemon that reads it has in memory."""
    (file,) = (folder / "drift").iterdir()
    tracemalloc.start()
    watch = watch_of(folder, Calendar())
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert watch.report().learned
    return file.stat().st_size, memory


def chain(
    settings: Settings, beside: ShadowReader | None, measured: bool, face: Callable[[int], Box] | None = None
) -> Pipeline:
    """The embedded bundle's, on one face; the detector's answer is given."""
    at = face or face_at
    bundle = load_bundle(DEFAULT_BUNDLE)
    emotion = bundle.manifest.emotion
    model = open_model(bundle.file(emotion.cpu), emotion.outputs, emotion.input, threads=1)
    crop, watch = FaceCrop(emotion), Stopwatch()
    return Pipeline(
        detector=lambda frame: [Detection(FACE, at(frame.sequence), 0.9)],
        classifier=make_classifier(bundle, model, settings, watch, crop),
        decider=make_decider(settings, emotion.labels, emotion.prior, watch),
        face_rules=FaceRules(0.0),
        watch=watch,
        gauge=FaceGauge(crop) if measured else None,
        beside=beside,
    )


def face_at(step: int) -> Box:
    """Nearer in each frame."""
    return box_of(LOWEST * GROWTH**step)


def box_of(height: float) -> Box:
    """In the middle of the picture, as wide as high."""
    width = height * HEIGHT / WIDTH
    return Box(0.5 - width / 2, 0.5 - height / 2, 0.5 + width / 2, 0.5 + height / 2)


def approached(settings: Settings) -> Times:
    """Of each frame in which a face comes nearer: plain, measured, with a shadow; and of a call alone."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    shadow, alone = (make_shadow_reader(bundle, settings, Stopwatch()) for _ in range(2))
    chains = {
        "a frame with a face": chain(settings, None, measured=False),
        "the same, the face measured for drift": chain(settings, None, measured=True),
        "the same, with a bundle in the shadow": chain(settings, shadow, measured=True),
    }
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    times: Times = {name: [] for name in (*chains, CALL)}
    for number in range(ROUNDS):
        names = list(chains) if number % 2 else list(chains)[::-1]
        for step in range(STEPS):
            at = (number * STEPS + step) / 15
            frame = Frame(noise.copy(), at, NOON + timedelta(seconds=at), step)
            for name in names:
                times[name].append(microseconds(partial(chains[name].process, frame)))
            times[CALL].append(microseconds(partial(alone, frame.pixels, face_at(step))))
        for each in chains.values():
            each.finish()
    shadow.close()
    alone.close()
    return times


def paired(times: Times, less: str, more: str) -> float:
    """Median of the differences."""
    return float(np.median(np.subtract(times[more], times[less])))


def main() -> None:
    chosen = ["deployment.context=development", "runtime.threads=1"]
    layers = read_layers(PACKAGED, {}, chosen).with_suggestions(load_bundle(DEFAULT_BUNDLE).manifest)
    with tempfile.TemporaryDirectory() as name:
        times = {**lived(Path(name)), "a face is measured once": alone()}
        disk, memory = kept(Path(name))
    with tempfile.TemporaryDirectory() as name:
        ways = followed(Path(name), layers.resolve())
    seen = approached(layers.resolve())
    print(f"{'microseconds of processor':48}{'fastest tenth':>14}{'median':>9}{'mean':>9}")
    for name, of in {**times, **seen}.items():
        print(f"{name:48}{np.percentile(of, 10):14.1f}{np.median(of):9.1f}{np.mean(of):9.1f}")
    heads = f"{'measured':>9}{'measuring':>28}{'counting':>28}{'sum':>8}"
    print(f"{'microseconds per face, in the chain':36}{heads}")
    print(" " * 36 + f"{'times':>9}" + f"{'tenth':>10}{'median':>9}{'mean':>9}" * 2 + f"{'mean':>8}")
    for way, of_faces in ways.items():
        often, *costs = np.array(of_faces).T
        row = f"{f'a face that {way}':36}{often.mean():9.1f}"
        for each in costs:
            row += f"{np.percentile(each, 10):10.1f}{np.median(each):9.1f}{np.mean(each):9.1f}"
        print(f"{row}{np.sum(costs, axis=0).mean():8.1f}")
    plain, measured, shadowed, _ = seen
    beside, call = paired(seen, measured, shadowed), float(np.median(seen[CALL]))
    print(f"measuring a face, paired: {paired(seen, plain, measured):.1f}")
    print(f"the shadow, paired: {beside:.1f}, {beside / call:.2f} of one invocation")
    print(f"after {DAYS} days of {FACES_A_DAY} faces: {disk} bytes on disk, {memory} in memory")


if __name__ == "__main__":
    main()

"""What drift and a bundle in the shadow cost: `python tests/edge/bench_drift.py` prints a table.

Times are of the thread's processor; on a busy machine the fastest tenth is nearest to those of a quiet one.
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

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from edge.drift.faces import MONDAY, faces  # noqa: E402
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle  # noqa: E402
from oahega_edge.chain.classifier import FaceCrop, FaceGauge  # noqa: E402
from oahega_edge.chain.detection import FACE, Detection  # noqa: E402
from oahega_edge.chain.frame import Frame  # noqa: E402
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
"""From frame to frame, so that the face is measured in each."""
LOWEST, STEPS = 0.1, 24
"""Height of the face in the first frame, as a share of the picture's, and frames until it leaves."""
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

    def turn(looks: Sequence[Look]) -> None:
        watch.saw(looks)
        watch.due()

    for day in range(DAYS):
        calendar.now = MONDAY + timedelta(days=day)
        for drawn in faces(rng, FACES_A_DAY):
            look = replace(drawn, scores=rng.dirichlet(np.ones(LABELS)))
            idle.append(microseconds(partial(turn, ())))
            counted.append(microseconds(partial(turn, (look,))))
    watch.keep()
    return {"a frame in which no face ends": idle, "one in which a face ends (mean: with writing)": counted}


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


def chain(settings: Settings, beside: ShadowReader | None, measured: bool) -> Pipeline:
    """The embedded bundle's, on one face; the detector's answer is given."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    emotion = bundle.manifest.emotion
    model = open_model(bundle.file(emotion.cpu), emotion.outputs, emotion.input, threads=1)
    crop, watch = FaceCrop(emotion), Stopwatch()
    return Pipeline(
        detector=lambda frame: [Detection(FACE, face_at(frame.sequence), 0.9)],
        classifier=make_classifier(bundle, model, settings, watch, crop),
        decider=make_decider(settings, emotion.labels, emotion.prior, watch),
        face_rules=FaceRules(0.0),
        watch=watch,
        gauge=FaceGauge(crop) if measured else None,
        beside=beside,
    )


def face_at(step: int) -> Box:
    """Nearer in each frame."""
    height = LOWEST * GROWTH**step
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
        times = lived(Path(name))
        disk, memory = kept(Path(name))
    seen = approached(layers.resolve())
    print(f"{'microseconds of processor':48}{'fastest tenth':>14}{'median':>9}{'mean':>9}")
    for name, of in {**times, **seen}.items():
        print(f"{name:48}{np.percentile(of, 10):14.1f}{np.median(of):9.1f}{np.mean(of):9.1f}")
    plain, measured, shadowed, _ = seen
    beside, call = paired(seen, measured, shadowed), float(np.median(seen[CALL]))
    print(f"measuring a face, paired: {paired(seen, plain, measured):.1f}")
    print(f"the shadow, paired: {beside:.1f}, {beside / call:.2f} of one invocation")
    print(f"after {DAYS} days of {FACES_A_DAY} faces: {disk} bytes on disk, {memory} in memory")


if __name__ == "__main__":
    main()

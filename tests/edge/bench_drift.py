"""What drift and a bundle in the shadow cost: `python tests/edge/bench_drift.py [FACES]` prints a table.

Two chains see the same frames, one with drift and one without; which one is first alternates. Both ask the
same classifier, so that caches are as cold as between two faces of a device. A face's cost is the difference
over all of its frames and its end: it is measured and counted, days are judged, the file is written, and each
frame asks what is due. Times are of the thread's processor, so that what other processes take is not
counted. The classifier's own invocations are taken off on both sides: they are the same, and their noise
is as large as what is sought.
Aims: at most 0.05 ms of drift per face and 64 kB; a shadow costs no more than the second classifier's
invocation.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests")]

from edge.drift.faces import faces  # noqa: E402
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle  # noqa: E402
from oahega_edge.chain.detection import FACE, Detection  # noqa: E402
from oahega_edge.chain.frame import Frame  # noqa: E402
from oahega_edge.chain.geometry import Box  # noqa: E402
from oahega_edge.chain.pipeline import FaceRules, Pipeline, Step  # noqa: E402
from oahega_edge.drift.keeper import DriftWatch, NoWatch, Watch  # noqa: E402
from oahega_edge.runtimes import open_model  # noqa: E402
from oahega_edge.runtimes.port import Model  # noqa: E402
from oahega_edge.service.chains import make_classifier, make_decider, make_shadow_reader  # noqa: E402
from oahega_edge.service.settings import PACKAGED, Settings, read_layers  # noqa: E402
from oahega_edge.shadow.reader import ShadowReader  # noqa: E402
from oahega_edge.stopwatch import Stopwatch  # noqa: E402

WAYS = {"stays": 1.0, "comes nearer": 1.5, "walks up from afar": 4.0}
"""How much higher a face is in its last frame than in its first one."""
LOWEST, FRAMES = 0.1, 24
"""Height of a face in its first frame, as a share of the picture's, and frames until it is gone."""
TREMBLE = 0.02
"""Standard deviation of the logarithm of its height, which the detector errs by."""
FACES, WARM_UP = 600, 20
"""Of each way; the first ones after a start are not counted."""
DAYS, FACES_A_DAY, LABELS = 30, 200, 5
APPROACHES = 20
WIDTH, HEIGHT = 640, 480
KEY = "a" * 64
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


class Calendar:
    """The device's clock, which can be put forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now().astimezone() + self.ahead


class Timed:
    """A model that knows how long it ran, in nanoseconds of the thread's processor."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.spent = 0

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        started = time.thread_time_ns()
        outputs = self._model.run(tensor)
        self.spent += time.thread_time_ns() - started
        return outputs


class Device:
    """What a daemon does with a frame, as far as drift has a part in it."""

    def __init__(self, pipeline: Pipeline, watch: Watch, model: Timed) -> None:
        self._pipeline, self._watch, self._model = pipeline, watch, model

    def see(self, frame: Frame) -> float:
        return self._timed(lambda: self._pipeline.process(frame))

    def finish(self) -> float:
        """Every face in view ends."""
        return self._timed(self._pipeline.finish)

    def _timed(self, chain: Callable[[], Step]) -> float:
        """Microseconds without those of the classifier's model."""
        before = self._model.spent
        started = time.thread_time_ns()
        self._watch.saw(chain().looks)
        self._watch.due()
        took = time.thread_time_ns() - started
        return (took - (self._model.spent - before)) / 1000


class Scene:
    """Faces in noise, one after the other; the detector's answer is given."""

    def __init__(self) -> None:
        self._noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
        self._count = 0
        self.height = LOWEST

    def clock(self) -> float:
        """Seconds in which a camera would have taken as many frames."""
        return self._count / 15

    def frame(self, height: float) -> Frame:
        self.height, self._count = height, self._count + 1
        at = self.clock()
        return Frame(self._noise.copy(), at, NOON + timedelta(seconds=at), self._count)

    def found(self, _: Frame) -> list[Detection]:
        """In the middle of the picture, as wide as high."""
        return [Detection(FACE, self.box, 0.9)]

    @property
    def box(self) -> Box:
        width, height = self.height * HEIGHT / WIDTH, self.height
        return Box(0.5 - width / 2, 0.5 - height / 2, 0.5 + width / 2, 0.5 + height / 2)


def chain(
    settings: Settings, scene: Scene, model: Any, watched: bool, beside: ShadowReader | None = None
) -> Pipeline:
    """The embedded bundle's, on the faces of a scene."""
    bundle, watch = load_bundle(DEFAULT_BUNDLE), Stopwatch()
    emotion = bundle.manifest.emotion
    classifier = make_classifier(bundle, model, settings, watch)
    return Pipeline(
        detector=scene.found,
        classifier=classifier,
        decider=make_decider(settings, emotion.labels, emotion.prior, watch),
        face_rules=FaceRules(0.0),
        watch=watch,
        gauge=classifier.measured,
        watched=watched,
        beside=beside,
    )


def opened() -> Model:
    """The embedded classifier."""
    bundle = load_bundle(DEFAULT_BUNDLE)
    entry = bundle.manifest.emotion
    return open_model(bundle.file(entry.cpu), entry.outputs, entry.input, threads=1)


def drift_costs(settings: Settings, folder: Path, count: int) -> dict[str, NDArray[np.float64]]:
    """Microseconds of each face by its way, a row each: in its frames, at its end, and without drift."""
    rng, scene, model, calendar = np.random.default_rng(0), Scene(), Timed(opened()), Calendar()
    with_drift = Device(
        chain(settings, scene, model, watched=True), watch_of(folder, calendar, scene.clock), model
    )
    without = Device(chain(settings, scene, model, watched=False), NoWatch(), model)
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    turn = 0
    for number in range(WARM_UP + count):
        calendar.ahead = timedelta(days=number * len(WAYS) // FACES_A_DAY)
        for way, growth in WAYS.items():
            heights = LOWEST * growth ** np.linspace(0, 1, FRAMES) * np.exp(rng.normal(0, TREMBLE, FRAMES))
            seen = []
            for height in heights:
                frame = scene.frame(height)
                seen.append(both(with_drift, without, turn, lambda device, frame=frame: device.see(frame)))
                turn += 1
            (more, less), (end, end_less) = (
                np.sum(seen, axis=0),
                both(with_drift, without, turn, Device.finish),
            )
            turn += 1
            found[way].append((more - less, end - end_less, less + end_less))
    return {way: np.array(of[WARM_UP:]) for way, of in found.items()}


def both(first: Device, second: Device, turn: int, call: Callable[[Device], float]) -> tuple[float, float]:
    """What a call takes on both, in their order here; every other turn the second one begins."""
    if turn % 2:
        after = call(second)
        return call(first), after
    return call(first), call(second)


def shadow_costs(settings: Settings) -> tuple[list[float], list[float]]:
    """Microseconds that a bundle in the shadow adds to a frame in which a face comes nearer, and those of one
    call of it alone.
    """
    bundle, scene, model = load_bundle(DEFAULT_BUNDLE), Scene(), Timed(opened())
    shadow, alone = (make_shadow_reader(bundle, settings, Stopwatch()) for _ in range(2))
    plain = Device(chain(settings, scene, model, watched=True), NoWatch(), model)
    shadowed = Device(chain(settings, scene, model, watched=True, beside=shadow), NoWatch(), model)
    added, calls = [], []
    for number in range(APPROACHES):
        for step in range(FRAMES):
            frame = scene.frame(LOWEST * 1.06**step)
            more, less = both(shadowed, plain, number + step, lambda device, frame=frame: device.see(frame))
            added.append(more - less)
            started = time.thread_time_ns()
            alone(frame.pixels, scene.box)
            calls.append((time.thread_time_ns() - started) / 1000)
        plain.finish()
        shadowed.finish()
    shadow.close()
    alone.close()
    return added, calls


def watch_of(folder: Path, wall: Callable[[], datetime], clock: Callable[[], float]) -> DriftWatch:
    watch = DriftWatch(folder, wall, clock)
    watch.use(KEY, LABELS, None)
    return watch


def kept_after_a_month(folder: Path) -> tuple[int, int]:
    """Bytes of the file, and of what a daemon that reads it has in memory."""
    calendar, rng = Calendar(), np.random.default_rng(0)
    watch = watch_of(folder, calendar, lambda: calendar.ahead.total_seconds())
    for day in range(DAYS):
        calendar.ahead = timedelta(days=day)
        watch.saw([look._replace(scores=rng.dirichlet(np.ones(LABELS))) for look in faces(rng, FACES_A_DAY)])
        watch.due()
    watch.keep()
    (file,) = (folder / "drift").iterdir()
    tracemalloc.start()
    again = watch_of(folder, calendar, time.monotonic)
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert again.report().learned
    return file.stat().st_size, memory


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else FACES
    chosen = ["deployment.context=development", "runtime.threads=1"]
    settings = (
        read_layers(PACKAGED, {}, chosen).with_suggestions(load_bundle(DEFAULT_BUNDLE).manifest).resolve()
    )
    print(f"{count} faces of each way, {FRAMES} frames each; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        drift = drift_costs(settings, Path(name), count)
    print(
        f"{'microseconds of drift per face':32}{'10 %':>8}{'median':>8}{'90 %':>8}{'mean':>8}{'+-':>6}",
        end="",
    )
    print(f"{'in frames':>11}{'at its end':>12}{'without':>9}")
    for way, costs in drift.items():
        frames, end, without = costs.T
        each = frames + end
        row = f"{f'a face that {way}':32}" + "".join(f"{np.percentile(each, p):8.1f}" for p in (10, 50, 90))
        row += f"{each.mean():8.1f}{1.96 * each.std() / len(each) ** 0.5:6.1f}"
        print(f"{row}{frames.mean():11.1f}{end.mean():12.1f}{without.mean():9.1f}")
    added, calls = shadow_costs(settings)
    beside, call = float(np.median(added)), float(np.median(calls))
    print(f"a shadow adds {beside:.1f} to a frame (median), {beside / call:.2f} of one call alone")
    with tempfile.TemporaryDirectory() as name:
        disk, memory = kept_after_a_month(Path(name))
    print(f"after {DAYS} days of {FACES_A_DAY} faces: {disk} bytes on disk, {memory} in memory")
    print(f"load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    main()

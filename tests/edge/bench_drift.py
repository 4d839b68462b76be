"""What drift and a bundle in the shadow cost: `python tests/edge/bench_drift.py [FACES]` prints a table.

Chains see the same frames in changing order: one with drift, and two without, whose difference says what the
machine's noise is. All ask the same classifier, so that caches are as cold as on a device. A face costs what
drift adds to its frames and to its end: it is measured and counted, days are judged, the file is written, and
it is asked what it says as often as for health messages. Times are of the processor, over all threads. The
classifier's own invocations are taken off: they are the same, and their noise is as large as what is sought.
The device is a month old, so days are judged, and its faces come between 8 and 20 o'clock.
Aims: at most 0.05 ms of drift per face and 64 kB; a shadow costs no more than the second classifier's
invocation.
"""

from __future__ import annotations

import gc
import itertools
import os
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
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
REPORT_S = 30.0
"""Between two health messages."""
PARTS = 10
"""Of the faces, whose figures are compared."""
DAYS, FACES_A_DAY, LABELS = 30, 200, 5
OPENS, CLOSES = 8, 20
"""Hours between which faces come."""
WRITE_S = 60.0
APPROACHES = 20
WIDTH, HEIGHT = 640, 480
KEY = "a" * 64
NOON = datetime(2026, 1, 5, 12)


class Calendar:
    """The device's clock, which can be put forward; it is read as the device reads it."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def __call__(self) -> datetime:
        return datetime.now() + self.ahead

    def go_to(self, face: int) -> None:
        """The hour in which this face comes."""
        day, of_the_day = divmod(face, FACES_A_DAY)
        hours = OPENS + (CLOSES - OPENS) * of_the_day / FACES_A_DAY
        self.ahead = NOON.replace(hour=0) + timedelta(days=day, hours=hours) - datetime.now()


class Timed:
    """A model that knows how long it ran, in nanoseconds of the processor."""

    def __init__(self, model: Model) -> None:
        self._model = model
        self.spent = 0

    def run(self, tensor: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
        started = time.process_time_ns()
        outputs = self._model.run(tensor)
        self.spent += time.process_time_ns() - started
        return outputs


class Device:
    """What a daemon does with a frame, as far as drift has a part in it."""

    def __init__(
        self, pipeline: Pipeline, watch: Watch, model: Timed, clock: Callable[[], float], wall: Calendar
    ) -> None:
        self._pipeline, self._watch, self._model = pipeline, watch, model
        self._clock, self._wall = clock, wall
        self._report_at = 0.0
        self._day = wall().date()
        self._is_read = False
        """The face in view, which is measured when it is first read: no face of this benchmark is enlarged.
        """
        self.did: tuple[str, ...] = ()
        """With the last frame, as far as drift is concerned."""

    def see(self, frame: Frame) -> float:
        return self._timed(lambda: self._pipeline.process(frame))

    def finish(self) -> float:
        """Every face in view ends."""
        return self._timed(self._pipeline.finish)

    def _timed(self, chain: Callable[[], Step]) -> float:
        """Microseconds without those of the classifier's model."""
        before = self._model.spent
        started = time.process_time_ns()
        looks = chain().looks
        if looks:
            self._watch.saw(looks)
        if is_asked := self._clock() >= self._report_at:
            self._report_at = self._clock() + REPORT_S
            self._watch.report()
        took = time.process_time_ns() - started - (self._model.spent - before)
        took += (written := self._writing())
        is_first = self._model.spent > before and not self._is_read
        self._is_read = (self._is_read or is_first) and not looks
        self.did = ("lit",) * is_first
        self.did += ("ends",) * bool(looks) + ("asked",) * is_asked + ("written",) * bool(written)
        if is_asked and self._day != (today := self._wall().date()):
            self._day, self.did = today, (*self.did, "a day is over")
        return took / 1000

    def _writing(self) -> int:
        """Nanoseconds until the file that is being written is written."""
        if not isinstance(self._watch, DriftWatch) or self._watch.settle(0):
            return 0
        started = time.process_time_ns()
        assert self._watch.settle(WRITE_S)
        return time.process_time_ns() - started


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
        return Frame(self._noise.copy(), at, NOON.replace(tzinfo=UTC) + timedelta(seconds=at), self._count)

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


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one frame of a face, or of its end, in microseconds."""

    did: tuple[str, ...]
    drift: float
    """What drift adds."""
    noise: float
    """What a second chain without drift adds to the first one."""
    without: float
    """What that takes."""


def drift_costs(settings: Settings, folder: Path, count: int) -> dict[str, list[list[Cost]]]:
    """Of the faces of each way."""
    rng, scene, model, calendar = np.random.default_rng(0), Scene(), Timed(opened()), Calendar()
    watch = watch_of(folder, calendar, scene.clock)
    live(watch, calendar, rng)
    devices = [
        Device(chain(settings, scene, model, watched), of, model, scene.clock, calendar)
        for watched, of in ((True, watch), (False, NoWatch()), (False, NoWatch()))
    ]
    found: dict[str, list[list[Cost]]] = {way: [] for way in WAYS}
    gc.disable()  # a collection costs as much as many faces, and falls on any of them
    for number in range(WARM_UP + count):
        gc.collect(0)
        calendar.go_to(DAYS * FACES_A_DAY + number * len(WAYS))
        for way, growth in WAYS.items():
            heights = LOWEST * growth ** np.linspace(0, 1, FRAMES) * np.exp(rng.normal(0, TREMBLE, FRAMES))
            face = []
            for frame in (*map(scene.frame, heights), None):
                with_drift, without, again = in_turn(devices, frame)
                face.append(Cost(devices[0].did, with_drift - without, again - without, without))
            found[way].append(face)
    gc.enable()
    return {way: of[WARM_UP:] for way, of in found.items()}


def usual(faces: Sequence[Sequence[Cost]], which: Callable[[Cost], float]) -> float:
    """Of a face: the mean of the middle half of each kind of frame, as often as a face has such a frame."""
    return sum(len(of) * middle(of) for of in kinds(faces, which).values()) / len(faces)


def kinds(
    faces: Sequence[Sequence[Cost]], which: Callable[[Cost], float]
) -> dict[tuple[str, ...], list[float]]:
    """Costs by what was done."""
    found: dict[tuple[str, ...], list[float]] = {}
    for cost in itertools.chain.from_iterable(faces):
        found.setdefault(cost.did, []).append(which(cost))
    return found


def middle(values: Sequence[float]) -> float:
    """The mean of the middle half."""
    quarter = len(values) // 4
    return float(np.mean(sorted(values)[quarter : len(values) - quarter]))


ORDERS = itertools.cycle(itertools.permutations(range(3)))


def in_turn(devices: Sequence[Device], frame: Frame | None) -> NDArray[np.float64]:
    """What a frame takes on each device, or the end of all faces; each is the first one as often."""
    took = np.zeros(len(devices))
    for place in next(ORDERS):
        if place < len(devices):
            took[place] = devices[place].finish() if frame is None else devices[place].see(frame)
    return took


def shadow_costs(settings: Settings) -> tuple[list[float], list[float]]:
    """Microseconds that a bundle in the shadow adds to a frame in which a face comes nearer, and those of one
    call of it alone.
    """
    bundle, scene, model = load_bundle(DEFAULT_BUNDLE), Scene(), Timed(opened())
    shadow, alone = (make_shadow_reader(bundle, settings, Stopwatch()) for _ in range(2))
    calendar = Calendar()
    plain = Device(chain(settings, scene, model, watched=True), NoWatch(), model, scene.clock, calendar)
    both = chain(settings, scene, model, watched=True, beside=shadow)
    shadowed = Device(both, NoWatch(), model, scene.clock, calendar)
    added, calls = [], []
    for _ in range(APPROACHES):
        for step in range(FRAMES):
            frame = scene.frame(LOWEST * 1.06**step)
            more, less = in_turn([shadowed, plain], frame)
            added.append(more - less)
            started = time.process_time_ns()
            alone(frame.pixels, scene.box)
            calls.append((time.process_time_ns() - started) / 1000)
        plain.finish()
        shadowed.finish()
    shadow.close()
    alone.close()
    return added, calls


def watch_of(folder: Path, wall: Callable[[], datetime], clock: Callable[[], float]) -> DriftWatch:
    watch = DriftWatch(folder, wall, clock)
    watch.use(KEY, LABELS, None)
    return watch


def live(watch: DriftWatch, calendar: Calendar, rng: np.random.Generator) -> None:
    """A month."""
    for day in range(DAYS):
        for part in range(CLOSES - OPENS):
            count = FACES_A_DAY * (part + 1) // (CLOSES - OPENS) - FACES_A_DAY * part // (CLOSES - OPENS)
            calendar.go_to(day * FACES_A_DAY + FACES_A_DAY * part // (CLOSES - OPENS))
            looks = faces(rng, count)
            watch.saw([replace(look, scores=rng.dirichlet(np.ones(LABELS))) for look in looks])
            watch.report()
    watch.keep()


def kept_after_a_month(folder: Path) -> tuple[int, int]:
    """Bytes of the file, and of what a daemon that reads it has in memory."""
    calendar, rng = Calendar(), np.random.default_rng(0)
    watch = watch_of(folder, calendar, lambda: calendar.ahead.total_seconds())
    live(watch, calendar, rng)
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
    layers = read_layers(PACKAGED, {}, chosen).with_suggestions(load_bundle(DEFAULT_BUNDLE).manifest)
    settings = layers.resolve()
    print(f"{count} faces of each way, {FRAMES} frames each; load {os.getloadavg()[0]:.1f}")
    with tempfile.TemporaryDirectory() as name:
        drift = drift_costs(settings, Path(name), count)
    print(f"{'microseconds of drift per face':32}{'usual':>8}{'+-':>6}{'mean':>9}{'+-':>6}{'chain':>9}")
    for way, costs in drift.items():
        print(row(f"a face that {way}", costs, lambda cost: cost.drift))
    every = [face for costs in drift.values() for face in costs]
    print(row("all of them", every, lambda cost: cost.drift))
    print(row("a chain without drift, twice", every, lambda cost: cost.noise))
    for did, same in sorted(kinds(every, lambda cost: cost.drift).items()):
        each, often = middle(same), len(same) / len(every)
        name = " and ".join(did) or "nothing"
        print(f"{name:32}{each:8.1f} each,{often:7.3f} times a face:{each * often:6.1f}")
    added, calls = shadow_costs(settings)
    beside, call = float(np.median(added)), float(np.median(calls))
    print(f"a shadow adds {beside:.1f} to a frame (median), {beside / call:.2f} of one call alone")
    with tempfile.TemporaryDirectory() as name:
        disk, memory = kept_after_a_month(Path(name))
    print(f"after {DAYS} days of {FACES_A_DAY} faces: {disk} bytes on disk, {memory} in memory")
    print(f"load {os.getloadavg()[0]:.1f}")


def row(name: str, faces: Sequence[Sequence[Cost]], which: Callable[[Cost], float]) -> str:
    """The usual cost and the mean, each with its 95 % interval, and what the chain takes without drift.

    What is done once in many faces falls on few of a way, so it is left out of the usual cost of a part.
    """
    often = [[cost for cost in face if "written" not in cost.did] for face in faces]
    parts = [usual(often[part::PARTS], which) for part in range(PARTS)]
    sums = np.array([sum(map(which, face)) for face in faces])
    chain = np.mean([sum(cost.without for cost in face) for face in faces])
    return (
        f"{name:32}{usual(faces, which):8.1f}{1.96 * np.std(parts, ddof=1) / PARTS**0.5:6.1f}"
        f"{sums.mean():9.1f}{1.96 * sums.std() / len(sums) ** 0.5:6.1f}{chain:9.1f}"
    )


if __name__ == "__main__":
    main()

"""A new bundle in the shadow: it reads the same faces, changes nothing, and is taken or refused."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path

import cv2
import numpy as np
import pytest

from drawn_faces import LOOKS, draw_person
from edge.tuning.places import place
from mini_bundle import change, make_bundle
from mqtt_samples import health
from oahega_edge.bundles.kept import KeptBundle
from oahega_edge.bundles.load import DEFAULT_BUNDLE, load_bundle
from oahega_edge.cameras.memory import frames_of
from oahega_edge.contract.events import ModelIdentity
from oahega_edge.contract.messages import Shadow, ShadowSide
from oahega_edge.drift.keeper import DriftWatch
from oahega_edge.drift.look import Look
from oahega_edge.errors import BundleError
from oahega_edge.publishers.recording import RecordingPublisher
from oahega_edge.service.assembly import make_daemon, read_lasting_setup
from oahega_edge.service.engine import Engine
from oahega_edge.service.engines import TRIAL_S, Engines, TrialRecord
from oahega_edge.service.prometheus import _of_shadow
from oahega_edge.service.settings import read_layers
from oahega_edge.service.setup import read_setup
from oahega_edge.shadow.reader import ShadowReader
from oahega_edge.shadow.trial import LEAST_FACES, Shadowing, ShadowTrial
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tools.status import _shadow
from oahega_edge.tuning.fitting import fitted
from oahega_edge.tuning.overlay import write_overlay
from scripted import LABELS, LEFT, Mood, face, pipeline
from small_engine import Clock, FakeEngine, Kept

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
SHADOW_S = 600.0
HAPPY, SAD, FLAT = np.array([0.8, 0.1, 0.1]), np.array([0.1, 0.1, 0.8]), np.array([0.4, 0.3, 0.3])


def identity(name: str) -> ModelIdentity:
    return ModelIdentity(name=name, version="1", sha256=name.encode().hex().ljust(64, "0"))


def look(scores: np.ndarray, beside: np.ndarray | None) -> Look:
    return Look(scores, 90.0, 120.0, 0.4, 0.9, 0.2, beside)


class Failing(Mood):
    """A classifier that fails at its n-th face."""

    def __init__(self, answers: list[np.ndarray | Exception]) -> None:
        super().__init__()
        self.answers = answers

    def __call__(self, pixels: np.ndarray, box: object, second: bool = False) -> np.ndarray:
        answer = self.answers[min(self.calls, len(self.answers) - 1)]
        self.calls += 1
        if isinstance(answer, Exception):
            raise answer
        return answer


class House:
    """Bundles in folders with a link, and classifiers that run in the shadow."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.link, self.clock, self.kept = folder, folder / "current", Clock(), Kept()
        self.opened: list[FakeEngine] = []
        self.readers: list[ShadowReader] = []
        self.closed: list[str] = []
        self.answers: list[np.ndarray | Exception] = [HAPPY]
        self.broken = False
        for name in ("one", "two", "three"):
            (folder / name).mkdir()
            (folder / name / "manifest.json").write_text(name)
        self.point("one")

    def point(self, name: str) -> None:
        self.link.unlink(missing_ok=True)
        self.link.symlink_to(self.folder / name)

    def open(self, path: Path) -> FakeEngine:
        engine = FakeEngine(path.name)
        engine.bundle = engine.bundle.model_copy(update={"sha256": digest(path)})
        self.opened.append(engine)
        return engine

    def read(self, path: Path) -> ShadowReader:
        if self.broken:
            raise BundleError(f"{path.name} fails its self-test; copy it again")
        reader = ShadowReader(
            identity(path.name),
            Failing(self.answers),
            lambda: self.closed.append(path.name),
            Stopwatch(),
        )
        self.readers.append(reader)
        return reader

    def start(self) -> Engines:
        shadowing = Shadowing(self.read, SHADOW_S, lambda: NOON)
        return Engines(self.open, self.link, TrialRecord(self.folder), self.kept, self.clock, shadowing)  # type: ignore[arg-type]

    def look(self, engines: Engines, after: float = 3.0) -> bool:
        self.clock.now += after
        return engines.look()


def digest(path: Path) -> str:
    return hashlib.sha256((path / "manifest.json").read_bytes()).hexdigest()


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def in_shadow(house: House) -> Engines:
    """The device with `two` in the shadow of `one`."""
    engines = house.start()
    house.point("two")
    assert not house.look(engines)
    assert engines.shadow is not None
    assert engines.shadow.state == "running"
    return engines


def test_a_new_bundle_reads_beside_the_one_in_use_and_takes_over_after_its_time(house: House) -> None:
    engines = in_shadow(house)
    assert engines.current.bundle.name == "one"
    assert engines.current.pipeline.beside is house.readers[0]
    engines.saw([look(HAPPY, HAPPY)] * LEAST_FACES)
    assert not house.look(engines, SHADOW_S - 10)

    assert house.look(engines, 20)

    assert engines.current.bundle.name == "two"
    assert engines.shadow is not None
    assert (engines.shadow.state, engines.shadow.agreement, house.closed) == ("passed", 1.0, ["two"])
    assert house.opened[0].pipeline.beside is None
    assert engines.problem is None


@pytest.mark.parametrize(
    ("beside", "said"),
    [
        (SAD, r"gives 0 of 50 faces the same expression .*at least 60% are asked for"),
        (FLAT, r"mean confidence is 0\.40, that of the bundle in use 0\.80"),
    ],
    ids=["disagrees", "unsure"],
)
def test_a_bundle_that_is_broken_is_refused_in_words_and_not_tried_again(
    beside: np.ndarray, said: str, house: House
) -> None:
    engines = in_shadow(house)
    engines.saw([look(HAPPY, beside)] * LEAST_FACES)

    assert not house.look(engines, SHADOW_S + 1)

    assert engines.current.bundle.name == "one"
    assert engines.problem is not None
    assert "is not used: in the shadow of the one in use it" in engines.problem
    assert re.search(said, engines.problem)
    assert engines.shadow is not None
    assert engines.shadow.state == "refused"
    assert not house.look(engines, SHADOW_S + 1)
    engines.close()
    assert house.start().current.bundle.name == "one"


def test_with_few_faces_nothing_is_judged(house: House) -> None:
    engines = in_shadow(house)
    engines.saw([look(HAPPY, SAD)] * (LEAST_FACES - 1))

    assert house.look(engines, SHADOW_S + 1)


@pytest.mark.parametrize("answer", [BundleError("no tensor"), ValueError("shape"), np.full(3, np.nan)])
def test_a_reader_that_fails_is_refused_at_once_and_the_one_in_use_goes_on(
    answer: np.ndarray | Exception, house: House
) -> None:
    house.answers = [HAPPY, answer]
    engines = in_shadow(house)
    read = engines.current.pipeline.beside
    assert read is not None
    pixels = np.zeros((8, 8, 3), np.uint8)

    told = [read(pixels, LEFT) for _ in range(3)]

    assert told[0] is not None
    assert told[1:] == [None, None]
    assert not house.look(engines)
    assert "in the shadow of the one in use" in str(engines.problem)
    assert engines.current.bundle.name == "one"


def test_one_that_cannot_be_opened_is_refused(house: House) -> None:
    house.broken = True
    engines = house.start()
    house.point("two")

    assert not house.look(engines)

    assert "fails its self-test" in str(engines.problem)
    assert engines.shadow is None


def test_a_link_that_moves_on_ends_the_shadow(house: House) -> None:
    engines = in_shadow(house)
    house.point("three")

    house.look(engines)

    assert house.closed == ["two"]
    assert engines.shadow is not None
    assert engines.shadow.reader.bundle.name == "three"
    house.point("one")
    house.look(engines)
    assert engines.shadow.state == "left"
    assert engines.current.pipeline.beside is None


def test_what_one_shadow_said_of_a_face_in_view_does_not_count_for_the_next(house: House) -> None:
    """They may tell different expressions."""
    engines = in_shadow(house)
    chain, mood = engines.current.pipeline, Mood()
    chain.gauge = mood.measured
    for frame in frames_of([np.zeros((100, 100, 3), np.uint8)] * 30):
        assert not chain.process(frame).looks
    house.point("three")
    house.look(engines)

    engines.saw(chain.finish().looks)

    assert engines.shadow is not None
    assert (engines.shadow.reader.bundle.name, engines.shadow.faces) == ("three", 0)


def test_the_way_back_to_a_bundle_that_worked_needs_no_shadow(house: House) -> None:
    engines = in_shadow(house)
    house.look(engines, SHADOW_S + 1)
    house.look(engines, TRIAL_S)
    house.point("one")

    assert house.look(engines)

    assert engines.current.bundle.name == "one"


def test_after_a_restart_the_last_good_one_is_used_and_the_new_one_is_in_its_shadow(house: House) -> None:
    """A rollout restarts the daemon when it has moved the link."""
    house.start().close()
    house.point("two")

    engines = house.start()

    assert engines.current.bundle.name == "one"
    assert engines.problem is None
    house.look(engines)
    assert engines.shadow is not None
    assert engines.shadow.state == "running"


def test_a_power_cut_in_a_long_shadow_is_not_its_fault_and_a_crash_at_its_beginning_is(house: House) -> None:
    house.look(in_shadow(house), TRIAL_S)
    again = house.start()
    house.look(again)
    assert again.shadow is not None

    crashed = house.start()  # within the first minute of the second shadow

    assert not house.look(crashed)
    assert crashed.shadow is None
    assert "crashed" in str(crashed.problem)


def test_the_copy_of_a_bundle_that_worked_is_remembered(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "one")
    sha256 = load_bundle(bundle).sha256
    KeptBundle(tmp_path / "state").keep(bundle, sha256)
    other = make_bundle(tmp_path / "two", version="2")
    kept = KeptBundle(tmp_path / "state")

    kept.keep(other, load_bundle(other).sha256)

    assert kept.has_worked(sha256)
    assert KeptBundle(tmp_path / "state").has_worked(sha256)
    assert not kept.has_worked("0" * 64)
    assert kept.path is not None
    assert kept.path.name == load_bundle(other).sha256


def test_each_side_is_compared_with_the_first_days() -> None:
    days = [NOON]
    watch = DriftWatch(None, lambda: days[-1], lambda: days[-1].timestamp())
    watch.use("ab", len(LABELS), None)
    trial = ShadowTrial(
        ShadowReader(identity("two"), Mood(), lambda: None, Stopwatch()), LABELS, lambda: NOON, NOON, NOON
    )
    trial.saw([look(HAPPY, FLAT)] * 30)
    assert watch.distances(trial.new.counted) == {}

    for _ in range(8):
        watch.saw([look(HAPPY, None)] * 150)
        days.append(days[-1] + timedelta(days=1))

    assert watch.distances(trial.old.counted)["confidence"] == 0
    assert watch.distances(trial.new.counted)["confidence"] == -1


def test_the_shadow_reads_no_more_often_than_the_one_in_use() -> None:
    first, second = Mood(), Mood()
    chain = pipeline(lambda i: [face(LEFT)], mood=first)
    chain.gauge, chain.watched, chain.beside = first.measured, False, second

    looks = []
    for frame in frames_of([np.zeros((100, 100, 3), np.uint8)] * 30):
        looks += chain.process(frame).looks
    looks += chain.finish().looks

    assert 1 <= second.calls < first.calls
    assert [each.beside is not None for each in looks] == [True]


def test_status_and_metrics_say_how_far_they_agree() -> None:
    side = ShadowSide(confidence=0.8)
    told = health(
        shadow=Shadow(
            bundle=identity("two"),
            state="running",
            since=NOON,
            until=NOON,
            faces=80,
            agreement=0.9,
            in_use=side,
            beside=side,
        )
    )

    lines = list(_shadow(told.model_dump(mode="json")["shadow"]))
    figures = {name: value for name, _, value in _of_shadow(told.shadow)}

    assert lines == [("shadow", "two 1 running until 2026-03-04T12:00, 80 faces, 90% read alike")]
    assert figures == {
        "shadow_running": 1,
        "shadow_refused": 0,
        "shadow_faces": 80,
        "shadow_agreement": 0.9,
    }


def published(folder: Path, bundle: Path, new: Path | None, minutes: float) -> tuple[list[str], int]:
    """What a daemon publishes of a clip, without times and ids; and how many faces the shadow has read."""
    folder.mkdir()
    link = folder / "current"
    link.symlink_to(bundle)
    clip = folder / "clip.avi"
    film(clip)
    layers = read_layers(
        None,
        {},
        [
            "deployment.context=development",
            f"camera.source={clip}",
            f"bundle.path={link}",
            f"bundle.shadow_minutes={minutes}",
            f"store.path={folder / 'state'}",
        ],
    )
    (folder / "state").mkdir()
    environment = {"RUNTIME_DIRECTORY": str(folder / "run")}
    (folder / "run").mkdir()
    recording = RecordingPublisher()
    with make_daemon(read_lasting_setup(layers, {}), environment, threading.Event()) as daemon:
        daemon.publisher = recording
        if new is not None:
            link.unlink()
            link.symlink_to(new)
            daemon.engines._looked_at -= 10
            daemon.engines.look()
        daemon.run()
        faces = 0 if daemon.engines.shadow is None else daemon.engines.shadow.faces
    return [without_times(event.model_dump_json(by_alias=True)) for event in recording.events], faces


def without_times(event: str) -> str:
    said = json.loads(event)
    for key in ("id", "time", "boot_id", "latency_ms", "age_ms"):
        said.pop(key, None)
    return json.dumps(said, sort_keys=True)


def film(path: Path) -> None:
    """A drawn person who comes and goes before a wall."""
    rng = np.random.default_rng(3)
    clip = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (640, 480))
    for number in range(30):
        frame = np.full((480, 640, 3), 120, np.uint8)
        if number < 15:
            frame = draw_person(frame, LOOKS["happy"], 230, 110, 180, rng)
        clip.write(np.ascontiguousarray(frame[..., ::-1]))
    clip.release()


def test_no_event_differs_with_a_bundle_in_the_shadow(tmp_path: Path) -> None:
    two = shutil.copytree(DEFAULT_BUNDLE, tmp_path / "two")
    change(two, "emotion.temperature", 3.0)

    plain, none = published(tmp_path / "plain", DEFAULT_BUNDLE, None, 0)
    shaded, faces = published(tmp_path / "shaded", DEFAULT_BUNDLE, two, 60)

    assert plain
    assert shaded == plain
    assert (none, faces > 0) == (0, True)


def test_tuning_the_bundle_in_use_leaves_the_one_in_its_shadow(tmp_path: Path) -> None:
    setup = read_setup(read_layers(None, {}, ["deployment.context=development"]), None, tmp_path)
    second = Mood()
    with Engine(setup, Stopwatch()) as engine:
        engine.pipeline.beside = second
        plain, version = engine.pipeline, engine.bundle.version
        write_overlay(tmp_path, fitted(place(setup.untuned), setup.untuned, "now").overlay)

        engine.retune()

        assert engine.pipeline is not plain
        assert engine.pipeline.beside is second
        assert engine.bundle.version.startswith(f"{version}+tuned.")

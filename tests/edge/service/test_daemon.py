"""The loop with working fakes of every port; the real process is in test_cli.py."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from oahega_edge.bundles.kept import KeptBundle
from oahega_edge.cameras.memory import FakeCamera, frames_of
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.frame import Frame
from oahega_edge.contract.events import EventStamp, StampClocks
from oahega_edge.contract.messages import System
from oahega_edge.contract.summary import SummaryStamp
from oahega_edge.drift.keeper import DriftWatch
from oahega_edge.errors import CameraError, CameraStalled, NoFrameYet
from oahega_edge.feed.showing import Screen
from oahega_edge.publishers.port import Command
from oahega_edge.publishers.recording import RecordingPublisher
from oahega_edge.service.announcer import Announcer, PublishedSummaries, Rhythm
from oahega_edge.service.daemon import Daemon
from oahega_edge.service.engines import Engines, TrialRecord
from oahega_edge.service.health import CameraReport, Identity, Reporter
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.visits.summary import SummaryTally
from scripted import LABELS
from small_engine import MODEL, NOON, FakeEngine
from waiting import await_end, beside, wait_until


class Ticking:
    """A clock that goes on a tenth of a second with every look."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 0.1
        return self.now


class RecordingSupervisor:
    def __init__(self) -> None:
        self.said: list[str] = []

    def ready(self) -> None:
        self.said.append("ready")

    def alive(self) -> None:
        self.said.append("alive")

    def status(self, text: str) -> None:
        self.said.append(text)

    def stopping(self) -> None:
        self.said.append("stopping")


class Bench:
    """A daemon with everything around it in reach."""

    def __init__(self, camera: Camera, folder: Path) -> None:
        self.publisher = RecordingPublisher()
        self.supervisor = RecordingSupervisor()
        self.stop = threading.Event()
        self.mute = MuteSwitch(folder)
        self.screen = Screen(lambda: NOON)
        clock = self.clock = Ticking()
        engines = Engines(lambda path: FakeEngine(), folder, TrialRecord(None), KeptBundle(None), clock)  # type: ignore[arg-type, return-value]
        reporter = Reporter(
            identity=Identity("kiosk", "0.1", "boot", NOON, "development", {}, ()),
            engine=engines.current,
            clock=clock,
            wall=lambda: NOON,
            watch=Stopwatch(clock),
            camera=CameraReport(camera, expected_fps=10),
            board=System,
            mute=self.mute,
        )
        rhythm = Rhythm(health=5, state=20, state_least=0)
        self.daemon = Daemon(
            camera=camera,
            engines=engines,
            stamp=EventStamp("kiosk", "boot", MODEL, StampClocks(wall=lambda: NOON, random=bytes)),
            publisher=self.publisher,
            supervisor=self.supervisor,
            mute=self.mute,
            reporter=reporter,
            announcer=Announcer(self.publisher, reporter, self.screen, rhythm),
            stop=self.stop,
            time_synced=lambda: True,
        )

    def has_said_muted(self) -> bool:
        said = [*self.publisher.states[-1:], *self.publisher.infos[-1:]]
        return len(said) == 2 and all(each.muted for each in said)


def film(frames: int = 8, *, live: bool = False, end: Exception | None = None) -> FakeCamera:
    script: list[object] = list(frames_of([np.zeros((100, 100, 3), np.uint8)] * frames))
    return FakeCamera([*script, *([end] if end else [])], live=live)  # type: ignore[list-item]


@contextlib.contextmanager
def once(condition: Callable[[], object], action: Callable[[], None]) -> Iterator[None]:
    """Do something from another thread as soon as the condition holds."""

    def watch() -> None:
        try:
            wait_until(condition)
        finally:  # the action may be what ends the test
            action()

    watcher = beside(watch)
    yield
    await_end(watcher)


def summing(bench: Bench, interval: float) -> None:
    """The bench's daemon sums up visits."""
    clocks = StampClocks(wall=lambda: NOON, random=bytes)
    screen = Screen(lambda: NOON)
    screen.show("poster-a")
    bench.daemon.summaries = PublishedSummaries(
        publisher=bench.publisher,
        tally=SummaryTally(interval, 0, NOON, bench.clock()),
        stamp=SummaryStamp("kiosk", "boot", clocks),
        clock=bench.clock,
        wall=lambda: NOON,
        time_synced=lambda: True,
        screen=screen,
    )


class StopsAfter(Camera):
    """A camera that does something at its n-th read: sets stop, mutes, ..."""

    def __init__(self, camera: Camera, reads: int, action: Callable[[], None]) -> None:
        self.live = camera.live
        self.camera = camera
        self.reads = reads
        self.action = action

    def __enter__(self) -> "StopsAfter":
        self.camera.__enter__()
        return self

    def __exit__(self, *details: object) -> None:
        self.camera.__exit__(None, None, None)

    def read(self, timeout: float):  # type: ignore[no-untyped-def]
        self.reads -= 1
        if self.reads == 0:
            self.action()
        return self.camera.read(timeout)


def test_a_file_is_watched_to_its_end_and_every_face_gets_its_last_word(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)

    bench.daemon.run()

    assert [e.phase for e in bench.publisher.events] == ["new", "end"]
    assert [e.seq for e in bench.publisher.events] == [0, 1]


def test_ready_is_said_after_the_first_frame_and_stopping_at_the_end(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)

    bench.daemon.run()

    assert bench.supervisor.said[0] == "ready"
    assert bench.supervisor.said.count("ready") == 1
    assert bench.supervisor.said[-1] == "stopping"


def test_info_comes_before_events_and_state_follows_what_is_seen(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)

    bench.daemon.run()

    assert bench.publisher.infos[0].labels == LABELS
    assert [s.emotion for s in bench.publisher.states][:3] == ["none", "uncertain", "happy"]
    assert bench.publisher.states[-1].faces == 1


def test_a_camera_that_gives_nothing_is_a_declared_state(tmp_path: Path) -> None:
    """Ready and alive without a frame: systemd must not kill a daemon that waits."""
    stalls = [CameraStalled("no frame within 0.5 s; check the cable")] * 20
    camera = FakeCamera(stalls, live=True)
    bench = Bench(camera, tmp_path)
    bench.daemon.camera = StopsAfter(camera, 10, bench.stop.set)

    bench.daemon.run()

    assert bench.supervisor.said.count("ready") == 1
    assert bench.supervisor.said.count("alive") == 10
    assert bench.publisher.states[-1].camera == "stalled"
    assert bench.daemon.reporter.camera.frames == 0


def test_a_camera_that_is_gone_for_good_ends_the_daemon(tmp_path: Path) -> None:
    bench = Bench(film(end=CameraError("unplugged; plug it in")), tmp_path)

    with pytest.raises(CameraError, match="unplugged"):
        bench.daemon.run()

    assert bench.supervisor.said[-1] == "stopping"


def test_muting_closes_the_camera_and_says_so(tmp_path: Path) -> None:
    camera = film(50)
    bench = Bench(camera, tmp_path)
    bench.daemon.camera = StopsAfter(camera, 6, bench.mute.mute)
    with once(bench.has_said_muted, bench.stop.set):
        bench.daemon.run()

    assert not camera.is_open
    assert bench.publisher.events[-1].phase == "end"
    assert bench.publisher.states[-1].muted
    assert bench.publisher.infos[-1].muted


def test_from_the_answer_to_a_mute_on_nobody_is_shown_or_told_a_face(tmp_path: Path) -> None:
    bench = Bench(film(50), tmp_path)
    seen: list[object] = []
    muters: list[threading.Thread] = []

    class MutesMeanwhile:
        """While a frame is handed on, another thread mutes."""

        def saw(self, frame: object, step: object) -> None:
            seen.append(step)
            muters.append(beside(bench.mute.mute))
            wait_until(lambda: bench.mute.muted)

    bench.daemon.onlooker = MutesMeanwhile()
    with once(bench.has_said_muted, bench.stop.set):
        bench.daemon.run()
    await_end(*muters)

    assert len(seen) == 1
    assert all(state.faces == 0 for state in bench.publisher.states if state.muted)
    assert bench.daemon.snapshot()["state"]["faces"] == 0  # type: ignore[index]


def test_a_status_right_after_a_mute_says_muted_whatever_the_loop_is_busy_with(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)
    bench.daemon.reporter.camera.enter("live")

    bench.mute.mute()

    state = bench.daemon.snapshot()["state"]
    assert (state["muted"], state["camera"]) == (True, "muted")  # type: ignore[index]


def test_a_daemon_that_starts_muted_never_opens_the_camera(tmp_path: Path) -> None:
    MuteSwitch(tmp_path).mute()
    camera = film()
    bench = Bench(camera, tmp_path)
    with once(bench.has_said_muted, bench.stop.set):
        bench.daemon.run()

    assert camera.opened == 0
    assert bench.supervisor.said[0] == "ready"


def test_mute_survives_a_restart_and_unmute_ends_it(tmp_path: Path) -> None:
    MuteSwitch(tmp_path).mute()

    assert MuteSwitch(tmp_path).muted
    MuteSwitch(tmp_path).unmute()
    assert not MuteSwitch(tmp_path).muted


def test_mute_works_without_a_folder() -> None:
    switch = MuteSwitch(None)

    switch.mute()

    assert switch.muted


def test_a_set_command_changes_the_chain_and_is_marked_volatile(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)
    bench.publisher.send_command(Command("set", {"smoothing.frames": 2}, transaction="7"))

    bench.daemon.run()

    ((command, response),) = bench.publisher.responses
    assert (command.name, response.status, response.transaction) == ("set", "ok", "7")
    assert bench.publisher.events[-1].frames == 2
    assert bench.publisher.infos[-1].volatile == ("smoothing.frames",)
    assert bench.publisher.infos[-1].adjustable.frames == 2


def test_a_restart_command_is_answered_and_ends_the_run(tmp_path: Path) -> None:
    camera = film(50)
    bench = Bench(camera, tmp_path)
    bench.publisher.send_command(Command("restart"))

    bench.daemon.run()

    assert bench.publisher.responses[0][1].status == "ok"
    assert bench.daemon.reporter.camera.frames < 50


def test_health_is_said_at_its_interval_with_the_rates_since_the_last(tmp_path: Path) -> None:
    bench = Bench(film(120), tmp_path)

    bench.daemon.run()

    healths = bench.publisher.healths
    assert len(healths) >= 3
    assert healths[-1].camera.state == "live"
    assert healths[-1].fps > 0


def test_health_tells_how_long_ago_the_last_event_was_made(tmp_path: Path) -> None:
    """Also where the wall clock was set meanwhile: here it even stands still."""
    bench = Bench(film(120), tmp_path)
    reporter, clock = bench.daemon.reporter, bench.clock

    before = reporter.health(bench.publisher.statistics())
    reporter.event_made()
    clock.now += 60
    after = reporter.health(bench.publisher.statistics())

    assert before.last_event is None
    assert after.last_event is not None
    assert 60 <= (after.time - after.last_event).total_seconds() < 61
    assert after.events == 1


def test_every_event_counts_in_health(tmp_path: Path) -> None:
    bench = Bench(film(120), tmp_path)

    bench.daemon.run()

    last = bench.daemon.reporter.health(bench.publisher.statistics())
    assert last.events == len(bench.publisher.events) > 0
    assert last.last_event is not None


def test_the_last_health_says_how_much_this_start_has_made(tmp_path: Path) -> None:
    bench = Bench(film(8), tmp_path)
    summing(bench, 1e9)
    bench.daemon.reporter.summaries = lambda: bench.daemon.summaries.made

    bench.daemon.run()

    last = bench.publisher.healths[-1]
    assert last.boot_id == bench.publisher.events[-1].boot_id
    assert last.events == bench.publisher.events[-1].seq + 1 > 1
    assert last.summaries == bench.publisher.summaries[-1].seq + 1 == 1


@pytest.mark.parametrize("error", [ValueError("queued is -1"), OSError("no such sensor")])
def test_a_health_message_that_cannot_be_made_ends_nothing(tmp_path: Path, error: Exception) -> None:
    bench = Bench(film(120), tmp_path)

    def board() -> System:
        raise error

    bench.daemon.reporter.board = board

    bench.daemon.run()

    assert bench.publisher.events
    assert bench.publisher.states


def test_a_bundle_that_is_refused_is_said_in_the_info(tmp_path: Path) -> None:
    bench = Bench(film(120), tmp_path)

    def refuse() -> None:
        bench.daemon.engines.problem = "bundle x is not used: it is cut off"

    bench.daemon.camera = StopsAfter(film(120), 50, refuse)

    bench.daemon.run()

    said = [info.bundle_problem for info in bench.publisher.infos]
    assert said == [None, "bundle x is not used: it is cut off"]


def test_a_camera_that_stalls_ends_every_face(tmp_path: Path) -> None:
    """As while its picture is frozen: the faces get their last event, and no new one."""
    camera = FakeCamera([*frames_of([np.zeros((100, 100, 3), np.uint8)] * 6)], live=True)
    bench = Bench(camera, tmp_path)
    bench.daemon.camera = StopsAfter(camera, 20, bench.stop.set)

    bench.daemon.run()

    assert [e.phase for e in bench.publisher.events] == ["new", "end"]
    assert bench.publisher.states[-1].camera == "stalled"


def test_a_slow_camera_ends_no_face_between_its_frames(tmp_path: Path) -> None:
    script: list[Frame | Exception] = []
    for frame in frames_of([np.zeros((100, 100, 3), np.uint8)] * 8, fps=0.5):
        script += [*[NoFrameYet("not due")] * 3, frame]
    camera = FakeCamera(script, live=True)
    bench = Bench(camera, tmp_path)
    bench.daemon.camera = StopsAfter(camera, len(script), bench.stop.set)

    bench.daemon.run()

    assert [e.phase for e in bench.publisher.events] == ["new", "end"]
    assert "stalled" not in {state.camera for state in bench.publisher.states}


def test_state_and_health_say_what_is_wrong_with_the_picture(tmp_path: Path) -> None:
    camera = film(8)
    camera.left_out, camera.picture_problem = 7, "torn"
    bench = Bench(camera, tmp_path)

    bench.daemon.run()

    health = bench.daemon.reporter.health(bench.publisher.statistics())
    assert (health.camera.left_out, health.camera.picture_problem) == (7, "torn")
    assert bench.publisher.states[-1].picture_problem == "torn"


def test_health_says_how_often_the_camera_was_lost(tmp_path: Path) -> None:
    camera = film(8)
    camera.stalls, camera.reopens = 3, 4
    bench = Bench(camera, tmp_path)

    bench.daemon.run()

    health = bench.daemon.reporter.health(bench.publisher.statistics())
    assert (health.camera.stalls, health.camera.reopens) == (3, 4)


def test_what_the_screen_shows_is_said_when_it_changes_and_before_it_would_expire(tmp_path: Path) -> None:
    bench = Bench(film(120), tmp_path)

    def show() -> None:
        bench.screen.show("poster-7")

    def clear() -> None:
        bench.screen.show("")

    bench.daemon.camera = StopsAfter(StopsAfter(film(240), 20, show), 200, clear)

    bench.daemon.run()

    said = [showing.content for showing in bench.publisher.showings]
    assert said[0] is None
    assert said[-1] is None
    assert said.count(None) == 2
    assert set(said[1:-1]) == {"poster-7"}
    assert 2 <= said.count("poster-7") <= 20


@pytest.mark.parametrize("interval", [1e-9, 1e9])
def test_each_visit_is_in_one_summary_the_last_one_too(tmp_path: Path, interval: float) -> None:
    bench = Bench(film(), tmp_path)
    summing(bench, interval)

    bench.daemon.run()

    told = bench.publisher.summaries
    ended = [event for event in bench.publisher.events if event.phase == "end"]
    assert sum(summary.visits for summary in told) == len(ended) == 1
    assert told[-1].shown["poster-a"].visits == 1
    assert [summary.seq for summary in told] == list(range(len(told)))


def test_a_mute_ends_the_visits_in_view_and_they_are_summed_up(tmp_path: Path) -> None:
    camera = film(50)
    bench = Bench(camera, tmp_path)
    summing(bench, 1e9)
    bench.daemon.camera = StopsAfter(camera, 6, bench.mute.mute)

    with once(bench.has_said_muted, bench.stop.set):
        bench.daemon.run()

    assert [summary.visits for summary in bench.publisher.summaries] == [1]


def test_every_face_that_ended_is_counted_once_and_health_says_how_many(tmp_path: Path) -> None:
    bench = Bench(film(), tmp_path)
    engine = bench.daemon.engines.current
    light = (30.0, 100.0, 0.5, False)
    engine.pipeline.gauge = lambda pixels, box: (engine.pipeline.classifier(pixels, box), light)
    watch = DriftWatch(tmp_path, lambda: NOON, lambda: 0.0)
    watch.use(engine.seen_with, len(engine.labels), None)
    bench.daemon.drift, bench.daemon.reporter.drift = watch, watch.report

    bench.daemon.run()

    told = bench.daemon.reporter.health(bench.publisher.statistics())
    assert watch.counted == 1
    assert told.drift is not None
    assert told.drift.learning

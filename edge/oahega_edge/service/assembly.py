"""Builds the daemon from its settings: the one place that knows every adapter."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import date, datetime
from pathlib import Path

import oahega_edge
from oahega_edge.bundles.kept import KeptBundle
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.port import Camera
from oahega_edge.cameras.recovering import RecoveringCamera, RetrySteps
from oahega_edge.chain.geometry import Box
from oahega_edge.contract.events import EventStamp, ModelIdentity, StampClocks
from oahega_edge.contract.messages import COMMANDS
from oahega_edge.contract.summary import SummaryStamp
from oahega_edge.control.folders import SOCKET, claimed, own_folder
from oahega_edge.control.server import ControlServer, Handler
from oahega_edge.drift.keeper import DriftWatch, NoWatch, Watch
from oahega_edge.errors import SettingsError
from oahega_edge.feed.mounting import Mounting
from oahega_edge.feed.publisher import FedPublisher, NoOnlooker, Onlooker
from oahega_edge.feed.showing import Screen
from oahega_edge.feed.socket import NAME as FEED
from oahega_edge.feed.socket import FeedSocket
from oahega_edge.publishers.broker import MqttOptions
from oahega_edge.publishers.jsonlines import lines_for
from oahega_edge.publishers.mqtt import MqttPublisher
from oahega_edge.publishers.port import Publisher
from oahega_edge.publishers.store import StoreOptions
from oahega_edge.samples.booth import Booth
from oahega_edge.samples.consent import OFF
from oahega_edge.samples.desk import REQUESTS as OF_SAMPLES
from oahega_edge.samples.desk import Desk
from oahega_edge.samples.keys import PUBLIC, read_key
from oahega_edge.samples.sealed import check_sealing
from oahega_edge.samples.shelf import Shelf
from oahega_edge.secret import Hidden, with_login
from oahega_edge.service.announcer import (
    Announcer,
    Metrics,
    NoMetrics,
    NoSummaries,
    PublishedSummaries,
    Rhythm,
    Summaries,
)
from oahega_edge.service.chains import make_shadow_reader
from oahega_edge.service.daemon import Daemon
from oahega_edge.service.engine import SWAP_WAIT_S, Engine
from oahega_edge.service.engines import Engines, TrialRecord
from oahega_edge.service.health import (
    CameraReport,
    Identity,
    Reporter,
    monotonic,
    read_board,
    time_is_synced,
    utc_now,
)
from oahega_edge.service.mute import MuteSwitch, Shutter
from oahega_edge.service.settings import Layers, Settings, read_password
from oahega_edge.service.setup import Setup, read_setup
from oahega_edge.service.supervisor import find_supervisor
from oahega_edge.shadow.reader import ShadowReader
from oahega_edge.shadow.trial import Shadowing
from oahega_edge.stopwatch import Stopwatch
from oahega_edge.tuning.session import REQUESTS as OF_TUNING
from oahega_edge.tuning.session import TuningSession
from oahega_edge.visits.summary import SummaryTally


def make_camera(settings: Settings, source: str | None = None) -> Camera:
    """The camera of the settings, or another source with the same orientation."""
    camera = settings.camera
    return open_camera(
        source or camera_address(settings, os.environ),
        rotate=camera.rotate,
        mirror=camera.mirror,
        width=camera.width,
        height=camera.height,
        fps=camera.fps,
        roi=Box(*camera.roi),
        stall_s=camera.stall_s,
    )


def camera_address(settings: Settings, environment: Mapping[str, str]) -> str:
    """`camera.source`, with `camera.user` and the password of its file or systemd's credential in it."""
    camera = settings.camera
    source, user = camera.source.get_secret_value(), camera.user.get_secret_value()
    if not user:
        return source
    password = _password(camera.password_file, "camera.password_file", "camera-password", environment)
    return with_login(source, user, password.get_secret_value() if password else "")


def lasting_camera(settings: Settings, source: str | None = None) -> Camera:
    """The same camera, reopened when it is live and stalls; files are not."""
    camera = make_camera(settings, source)
    if not camera.live:
        return camera
    steps = RetrySteps.for_settings(settings.camera.stall_s, settings.camera.attempts)
    return RecoveringCamera(camera, steps)


def make_identity(settings: Settings) -> Identity:
    """Who this run of the daemon is."""
    return Identity(
        device=settings.device.name,
        release=oahega_edge.__version__,
        boot_id=str(uuid.uuid4()),
        started=utc_now(),
        context=settings.deployment.context,
        settings=settings.model_dump(mode="json"),
        commands=COMMANDS if settings.mqtt.commands else (),
    )


def make_stamp(identity: Identity, model: ModelIdentity) -> EventStamp:
    """Gives events their ids and numbers."""
    return EventStamp(identity.device, identity.boot_id, model, _stamp_clocks())


def make_summaries(settings: Settings, identity: Identity, publisher: Publisher, screen: Screen) -> Summaries:
    """Sums up visits at the interval of the settings; days are those of this machine's time zone."""
    interval, least = settings.summary.interval_s, settings.trigger.min_group
    if not interval:
        return NoSummaries()
    return PublishedSummaries(
        publisher=publisher,
        tally=SummaryTally(interval, least, _local_now(), monotonic()),
        stamp=SummaryStamp(identity.device, identity.boot_id, _stamp_clocks()),
        clock=monotonic,
        wall=_local_now,
        time_synced=time_is_synced,
        screen=screen,
    )


def _local_now() -> datetime:
    return utc_now().astimezone()


def _local_today() -> date:
    return _local_now().date()


def _stamp_clocks() -> StampClocks:
    return StampClocks(wall=utc_now, random=os.urandom)


def read_lasting_setup(layers: Layers, environment: Mapping[str, str]) -> Setup:
    """The setup of a daemon that goes on with its last good bundle when another one does not fit."""
    folder = state_of(layers, environment)
    return read_setup(layers, KeptBundle(folder).path, folder)


def state_of(layers: Layers, environment: Mapping[str, str]) -> Path | None:
    """`state_folder`, before the settings are complete."""
    return _state_folder(layers.store_path(), environment)


def state_folder(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """Where the daemon may write: the settings', systemd's, or nowhere."""
    return _state_folder(settings.store.path, environment)


def _state_folder(named: str, environment: Mapping[str, str]) -> Path | None:
    if named:
        return Path(named)
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) if given else None


@contextmanager
def make_daemon(
    setup: Setup,
    environment: Mapping[str, str],
    stop: threading.Event,
    instance: str | None = None,
    opened: Callable[[], None] = lambda: None,
) -> Iterator[Daemon]:
    """The whole service, models open and tested, control socket listening.

    `opened` is called before the socket is made. From then on nothing may break off what runs, or the socket
    would stay behind; the loop ends by `stop`.
    """
    settings = setup.settings
    folder = state_folder(settings, environment)
    runtime = own_folder(environment, instance or settings.device.name)
    watch = Stopwatch(monotonic)
    with ExitStack() as stack:
        stack.enter_context(claimed(filter(None, (folder, runtime))))
        engines = Engines(
            _opener(setup, watch),
            setup.place,
            TrialRecord(folder),
            KeptBundle(folder),
            monotonic,
            _shadowing(setup, watch),
        )
        stack.callback(engines.close)
        identity = make_identity(settings)
        camera = lasting_camera(settings)
        mute = MuteSwitch(folder, runtime)
        drift = _drift_watch(settings, folder, engines.current)
        samples = _samples(settings, folder, mute, engines.current)
        tuning = _tuning(settings, folder, mute, engines, drift)
        publisher = make_publisher(settings, folder, environment)
        screen, mounting = Screen(utc_now), Mounting(monotonic, lambda: mute.times)
        onlooker: Onlooker = NoOnlooker()
        if settings.page.port:
            publisher = onlooker = _fed(publisher, settings, runtime, mounting)
        summaries = make_summaries(settings, identity, publisher, screen)
        reporter = Reporter(
            identity=identity,
            engine=engines.current,
            clock=monotonic,
            wall=utc_now,
            watch=watch,
            camera=CameraReport(camera, settings.camera.fps),
            board=read_board,
            mute=mute,
            drift=drift.report,
            shadow=lambda: engines.shadow,
            distances=drift.distances,
            summaries=lambda: summaries.made,
        )
        metrics = stack.enter_context(_metrics(settings))
        rhythm = Rhythm(health=settings.health.interval_s, state=settings.mqtt.state_expiry_s / 3)
        daemon = Daemon(
            camera=Shutter(camera, mute),
            engines=engines,
            stamp=make_stamp(identity, engines.current.bundle),
            publisher=publisher,
            supervisor=find_supervisor(environment),
            mute=mute,
            reporter=reporter,
            announcer=Announcer(publisher, reporter, screen, rhythm, metrics),
            stop=stop,
            time_synced=time_is_synced,
            onlooker=onlooker,
            summaries=summaries,
            drift=drift,
            samples=samples,
            tuning=tuning,
        )
        answer = _control(daemon, screen, mounting, samples, tuning)
        opened()
        stack.enter_context(ControlServer(runtime / SOCKET, answer))
        yield daemon


def _drift_watch(settings: Settings, folder: Path | None, engine: Engine) -> Watch:
    if not settings.drift.watch:
        return NoWatch()
    watch = DriftWatch(folder, datetime.now, monotonic)
    watch.use(engine.seen_with, len(engine.labels), engine.reference)
    return watch


def _samples(settings: Settings, folder: Path | None, mute: MuteSwitch, engine: Engine) -> Desk:
    """Samples, of which those that lie there expire and are withdrawn also where no more are taken."""
    chosen = settings.samples
    shelf = None if folder is None else Shelf(folder, chosen.most, chosen.days, _local_today)
    if chosen.consent == OFF:
        return Desk(shelf, None, monotonic, _local_today)
    if shelf is None:
        raise SettingsError(f"samples.consent = {chosen.consent!r}: needs a folder; set store.path")
    recipient = read_key(PUBLIC, chosen.recipient)
    check_sealing(recipient)
    booth = Booth(
        shelf,
        recipient,
        chosen.consent,
        mute,
        clock=monotonic,
        today=_local_today,
        least_px=settings.detection.min_face_px,
        masks=tuple(Box(*mask) for mask in settings.detection.masks),
    )
    desk = Desk(shelf, booth, monotonic, _local_today)
    desk.use(engine.emotion, engine.labels, f"{engine.bundle.name} {engine.bundle.version}")
    return desk


def _tuning(
    settings: Settings, folder: Path | None, mute: MuteSwitch, engines: Engines, drift: Watch
) -> TuningSession:
    session = TuningSession(
        folder,
        mute,
        least_px=settings.detection.min_face_px,
        in_groups=bool(settings.trigger.min_group),
        now=lambda: utc_now().isoformat(),
        judge=drift,
        retune=engines.retune,
    )
    engine = engines.current
    session.use(engine.untuned, engine.overlay, engine.read)
    return session


def _fed(publisher: Publisher, settings: Settings, runtime: Path, mounting: Mounting) -> FedPublisher:
    """The same publisher, heard by the page as well."""
    detection = settings.detection
    return FedPublisher(
        publisher,
        FeedSocket(runtime / FEED),
        mounting=mounting,
        least_px=detection.min_face_px,
        clock=monotonic,
        masks=tuple(Box(*mask) for mask in detection.masks),
    )


def _opener(setup: Setup, watch: Stopwatch) -> Callable[[Path], Engine]:
    """Opens the bundle at a path, completed by the same layers of settings."""
    at_start = [setup]

    def open_engine(path: Path) -> Engine:
        if at_start and path == setup.bundle.path:
            return Engine(at_start.pop(), watch)
        return Engine(setup.at(path), watch, SWAP_WAIT_S)

    return open_engine


def _shadowing(setup: Setup, watch: Stopwatch) -> Shadowing | None:
    """How new bundles run in the shadow, where the settings ask for it."""
    minutes = setup.settings.bundle.shadow_minutes
    if not minutes:
        return None

    def open_reader(path: Path) -> ShadowReader:
        new = setup.at(path)
        return make_shadow_reader(new.bundle, new.settings, watch)

    return Shadowing(open_reader, 60 * minutes, _local_now)


def make_publisher(settings: Settings, folder: Path | None, environment: Mapping[str, str]) -> Publisher:
    """MQTT where a broker is named, else lines on standard output."""
    if not settings.mqtt.host:
        return lines_for(sys.stdout)
    return MqttPublisher(mqtt_options(settings, environment), store_options(settings, folder))


def mqtt_options(settings: Settings, environment: Mapping[str, str]) -> MqttOptions:
    """The broker of the settings, with the password read from its file."""
    mqtt = settings.mqtt
    return MqttOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=f"oahega-{settings.device.name}",
        username=mqtt.username.get_secret_value() or None,
        password=_password(mqtt.password_file, "mqtt.password_file", "mqtt-password", environment),
        tls=mqtt.tls,
        ca_file=mqtt.ca_file or None,
        cert_file=mqtt.cert_file or None,
        key_file=mqtt.key_file or None,
        keepalive_s=mqtt.keepalive_s,
        device=settings.device.name,
        root=mqtt.root,
        will_delay_s=mqtt.will_delay_s,
        session_expiry_s=mqtt.session_expiry_s,
        event_expiry_s=mqtt.event_expiry_s,
        state_expiry_s=mqtt.state_expiry_s,
        health_expiry_s=max(180, round(3 * settings.health.interval_s)),
        commands=mqtt.commands,
        discovery=mqtt.discovery,
        discovery_prefix=mqtt.discovery_prefix,
    )


def store_options(settings: Settings, folder: Path | None) -> StoreOptions:
    """Where events wait for the broker."""
    store = settings.store
    return StoreOptions(
        policy=store.policy, folder=folder, max_events=store.max_events, max_age_s=store.max_age_s
    )


def _password(named: str, setting: str, credential: str, environment: Mapping[str, str]) -> Hidden | None:
    """From the file that the settings name, else from systemd's credential."""
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    file = Path(named) if named else Path(credentials) / credential if credentials else None
    if file is None or (not named and not file.exists()):
        return None
    return read_password(file, setting)


@contextmanager
def _metrics(settings: Settings) -> Iterator[Metrics]:
    """The OpenMetrics page where a port is set; its library is loaded only then."""
    if not settings.metrics.port:
        yield NoMetrics()
        return
    from oahega_edge.service.prometheus import MetricsEndpoint

    with MetricsEndpoint(settings.metrics.host, settings.metrics.port) as endpoint:
        yield endpoint


def _control(
    daemon: Daemon, screen: Screen, mounting: Mounting, samples: Desk, tuning: TuningSession
) -> Handler:
    """What the local control socket answers."""

    def handle(request: str, value: object) -> Mapping[str, object]:
        match request:
            case "status":
                return daemon.snapshot()
            case "mute":
                daemon.mute.mute()
                return daemon.mute.answer()
            case "unmute":
                daemon.mute.unmute()
                return daemon.mute.answer()
            case "showing":
                return _tried(lambda: screen.show(value))
            case "relearn":
                return _tried(lambda: _relearn(daemon))
            case "mount":
                return _tried(lambda: _mount(daemon, mounting, value))
            case _ if request in OF_SAMPLES:
                return samples.answer(request, value)
            case _ if request in OF_TUNING:
                return tuning.answer(request, value)
            case _:
                known = ", ".join(("status, mute, unmute, showing, mount, relearn", *OF_SAMPLES, *OF_TUNING))
                return {"error": f"unknown request {request!r}; known: {known}"}

    return handle


def _relearn(daemon: Daemon) -> None:
    if isinstance(daemon.drift, NoWatch):
        raise ValueError("drift.watch = false: nothing is watched; set it to true and restart the daemon")
    daemon.drift.reset()


def _mount(daemon: Daemon, mounting: Mounting, minutes: object) -> None:
    if isinstance(daemon.onlooker, NoOnlooker):
        raise ValueError("page.port = 0: the page is off; set a port, e.g. 8321, and restart the daemon")
    if daemon.mute.muted:
        raise ValueError("the device is muted; run `oahega-edge unmute` first")
    mounting.open(minutes)


def _tried(deed: Callable[[], None]) -> Mapping[str, object]:
    try:
        deed()
    except ValueError as error:
        return {"error": str(error)}
    return {"done": True}

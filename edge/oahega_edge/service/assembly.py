"""Builds the parts from settings, for `cli` alone: the one place that knows every adapter."""

from __future__ import annotations

import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Self

import cv2

import oahega_edge
from oahega_edge.bundles.load import DEFAULT_BUNDLE, EMBEDDED, Bundle, is_embedded, load_bundle, self_test
from oahega_edge.cameras import open_camera
from oahega_edge.cameras.port import Camera
from oahega_edge.cameras.recovering import Ladder, RecoveringCamera
from oahega_edge.chain.classifier import Classifier, EmotionClassifier
from oahega_edge.chain.decider import Decider
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.disclosure import Group, SelectedLabels, published_labels, published_prior
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import MotionGate, OpenGate
from oahega_edge.chain.pipeline import (
    EveryFace,
    FaceRules,
    Pipeline,
)
from oahega_edge.chain.smoothing import new_smoothing
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import TriggerRules
from oahega_edge.contract.events import EventStamp, ModelIdentity, StampClocks
from oahega_edge.contract.messages import COMMANDS, AcceleratorHealth, Adjustable
from oahega_edge.errors import AcceleratorError
from oahega_edge.manifest import DetectorEntry, EmotionEntry
from oahega_edge.publishers.jsonlines import JsonLinesPublisher
from oahega_edge.publishers.mqtt import MqttOptions, MqttPublisher
from oahega_edge.publishers.port import Publisher
from oahega_edge.publishers.store import StoreOptions
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.edgetpu import find_edgetpu
from oahega_edge.runtimes.fallback import Fallback
from oahega_edge.runtimes.isolated import ModelSpec, open_isolated
from oahega_edge.runtimes.port import Model
from oahega_edge.service.control import ControlServer, socket_path
from oahega_edge.service.daemon import Daemon, NoRecovery, Rhythm
from oahega_edge.service.engines import Engine, Engines, TrialRecord
from oahega_edge.service.health import (
    CameraCounts,
    Identity,
    Reporter,
    active_accelerator,
    monotonic,
    read_board,
    time_is_synced,
    utc_now,
)
from oahega_edge.service.metrics import Metrics, NoMetrics
from oahega_edge.service.mute import MuteSwitch
from oahega_edge.service.settings import Layers, Settings, read_password
from oahega_edge.service.supervisor import find_supervisor
from oahega_edge.stopwatch import Stopwatch

ACCELERATOR_WAIT_S = 20.0
"""A Coral gets its firmware at the first use; the daemon starts on the CPU when it takes longer."""
EXCHANGE_WAIT_S = 5.0
"""The same for a bundle that comes while the daemon runs: the loop stands still, and the watchdog counts."""
UNSURE = 0.6
"""A detection that scores at least this share of the least score may keep a track alive."""


@dataclass(frozen=True, slots=True)
class Setup:
    """Settings with the bundle that completed them."""

    bundle: Bundle
    place: Path
    """Where the bundle is looked for; may be a link that moves while the daemon runs."""
    layers: Layers
    settings: Settings


def read_setup(layers: Layers) -> Setup:
    """Load the bundle that the layers name, take its suggestions, check everything."""
    place = _place(layers.bundle_path())
    bundle = _load(place.resolve(), layers)
    return Setup(bundle, place, layers, _complete(layers, bundle))


def _place(named: Path | None) -> Path:
    """Where the bundle lies that the settings name; a bare name may be one inside the package."""
    if named is None:
        return DEFAULT_BUNDLE
    embedded = EMBEDDED / named
    return embedded if named.parent == Path() and embedded.is_dir() else named


def _load(path: Path, layers: Layers) -> Bundle:
    """A packaged bundle needs no signature: it came with the code."""
    return load_bundle(path, () if is_embedded(path) else layers.bundle_keys())


def _complete(layers: Layers, bundle: Bundle) -> Settings:
    """The layers with this bundle's suggestions; SettingsError when they do not fit."""
    return layers.with_suggestions(bundle.manifest).resolve()


class Models:
    """Both networks of a bundle, opened and self-tested; on an accelerator where one is wanted."""

    def __init__(self, bundle: Bundle, settings: Settings, wait: float = ACCELERATOR_WAIT_S) -> None:
        """`wait`: seconds for the accelerator until the CPU begins."""
        self._wait = wait
        self._bundle = bundle
        self._runtime = settings.runtime
        self._entries: dict[str, DetectorEntry | EmotionEntry] = {
            "detector": bundle.manifest.detector,
            "emotion": bundle.manifest.emotion,
        }
        self._device = accelerator_of(settings)
        self._fallback: Fallback | None = None
        self._models: Mapping[str, Model] = {}

    def __enter__(self) -> Self:
        """BundleError when a file does not fit or fails its self-test; an absent accelerator is no error."""
        on_cpu = self._open_on_cpu()
        self._models = on_cpu
        if self._device != "cpu":
            self._fallback = Fallback(on_cpu, self._open_on_accelerator, self._test)
            self._fallback.start(self._wait)
            self._models = self._fallback.models
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close both."""
        for model in self._models.values():
            model.close()

    @property
    def detector(self) -> Model:
        """Faces and people."""
        return self._models["detector"]

    @property
    def emotion(self) -> Model:
        """One face."""
        return self._models["emotion"]

    def release(self) -> None:
        """Let go of the accelerator: another bundle's models want it."""
        if self._fallback is not None:
            self._fallback.release()

    def reclaim(self) -> None:
        """Take the accelerator again."""
        if self._fallback is not None:
            self._fallback.reclaim()

    def health(self) -> AcceleratorHealth:
        """What the models run on now."""
        fallback = self._fallback
        return AcceleratorHealth(
            active=active_accelerator(self.detector.accelerator),
            wanted=self._runtime.accelerator,
            degraded=fallback is not None and fallback.degraded,
            reason=None if fallback is None else fallback.reason,
            restarts=0 if fallback is None else fallback.failures,
        )

    def _open_on_cpu(self) -> dict[str, Model]:
        models: dict[str, Model] = {}
        try:
            for name, entry in self._entries.items():
                models[name] = open_model(
                    self._bundle.file(entry.cpu),
                    entry.outputs,
                    entry.input,
                    runtime=self._runtime.library,
                    threads=self._runtime.threads,
                )
            self._test(models)
        except BaseException:
            for model in models.values():
                model.close()
            raise
        return models

    def _open_on_accelerator(self) -> Mapping[str, Model]:
        """Both in one child process, which owns the device."""
        specs = {
            name: ModelSpec(self._bundle.file(entry.edgetpu), entry.outputs, entry.input)
            for name, entry in self._entries.items()
            if entry.edgetpu is not None
        }
        absent = sorted(set(self._entries) - set(specs))
        if absent:
            raise AcceleratorError(
                f"bundle {self._bundle.identity} has no file for the Edge TPU for {' and '.join(absent)}; "
                "use a bundle made with `compile`, or set runtime.accelerator to cpu"
            )
        return open_isolated(
            specs,
            runtime=self._runtime.library,
            device=self._device,
            python=Path(self._runtime.python) if self._runtime.python else None,
        )

    def _test(self, models: Mapping[str, Model]) -> None:
        for name, entry in self._entries.items():
            self_test(entry, models[name])


def accelerator_of(settings: Settings) -> str:
    """The device to use: what the settings name, or for `auto` the Edge TPU that is attached, else cpu."""
    wanted = settings.runtime.accelerator
    return (find_edgetpu() or "cpu") if wanted == "auto" else wanted


def make_pipeline(bundle: Bundle, models: Models, settings: Settings, watch: Stopwatch) -> Pipeline:
    """The chain for one camera."""
    manifest, detection = bundle.manifest, settings.detection
    cv2.setNumThreads(settings.runtime.threads)
    scores = {"face": detection.face_score * UNSURE, "person": detection.person_score}
    labels = published_labels(manifest.emotion.labels, settings.trigger.labels)
    prior = published_prior(manifest.emotion.prior, manifest.emotion.labels, labels)
    classifier: Classifier = EmotionClassifier(manifest.emotion, models.emotion, watch)
    if labels != classifier.labels:
        classifier = SelectedLabels(classifier, labels)
    group = settings.trigger.min_group
    return Pipeline(
        detector=Detector(manifest.detector, models.detector, scores, nms_iou=detection.nms_iou, watch=watch),
        classifier=classifier,
        decider=make_decider(settings, labels, prior, watch),
        face_rules=FaceRules(detection.min_face_px, tuple(Box(*mask) for mask in detection.masks)),
        watch=watch,
        every=detection.every,
        gate=MotionGate(settings.motion.look_every_ms / 1000) if settings.motion.gate else OpenGate(),
        disclosure=Group(labels, group, trigger_rules(settings)) if group else EveryFace(),
    )


def make_decider(
    settings: Settings, labels: Sequence[str], prior: Sequence[float] | None, watch: Stopwatch | None = None
) -> Decider:
    """Tracking, smoothing and trigger; `prior` of the published `labels`."""
    tracking, smoothing = settings.tracking, settings.smoothing
    return Decider(
        Tracker(
            match_iou=tracking.match_iou,
            start_score=settings.detection.face_score,
            start_hits=tracking.start_hits,
            lost_after=tracking.lost_after_ms / 1000,
        ),
        labels,
        lambda frames: new_smoothing(
            smoothing.mean,
            frames=frames,
            max_age=smoothing.max_age_ms / 1000,
            lasting=smoothing.lasting_s,
            prior=prior,
        ),
        frames=smoothing.frames,
        rules=trigger_rules(settings),
        hold=tracking.hold_ms / 1000,
        watch=watch,
    )


def trigger_rules(settings: Settings) -> TriggerRules:
    """The decision's rules in seconds."""
    trigger = settings.trigger
    return TriggerRules(
        threshold=trigger.threshold,
        hysteresis=trigger.hysteresis,
        dwell=trigger.dwell_ms / 1000,
        heartbeat=trigger.heartbeat_s,
        min_interval=trigger.min_interval_ms / 1000,
        min_frames=min(trigger.min_frames, settings.smoothing.frames),
    )


def make_camera(settings: Settings, source: str | None = None) -> Camera:
    """The camera of the settings, or another source with the same orientation."""
    camera = settings.camera
    return open_camera(
        source or camera.source,
        rotate=camera.rotate,
        mirror=camera.mirror,
        width=camera.width,
        height=camera.height,
        fps=camera.fps,
        roi=Box(*camera.roi),
    )


def make_identity(setup: Setup) -> Identity:
    """Who this run of the daemon is."""
    bundle, settings = setup.bundle, setup.settings
    return Identity(
        device=settings.device.name,
        release=oahega_edge.__version__,
        boot_id=str(uuid.uuid4()),
        started=utc_now(),
        labels=published_labels(bundle.manifest.emotion.labels, settings.trigger.labels),
        bundle=ModelIdentity(
            name=bundle.manifest.name, version=bundle.manifest.version, sha256=bundle.sha256
        ),
        terms=bundle.manifest.terms,
        context=settings.deployment.context,
        settings=settings.model_dump(mode="json"),
        commands=COMMANDS if settings.mqtt.commands else (),
    )


def make_stamp(identity: Identity) -> EventStamp:
    """Gives events their ids and numbers."""
    clocks = StampClocks(wall=utc_now, random=os.urandom)
    return EventStamp(identity.device, identity.boot_id, identity.bundle, clocks)


def adjustable(settings: Settings) -> Adjustable:
    """The paper's two settings."""
    return Adjustable(frames=settings.smoothing.frames, threshold=settings.trigger.threshold)


def state_folder(settings: Settings, environment: Mapping[str, str]) -> Path | None:
    """Where the daemon may write: the settings', systemd's, or nowhere."""
    if settings.store.path:
        return Path(settings.store.path)
    given = environment.get("STATE_DIRECTORY", "").split(":")[0]
    return Path(given) if given else None


@contextmanager
def make_daemon(setup: Setup, environment: Mapping[str, str], stop: threading.Event) -> Iterator[Daemon]:
    """The whole service, models open and tested, control socket listening."""
    settings = setup.settings
    folder = state_folder(settings, environment)
    watch = Stopwatch(monotonic)
    with ExitStack() as stack:
        engines = Engines(
            lambda path: open_engine(setup, path, watch), setup.place, TrialRecord(folder), monotonic
        )
        stack.callback(engines.close)
        identity = replace(
            make_identity(setup),
            bundle=engines.current.bundle,
            labels=engines.current.labels,
            terms=engines.current.terms,
        )
        camera = _lasting(make_camera(settings), settings)
        reporter = Reporter(
            identity=identity,
            clock=monotonic,
            wall=utc_now,
            accelerator=engines.current.accelerator,
            watch=watch,
            camera=CameraCounts(expected_fps=settings.camera.fps),
            board=read_board,
        )
        daemon = Daemon(
            camera=camera,
            engines=engines,
            stamp=make_stamp(identity),
            publisher=make_publisher(settings, folder, environment),
            supervisor=find_supervisor(environment),
            mute=MuteSwitch(folder),
            reporter=reporter,
            rhythm=Rhythm(health=settings.health.interval_s, state=settings.mqtt.state_expiry_s / 3),
            stop=stop,
            time_synced=time_is_synced,
            metrics=stack.enter_context(_metrics(settings)),
            recovery=camera if isinstance(camera, RecoveringCamera) else NoRecovery(),
        )
        stack.enter_context(ControlServer(socket_path(environment), _control(daemon)))
        yield daemon


def open_engine(setup: Setup, path: Path, watch: Stopwatch) -> Engine:
    """A bundle at `path`, completed by the same layers of settings; the first one is loaded already."""
    bundle, settings, wait = setup.bundle, setup.settings, ACCELERATOR_WAIT_S
    if path != bundle.path:
        bundle, wait = _load(path, setup.layers), EXCHANGE_WAIT_S
        settings = _complete(setup.layers, bundle)
    models = Models(bundle, settings, wait)
    models.__enter__()
    return Engine(
        bundle=ModelIdentity(
            name=bundle.manifest.name, version=bundle.manifest.version, sha256=bundle.sha256
        ),
        labels=published_labels(bundle.manifest.emotion.labels, settings.trigger.labels),
        terms=bundle.manifest.terms,
        pipeline=make_pipeline(bundle, models, settings, watch),
        adjustable=adjustable(settings),
        accelerator=models.health,
        close=lambda: models.__exit__(None, None, None),
        release=models.release,
        reclaim=models.reclaim,
    )


def make_publisher(settings: Settings, folder: Path | None, environment: Mapping[str, str]) -> Publisher:
    """MQTT where a broker is named, else JSON lines on standard output."""
    if not settings.mqtt.host:
        return JsonLinesPublisher(sys.stdout)
    return MqttPublisher(mqtt_options(settings, environment), store_options(settings, folder))


def mqtt_options(settings: Settings, environment: Mapping[str, str]) -> MqttOptions:
    """The broker of the settings, with the password read from its file."""
    mqtt = settings.mqtt
    return MqttOptions(
        host=mqtt.host,
        port=mqtt.port,
        client_id=f"oahega-{settings.device.name}",
        username=mqtt.username or None,
        password=_password(settings, environment),
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


def _password(settings: Settings, environment: Mapping[str, str]) -> str | None:
    """From the file that the settings name, else from systemd's credential."""
    named = settings.mqtt.password_file
    credentials = environment.get("CREDENTIALS_DIRECTORY", "")
    file = Path(named) if named else Path(credentials) / "mqtt-password" if credentials else None
    if file is None or (not named and not file.exists()):
        return None
    return read_password(file, "mqtt.password_file")


@contextmanager
def _metrics(settings: Settings) -> Iterator[Metrics]:
    """The OpenMetrics page where a port is set; its library is loaded only then."""
    if not settings.metrics.port:
        yield NoMetrics()
        return
    from oahega_edge.service.prometheus import MetricsEndpoint

    with MetricsEndpoint(settings.metrics.host, settings.metrics.port) as endpoint:
        yield endpoint


def _lasting(camera: Camera, settings: Settings) -> Camera:
    """A live camera that is reopened when it stalls; files are not."""
    if not camera.live:
        return camera
    return RecoveringCamera(
        camera, Ladder(stall_after=settings.camera.stall_s, attempts=settings.camera.attempts)
    )


def _control(daemon: Daemon) -> Callable[[str], Mapping[str, object]]:
    """What the local control socket answers."""

    def handle(request: str) -> Mapping[str, object]:
        match request:
            case "status":
                return daemon.snapshot()
            case "mute":
                daemon.mute.mute()
                return {"muted": True}
            case "unmute":
                daemon.mute.unmute()
                return {"muted": False}
            case _:
                return {"error": f"unknown request {request!r}; known: status, mute, unmute"}

    return handle

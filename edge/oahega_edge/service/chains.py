"""The chain that the settings describe."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import cv2

from oahega_edge.bundles.load import Bundle, self_test
from oahega_edge.bundles.models import Models
from oahega_edge.chain.classifier import EmotionClassifier, MeasuringClassifier
from oahega_edge.chain.decider import Decider
from oahega_edge.chain.detector import Detector
from oahega_edge.chain.disclosure import Group, SelectedLabels, published_labels, published_prior
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.motion import MotionGate, OpenGate
from oahega_edge.chain.pipeline import EveryFace, FaceRules, Pipeline
from oahega_edge.chain.smoothing import Tilted, new_smoothing
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import TriggerRules
from oahega_edge.contract.events import ModelIdentity
from oahega_edge.errors import SettingsError
from oahega_edge.runtimes import open_model
from oahega_edge.runtimes.port import Model
from oahega_edge.service.settings import Settings
from oahega_edge.shadow.reader import ShadowReader
from oahega_edge.stopwatch import Stopwatch

NEUTRAL = "neutral"
UNSURE = 0.6
"""Share of the least score at which a detection may still keep a track alive."""


def make_pipeline(bundle: Bundle, models: Models, settings: Settings, watch: Stopwatch) -> Pipeline:
    """The chain for one camera."""
    manifest, detection = bundle.manifest, settings.detection
    cv2.setNumThreads(settings.runtime.threads)
    scores = {"face": detection.face_score * UNSURE, "person": detection.person_score}
    labels = published_labels(manifest.emotion.labels, settings.trigger.labels)
    prior = published_prior(manifest.emotion.prior, manifest.emotion.labels, labels)
    group = settings.trigger.min_group
    classifier = make_classifier(bundle, models.emotion, settings, watch)
    return Pipeline(
        detector=Detector(manifest.detector, models.detector, scores, nms_iou=detection.nms_iou, watch=watch),
        classifier=classifier,
        decider=make_decider(settings, labels, prior, watch),
        face_rules=FaceRules(detection.min_face_px, tuple(Box(*mask) for mask in detection.masks)),
        watch=watch,
        every=detection.every,
        gate=MotionGate(settings.motion.look_every_ms / 1000) if settings.motion.gate else OpenGate(),
        gauge=classifier.measured,
        watched=settings.drift.watch,
        disclosure=Group(labels, group, trigger_rules(settings)) if group else EveryFace(),
    )


def make_classifier(
    bundle: Bundle, model: Model, settings: Settings, watch: Stopwatch
) -> MeasuringClassifier:
    """Reads a face with an open emotion model; answers the labels that may be published."""
    entry = bundle.manifest.emotion
    classifier = EmotionClassifier(entry, model, watch)
    labels = published_labels(entry.labels, settings.trigger.labels)
    return classifier if labels == classifier.labels else SelectedLabels(classifier, labels)


def make_shadow_reader(bundle: Bundle, settings: Settings, watch: Stopwatch) -> ShadowReader:
    """The classifier of a bundle beside the one in use, self-tested. An accelerator stays with that one."""
    manifest, runtime = bundle.manifest, settings.runtime
    entry = manifest.emotion
    model = open_model(
        bundle.file(entry.cpu),
        entry.outputs,
        entry.input,
        content=bundle.content(entry.cpu),
        runtime=runtime.library,
        threads=runtime.threads,
    )
    try:
        self_test(entry, model)
        classifier = make_classifier(bundle, model, settings, Stopwatch())
    except BaseException:
        model.close()
        raise
    identity = ModelIdentity(name=manifest.name, version=manifest.version, sha256=bundle.sha256)
    return ShadowReader(identity, classifier, model.close, watch)


def seen_with(bundle: Bundle, settings: Settings) -> str:
    """Digest of all that changes what is measured of faces: with another one, the first days begin anew."""
    chosen = settings.model_dump(
        mode="json",
        include={
            "camera": {"rotate", "width", "height", "fps", "roi"},
            "detection": True,
            "tracking": True,
            "trigger": {"labels"},
        },
    )
    told = json.dumps([bundle.sha256, bundle.manifest.version, chosen], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def make_decider(
    settings: Settings, labels: Sequence[str], prior: Sequence[float] | None, watch: Stopwatch | None = None
) -> Decider:
    """Tracking, smoothing and trigger; `prior` of the published `labels`."""
    tracking, smoothing = settings.tracking, settings.smoothing
    tilt = tilt_of(settings, labels)
    return Decider(
        Tracker(
            match_iou=tracking.match_iou,
            start_score=settings.detection.face_score,
            start_hits=tracking.start_hits,
            lost_after=tracking.lost_after_ms / 1000,
        ),
        labels,
        lambda frames: Tilted(
            new_smoothing(
                smoothing.mean,
                frames=frames,
                max_age=smoothing.max_age_ms / 1000,
                lasting=smoothing.lasting_s,
                prior=prior,
                lapse=smoothing.lapse,
            ),
            tilt,
        ),
        frames=smoothing.frames,
        rules=trigger_rules(settings),
        hold=tracking.hold_ms / 1000,
        watch=watch,
    )


def tilt_of(settings: Settings, labels: Sequence[str]) -> tuple[float, ...]:
    """What `trigger.sensitivity` adds to the log-odds of each label: it takes from *neutral*."""
    sensitivity = settings.trigger.sensitivity
    if sensitivity and NEUTRAL not in labels:
        raise SettingsError(
            f"trigger.sensitivity = {sensitivity} has no effect without the label {NEUTRAL}; the labels are "
            f"{', '.join(labels)}; set it to 0"
        )
    return tuple(-sensitivity if label == NEUTRAL else 0.0 for label in labels)


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

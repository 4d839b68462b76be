"""The models and the settings that an evaluation of scenes or sequences plays."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from oahega_build.emotion.decision import DECISION
from oahega_build.emotion.evaluate import load_emotion
from oahega_build.errors import RunError
from oahega_build.runs import artifacts
from oahega_build.scenes.video.methods import Device
from oahega_build.scenes.video.records import YUNET_SIDE, Find, yunet
from oahega_edge.bundles.load import load_bundle
from oahega_edge.chain.classifier import Classifier, EmotionClassifier
from oahega_edge.chain.detection import HEAD_ODDS
from oahega_edge.chain.detector import Detector
from oahega_edge.manifest import EmotionEntry
from oahega_edge.runtimes import open_model
from oahega_edge.service.chains import UNSURE
from oahega_edge.service.settings import PACKAGED, Settings, read_layers

YUNET_SCORE = 0.6
"""Least score of a face where YuNet stands in for the bundle's detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Chain:
    """The models of one evaluation."""

    detector: Find
    classifier: Classifier
    face_score: float
    """Least score that starts a track."""
    key: Mapping[str, str]
    """What a recording of this chain depends on."""
    prior: tuple[float, ...] | None = None
    """The class prior of the classifier's training set."""


def open_chain(
    bundle: Path | None, yunet_file: Path | None, emotion: Path | None
) -> AbstractContextManager[Chain]:
    """The models that the options name. Raises RunError when they name none, or both kinds."""
    if bundle is not None and yunet_file is None and emotion is None:
        return bundle_chain(bundle)
    if bundle is None and yunet_file is not None and emotion is not None:
        return yunet_chain(yunet_file, emotion)
    raise RunError("give --bundle, or --yunet and --emotion together, to say whose decisions to judge")


def device_settings(bundle: Path | None, assignments: Iterable[str]) -> Settings:
    """The packaged settings with a bundle's suggestions, or usual ones without, and `assignments`."""
    without = [
        "detection.face_score=0.5",
        "detection.person_score=0.5",
        "detection.nms_iou=0.5",
        f"smoothing.frames={DECISION.frames}",
        f"trigger.threshold={DECISION.threshold}",
    ]
    chosen = [*(without if bundle is None else ()), "deployment.context=development", *assignments]
    layers = read_layers(None, {}, chosen, folder=PACKAGED.parent)  # without a device's edge.toml
    if bundle is not None:
        layers = layers.with_suggestions(load_bundle(bundle).manifest)
    return layers.resolve()


@contextmanager
def bundle_chain(folder: Path) -> Iterator[Chain]:
    """Both models of a bundle."""
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    detector, emotion = manifest.detector, manifest.emotion
    detects = open_model(bundle.file(detector.cpu), detector.outputs, detector.input)
    reads = open_model(bundle.file(emotion.cpu), emotion.outputs, emotion.input)
    score = detector.suggested.score
    least = score | {"face": score["face"] * UNSURE}
    try:
        yield Chain(
            Detector(detector, detects, least),
            EmotionClassifier(emotion, reads),
            score["face"],
            {
                "detector": detector.cpu.sha256,
                "score": str(score["face"]),
                "head_odds": str(HEAD_ODDS),
                **_key_of(emotion),
            },
            emotion.prior,
        )
    finally:
        detects.close()
        reads.close()


@contextmanager
def yunet_chain(path: Path, emotion_folder: Path) -> Iterator[Chain]:
    """YuNet in the detector's place, and an exported emotion model."""
    emotion = load_emotion(emotion_folder)
    reads = open_model(emotion_folder / emotion.entry.cpu.file, emotion.entry.outputs, emotion.entry.input)
    try:
        yield Chain(
            yunet(path, YUNET_SCORE * UNSURE),
            EmotionClassifier(emotion.entry, reads),
            YUNET_SCORE,
            {
                "detector": f"{artifacts.sha256_of(path)} at {YUNET_SIDE}",
                **_key_of(emotion.entry),
            },
            emotion.entry.prior,
        )
    finally:
        reads.close()


def _key_of(entry: EmotionEntry) -> dict[str, str]:
    """The file, and how its pictures are cropped and its answers calibrated."""
    decides = {"crop", "second_crop", "temperature", "offsets"}
    read = hashlib.sha256(entry.model_dump_json(include=decides).encode()).hexdigest()
    return {"emotion": entry.cpu.sha256, "read": read[:16]}


def device_of(settings: Settings, chain: Chain) -> Device:
    """The device with these settings, but for the score at which the chain's detector is sure of a face."""
    device = Device(settings, chain.classifier.labels, chain.prior)
    return device.changed("detection", face_score=chain.face_score)


def described_device(device: Device) -> dict[str, object]:
    """The settings that decide, for a run's description."""
    sections = ("tracking", "smoothing", "trigger")
    settings = device.settings.model_dump(mode="json", include=set(sections))
    return {section: settings[section] for section in sections} | {"prior": device.prior}

"""What the chain saw in a clip, frame by frame, so that decisions can be replayed without models."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_build.labelling.teachers import TeacherSpec, make_teacher
from oahega_build.runs import artifacts
from oahega_build.runs.reading import open_arrays
from oahega_build.scenes.sequences import LabelledFrame, Truth
from oahega_edge.cameras.picture_quality import sharpness
from oahega_edge.cameras.port import Camera
from oahega_edge.chain.classifier import Classifier
from oahega_edge.chain.detection import FACE, Detection
from oahega_edge.chain.frame import Frame
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.preprocess import crop_square
from oahega_edge.errors import EndOfSource
from oahega_edge.manifest import Crop

READ_TIMEOUT = 30.0
CROPS = 2
"""Of each face in each frame, because only the decision knows which one's turn it is."""
FACE_SIZE = (48, 48)
"""Pixels to which a face is brought before its sharpness is measured."""
YUNET_SIDE = 320
"""Pixels of the longer side of what YuNet sees: as many as our own detectors see."""
Find = Callable[[Frame], list[Detection]]
Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One detected face with everything a decision may use."""

    detection: Detection
    height: float
    """Pixels."""
    sharpness: float
    """Variance of the Laplacian of the face at 48x48."""
    by_crop: tuple[Floats, ...]
    """Probabilities (labels,) by the first crop and by the second."""

    @property
    def scores(self) -> Floats:
        """By the first crop."""
        return self.by_crop[0]

    def read(self, second: bool) -> Floats:
        """By the second crop or the first."""
        return self.by_crop[-1 if second else 0]


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """One frame."""

    time: float
    faces: tuple[Face, ...]
    truths: tuple[Truth, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """One clip as the chain saw it."""

    name: str
    level: str
    """Noise level of a sequence; empty for a clip."""
    labels: tuple[str, ...]
    moments: tuple[Moment, ...]

    @property
    def interval(self) -> float:
        """Median seconds between two frames."""
        times = [moment.time for moment in self.moments]
        return float(np.median(np.diff(times))) if len(times) > 1 else 0.0


def yunet(path: Path, least_score: float, side: int = YUNET_SIDE) -> Find:
    """YuNet in the place of a bundle's detector. `side`: pixels of the longer side of what it sees."""
    spec = TeacherSpec("yunet", (path.name,), least=least_score, side=side)
    teacher = make_teacher(spec, path.parent)

    def find(frame: Frame) -> list[Detection]:
        found = [Detection(each.label, each.box, each.score) for each in teacher.find(frame.pixels)]
        return sorted(found, key=lambda detection: -detection.score)

    return find


def recorded(
    name: str, level: str, frames: Iterable[LabelledFrame], detector: Find, classifier: Classifier
) -> Recording:
    """Run the chain's models over every frame, once."""
    (record,) = recorded_by(name, level, frames, [(detector, classifier)])
    return record


def recorded_by(
    name: str, level: str, frames: Iterable[LabelledFrame], models: Sequence[tuple[Find, Classifier]]
) -> list[Recording]:
    """Run the models of several chains over every frame; a detector that they share looks once."""
    detectors = {id(detector): detector for detector, _ in models}
    moments: list[list[Moment]] = [[] for _ in models]
    for labelled in frames:
        frame = labelled.frame
        found = {key: detector(frame) for key, detector in detectors.items()}
        for (detector, classifier), seen in zip(models, moments, strict=True):
            faces = tuple(_faces(frame, found[id(detector)], classifier))
            seen.append(Moment(frame.captured_at, faces, labelled.truths))
    return [
        Recording(name, level, classifier.labels, tuple(seen))
        for (_, classifier), seen in zip(models, moments, strict=True)
    ]


def clip_frames(camera: Camera) -> Iterator[LabelledFrame]:
    """A clip without truth."""
    with camera:
        while True:
            try:
                yield LabelledFrame(camera.read(READ_TIMEOUT), ())
            except EndOfSource:
                return


def _faces(frame: Frame, found: Iterable[Detection], classifier: Classifier) -> Iterator[Face]:
    for detection in found:
        if detection.label == FACE and detection.box.clipped() is not None:
            by_crop = tuple(classifier(frame.pixels, detection.box, second) for second in (False, True))
            height = detection.box.height * frame.height
            yield Face(detection, height, _sharpness(frame, detection.box), by_crop)


def _sharpness(frame: Frame, box: Box) -> float:
    """Of the face, brought to one size; small when it is blurred."""
    left, top, side = crop_square(frame.width, frame.height, box, Crop(scale=1.0, kernel="area"))
    face = frame.pixels[max(0, top) : top + side, max(0, left) : left + side]
    return sharpness(face, FACE_SIZE)


def cached(folder: Path, key: object, make: Callable[[], Recording]) -> Recording:
    """The record of this key from `folder`, made and kept there when it is not there yet."""
    digest = hashlib.sha256(json.dumps(artifacts.as_plain(key), sort_keys=True).encode()).hexdigest()[:16]
    path = folder / f"{digest}.npz"
    if path.exists():
        return _load(path)
    made = make()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".writing.npz")
    np.savez_compressed(temporary, **_arrays(made))
    temporary.replace(path)
    return made


def _arrays(record: Recording) -> dict[str, Any]:
    faces = [(i, face) for i, moment in enumerate(record.moments) for face in moment.faces]
    truths = [(i, truth) for i, moment in enumerate(record.moments) for truth in moment.truths]
    return {
        "about": np.array([record.name, record.level, *record.labels]),
        "times": np.array([moment.time for moment in record.moments]),
        "faces": np.array(
            [
                (
                    i,
                    *f.detection.box.edges,
                    f.detection.score,
                    f.height,
                    f.sharpness,
                    *np.concatenate(f.by_crop),
                )
                for i, f in faces
            ],
        ).reshape(-1, 8 + CROPS * len(record.labels)),
        "truths": np.array(
            [(i, *t.box.edges, t.person, t.label, t.visible) for i, t in truths], float
        ).reshape(-1, 8),
    }


def _load(path: Path) -> Recording:
    with open_arrays(path) as data:
        name, level, *labels = data["about"].tolist()
        times, faces, truths = data["times"], data["faces"], data["truths"]
    per_frame: list[tuple[list[Face], list[Truth]]] = [([], []) for _ in times]
    for row in faces:
        detection = Detection(FACE, Box(*row[1:5].tolist()), float(row[5]))
        by_crop = tuple(np.split(row[8:], CROPS))
        per_frame[int(row[0])][0].append(Face(detection, float(row[6]), float(row[7]), by_crop))
    for row in truths:
        truth = Truth(int(row[5]), Box(*row[1:5].tolist()), int(row[6]), bool(row[7]))
        per_frame[int(row[0])][1].append(truth)
    moments = [
        Moment(float(time), tuple(found), tuple(true))
        for time, (found, true) in zip(times, per_frame, strict=True)
    ]
    return Recording(name, level, tuple(labels), tuple(moments))

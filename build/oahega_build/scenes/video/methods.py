"""Ways to decide, played on the record of a clip: the device's own, and those that it is compared with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from oahega_build.scenes.sequences import EPOCH
from oahega_build.scenes.video.metrics import Answer, Answers
from oahega_build.scenes.video.records import Face, Moment, Recording
from oahega_edge.chain.decider import Decider, Reading, Seen, TrackedFace
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Window
from oahega_edge.chain.trigger import UNCERTAIN
from oahega_edge.service.chains import make_decider
from oahega_edge.service.settings import Settings

ORIGINAL_THRESHOLD = 0.7
"""Detections and classes below it are dropped in the original's app."""
ORIGINAL_FRAMES = 4
"""Frames to average in the original's desktop program; its app has 1."""


@dataclass(frozen=True, slots=True)
class Device:
    """The device's decision as its settings say it."""

    settings: Settings
    labels: tuple[str, ...]
    prior: tuple[float, ...] | None = None
    """Class prior of the labels."""

    def changed(self, section: str, **values: float) -> Device:
        """With other values in one section of the settings."""
        new = getattr(self.settings, section).model_copy(update=values)
        return replace(self, settings=self.settings.model_copy(update={section: new}))

    def decider(self) -> Decider:
        """A new one, for one record."""
        return make_decider(self.settings, self.labels, self.prior)

    def sights(self, record: Recording) -> Sights:
        """What the device would have made of the record."""
        return followed(record, self.decider(), self.settings.detection.min_face_px)


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One tracked face in one frame."""

    tracked: TrackedFace
    face: Face | None
    """None where it was not found and is held."""


Sights = Sequence[Sequence[Sight]]


def played(record: Recording, decider: Decider, min_height_px: float = 0.0) -> Iterator[tuple[Moment, Seen]]:
    """Plays a record to the device's own decider: each frame with what it brought."""
    for moment in record.moments:
        faces = {face.detection.box: face for face in moment.faces}

        def read(box: Box, lit: bool, second: bool, faces: Mapping[Box, Face] = faces) -> Reading | None:
            face = faces[box]
            return (face.read(second), None) if face.height >= min_height_px else None

        found = [face.detection for face in moment.faces]
        yield moment, decider.see(found, read, EPOCH, moment.time)


def followed(record: Recording, decider: Decider, min_height_px: float = 0.0) -> Sights:
    """Each frame's tracked faces with what the device's own decider made of them."""
    frames = []
    for moment, seen in played(record, decider, min_height_px):
        faces = {face.detection.box: face for face in moment.faces}
        frames.append([Sight(each, faces.get(each.box)) for each in seen.faces])
    return frames


def single_frame(record: Recording, sights: Sights) -> Answers:
    """The best label of every face, frame by frame."""
    return [
        [
            _answer(
                sight, UNCERTAIN if sight.face is None else record.labels[int(sight.face.scores.argmax())]
            )
            for sight in frame
        ]
        for frame in sights
    ]


def always(label: str) -> Callable[[Recording, Sights], Answers]:
    """One label for every face."""
    return lambda record, sights: [[_answer(sight, label) for sight in frame] for frame in sights]


def paper_mean(frames: int, threshold: float) -> Callable[[Recording, Sights], Answers]:
    """The paper: plain mean of a face's last N frames, its best label if that reaches the threshold."""

    def play(record: Recording, sights: Sights) -> Answers:
        windows: dict[int, Window] = {}
        words: dict[int, str] = {}
        answers = []
        for moment, frame in zip(record.moments, sights, strict=True):
            for sight in frame:
                track = sight.tracked.track
                if sight.face is not None:
                    window = windows.setdefault(track, Window(frames=frames, max_age=float("inf")))
                    scores = window.add(sight.face.scores, moment.time).scores
                    best = int(scores.argmax())
                    words[track] = record.labels[best] if scores[best] >= threshold else UNCERTAIN
            answers.append([_answer(sight, words[sight.tracked.track]) for sight in frame])
        return answers

    return play


def original(record: Recording) -> Answers:
    """The original's app: the surest of the last frames, matched by place in the list of faces.

    Written from a description of its behaviour: of every frame it keeps the faces whose detection and whose
    best class reach the threshold; of the face that has the same place in all of the last frames' lists it
    shows the most confident class. What stands for a track here is the place in the list.
    """
    kept: deque[list[tuple[Face, int, float]]] = deque(maxlen=ORIGINAL_FRAMES)
    answers = []
    for moment in record.moments:
        kept.append(_sure_faces(moment))
        said = []
        for place in range(min(len(frame) for frame in kept)):
            _, best, _ = max((frame[place] for frame in kept), key=lambda entry: entry[2])
            said.append(Answer(place, kept[-1][place][0].detection.box, record.labels[best]))
        answers.append(said)
    return answers


def _sure_faces(moment: Moment) -> list[tuple[Face, int, float]]:
    sure = []
    for face in moment.faces:
        best = int(face.scores.argmax())
        if min(face.detection.score, face.scores[best]) >= ORIGINAL_THRESHOLD:
            sure.append((face, best, float(face.scores[best])))
    return sure


def _answer(sight: Sight, emotion: str) -> Answer:
    return Answer(sight.tracked.track, sight.tracked.box, emotion)


def ours(record: Recording, sights: Sights) -> Answers:
    """What the device decided while it followed the faces."""
    return [[_answer(sight, sight.tracked.emotion) for sight in frame] for frame in sights]

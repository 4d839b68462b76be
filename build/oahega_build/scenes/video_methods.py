"""Ways to decide, played on the record of a clip: the device's own, and those that it is compared with."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from oahega_build.scenes.sequences import EPOCH
from oahega_build.scenes.video_metrics import Answer, Answers
from oahega_build.scenes.video_records import Face, Moment, Record
from oahega_edge.chain.detection import without_nested
from oahega_edge.chain.geometry import Box
from oahega_edge.chain.smoothing import Mean, Smoothing, Window, new_smoothing
from oahega_edge.chain.tracking import Tracker
from oahega_edge.chain.trigger import UNCERTAIN, Sighting, Trigger, TriggerRules

ORIGINAL_THRESHOLD = 0.7
"""Detections and classes below it are dropped in the original's app."""
ORIGINAL_FRAMES = 4
"""Frames to average in the original's desktop program; its app has 1."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """How faces are followed."""

    match_iou: float
    start_score: float
    start_hits: int
    lost_after: float
    unsure: float
    """Least score of a detection that keeps a track."""
    hold: float = 0.0
    """Seconds that a face which was not found is still said to be there."""

    def tracker(self) -> Tracker:
        """A new one."""
        return Tracker(
            match_iou=self.match_iou,
            start_score=self.start_score,
            start_hits=self.start_hits,
            lost_after=self.lost_after,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Sight:
    """One tracked face in one frame."""

    track: int
    box: Box
    face: Face | None
    """None where it was not found and is held."""


Sights = Sequence[Sequence[Sight]]


def followed(record: Record, tracking: Tracking) -> Sights:
    """Which face of each frame is which track's, by the device's tracker."""
    tracker = tracking.tracker()
    frames = []
    for moment in record.moments:
        faces = {face.detection: face for face in moment.faces if face.detection.score >= tracking.unsure}
        found = without_nested(list(faces))
        seen, _ = tracker.update(found, moment.time)
        boxes = {detection.box: face for detection, face in faces.items()}
        held = tracker.held(moment.time, tracking.hold)
        frames.append(
            [
                *(Sight(track.id, track.box, boxes[track.box]) for track in seen),
                *(Sight(track.id, track.predicted(moment.time), None) for track in held),
            ]
        )
    return frames


def single_frame(record: Record, sights: Sights) -> Answers:
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


def always(label: str) -> Callable[[Record, Sights], Answers]:
    """One label for every face."""
    return lambda record, sights: [[_answer(sight, label) for sight in frame] for frame in sights]


def paper_mean(frames: int, threshold: float) -> Callable[[Record, Sights], Answers]:
    """The paper: plain mean of a face's last N frames, its best label if that reaches the threshold."""

    def play(record: Record, sights: Sights) -> Answers:
        windows: dict[int, Window] = {}
        words: dict[int, str] = {}
        answers = []
        for moment, frame in zip(record.moments, sights, strict=True):
            for sight in frame:
                if sight.face is not None:
                    window = windows.setdefault(sight.track, Window(frames=frames, max_age=float("inf")))
                    scores = window.add(sight.face.scores, moment.time).scores
                    best = int(scores.argmax())
                    words[sight.track] = record.labels[best] if scores[best] >= threshold else UNCERTAIN
            answers.append([_answer(sight, words[sight.track]) for sight in frame])
        return answers

    return play


def original(record: Record) -> Answers:
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
    return Answer(sight.track, sight.box, emotion)


@dataclass(frozen=True, slots=True)
class Deciding:
    """The device's settings of smoothing and trigger."""

    mean: Mean
    frames: int
    max_age: float
    lasting: float
    rules: TriggerRules
    prior: tuple[float, ...] | None = None
    """What the network takes for granted."""

    def smoothing(self) -> Smoothing:
        """Of one face."""
        return new_smoothing(
            self.mean,
            frames=self.frames,
            max_age=self.max_age,
            lasting=self.lasting,
            prior=self.prior,
        )


def ours(deciding: Deciding) -> Callable[[Record, Sights], Answers]:
    """The device's window and trigger, frame by frame: what holds for each face."""

    def play(record: Record, sights: Sights) -> Answers:
        faces: dict[int, tuple[Smoothing, Trigger]] = {}
        answers = []
        for moment, frame in zip(record.moments, sights, strict=True):
            for sight in frame:
                if sight.track not in faces:
                    trigger = Trigger(str(sight.track), record.labels, deciding.rules)
                    faces[sight.track] = (deciding.smoothing(), trigger)
                smoothing, trigger = faces[sight.track]
                if sight.face is not None:
                    average = smoothing.add(sight.face.scores, moment.time)
                    trigger.see(Sighting(average, sight.box, EPOCH, moment.time))
            answers.append([_answer(sight, faces[sight.track][1].current) for sight in frame])
        return answers

    return play

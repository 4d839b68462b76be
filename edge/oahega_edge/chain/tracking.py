"""Faces from frame to frame: which detection is the same face as before.

Two rounds of matching by overlap, as in ByteTrack: first the sure detections, then the unsure ones,
which may keep a track alive but never start one. A track's motion is carried on at constant speed.

Where it is not clear whose face it is, it becomes a new track: one face under two ids is a nuisance, two
faces under one id a falsehood. So a track is wary while another face was about lately, be that followed or
not: then its face must be where it is expected, and one that was away comes back as a new track, which is
taken for the old one only when it has been seen to move on as that did.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box, edges_of, iou_matrix

MOST_GROWTH = 1.6
"""Ratio of the heights of one face in two looks; detectors are off by up to 1.4, people are not so fast."""
DOUBT = 1.5
"""Widths and heights of a face within which a hidden one may come back elsewhere than expected."""
MOMENT, STRICTER = 0.2, 0.5
"""A face hidden for longer than a moment (s) must come back the nearer to where it was going: the least
overlap rises by so much a second, since more and more others may have come to its place, and an unsure
detection does not bring it back."""
CLEAR = 0.15
"""By so much the overlap with one track must exceed that with another that has no face of its own."""
PARTED = 0.3
"""By so many widths and heights a wary track's face is nearer to where it is expected than another one that
is no other track's; else what was followed has become two, as one box over both people does."""
UNSURE_IOU, WARY_IOU = 0.5, 0.7
"""Least overlap of an unsure detection with a track, and with a wary one: between two faces, detectors are
unsure of a box over both."""
LATELY, ABOUT = 1.5, 2.5
"""A track is wary for so many seconds after another face was found within so many widths and heights of where
the track's own is expected."""
JUMP, DASH = 0.2, 1.0
"""The face of a wary track is within so many widths and heights of where it is expected, plus so many a
second since it was seen."""
AWAY = 0.15
"""Seconds, and more than one look, after which the face of a wary track has been away."""
RETURN_HITS = 3
"""Detections by which a face shows how it moves."""
TURN = 1.5
"""Widths and heights a second by which the speed of the same face differs at most before and after."""
STEADYING = 0.3
"""Share of the newest height in the remembered one."""


@dataclass(slots=True, eq=False)
class Track:
    """One face while it is in view. Its id means nothing outside this run of the daemon."""

    id: int
    box: Box
    score: float
    first_seen: float
    """Monotonic seconds."""
    last_seen: float
    hits: int = 1
    """Frames in which it was detected,"""
    sure: int = 1
    """and surely so."""
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of the box's middle, in pictures per second."""
    confirmed: bool = False
    """Found often enough to count."""
    wary: bool = False
    """At this look: another face was about lately."""
    away: bool = False
    """At this look: wary, and not found for so long that another one may have come to its place."""
    parted: bool = False
    """What was followed became two faces: it is neither, and ends."""
    height: float = field(init=False)
    """Of the box, steadied: share of the picture."""

    def __post_init__(self) -> None:
        self.height = self.box.height

    def predicted(self, now: float) -> Box:
        """Where the face should be at `now`."""
        dx, dy = (self.velocity * (now - self.last_seen)).tolist()
        return Box(self.box.left + dx, self.box.top + dy, self.box.right + dx, self.box.bottom + dy)

    def seen(self, detection: Detection, now: float) -> None:
        """Take over a detection as this face's newest box."""
        elapsed = now - self.last_seen
        if elapsed > 0:
            moved = np.subtract(detection.box.center, self.box.center) / elapsed
            self.velocity = 0.5 * self.velocity + 0.5 * moved
        self.height += STEADYING * (detection.box.height - self.height)
        self.box, self.score, self.last_seen = detection.box, detection.score, now
        self.hits += 1

    def moves_like(self, other: Track) -> bool:
        """Whether both go the same way, as far as a few boxes tell."""
        turn = np.abs(self.velocity - other.velocity) / (self.box.width, self.box.height)
        return bool(turn.max() <= TURN)

    def returns_as(self, other: Track) -> None:
        """Go on as a new track that proved to be this face."""
        self.box, self.score, self.last_seen = other.box, other.score, other.last_seen
        self.velocity, self.height = other.velocity, other.height
        self.hits += other.hits


@dataclass(slots=True)
class _Glimpse:
    """A face that was found at a look, followed or not."""

    time: float
    box: Box
    track: int | None
    """Whose face it is or lies on; None where no track is."""


class Tracker:
    """Keeps the tracks of one label."""

    def __init__(self, *, match_iou: float, start_score: float, start_hits: int, lost_after: float) -> None:
        """`match_iou`: least overlap of one face in two frames; `start_score`: least score of a sure
        detection; `start_hits`: sure detections until a track counts, against single false alarms;
        `lost_after`: seconds unseen until it ends.
        """
        self._match_iou = match_iou
        self._start_score = start_score
        self._start_hits = start_hits
        self._lost_after = lost_after
        self._tracks: list[Track] = []
        self._next_id = 1
        self._looked_at = 0.0
        self._found: Sequence[Detection] = ()
        """Everything of this look."""
        self._glimpses: deque[_Glimpse] = deque()
        self._strangers: deque[tuple[float, Box]] = deque()
        """When and where faces were found lately that no track got."""

    @property
    def tracks(self) -> list[Track]:
        """Confirmed tracks, seen in this frame or not."""
        return [track for track in self._tracks if track.confirmed]

    def update(self, detections: Sequence[Detection], now: float) -> tuple[list[Track], list[Track]]:
        """Confirmed tracks that are seen at `now`, and confirmed tracks that ended."""
        before, self._looked_at, self._found = self._looked_at, now, detections
        sure = [d for d in detections if d.score >= self._start_score]
        unsure = [d for d in detections if d.score < self._start_score]
        self._beware(before)
        left_over, waiting = self._match(sure, list(self._tracks), before, self._match_iou)
        fresh = [track for track in waiting if now - track.last_seen <= MOMENT and not track.away]
        hidden = [track for track in waiting if track not in fresh]
        strangers, still = self._match(unsure, fresh, before, max(UNSURE_IOU, self._match_iou))
        waiting = hidden + still
        self._strangers.extend((now, detection.box) for detection in strangers)
        for track in self._tracks:
            track.sure += track.last_seen == now and track.score >= self._start_score
        self._start(left_over, now)
        self._glimpse(detections)
        self._confirm()
        ended = [t for t in waiting if t in self._tracks and now - t.last_seen > self._patience(t)]
        self._tracks = [t for t in self._tracks if t not in ended]
        return self.between(), [t for t in ended if t.confirmed]

    @property
    def is_empty(self) -> bool:
        """No track lives, not even one that waits to be confirmed."""
        return not self._tracks

    @property
    def is_settled(self) -> bool:
        """Every track is confirmed and was found when the detector looked last."""
        return len(self.between()) == len(self._tracks)

    def between(self) -> list[Track]:
        """Confirmed tracks that were found at the last look: where they are now, `Track.predicted` says."""
        return [track for track in self.tracks if track.last_seen == self._looked_at]

    def held(self, now: float, most: float) -> list[Track]:
        """Confirmed tracks that the last look did not find and that were seen within `most` seconds.

        Detectors miss a face in some frames, and people hide it for a moment; it is still there. Not where
        another face is or may be: then it is hidden by that one, or is that one.
        """
        return [
            track
            for track in self.tracks
            if track.last_seen != self._looked_at
            and now - track.last_seen <= most
            and not any(_is_near(track, other, now) for other in self.tracks if other is not track)
            and not (track.wary and self._meets_a_stranger(track, now))
        ]

    def _meets_a_stranger(self, track: Track, now: float) -> bool:
        expected = track.predicted(now)
        return any(_are_near(expected, box) for time, box in self._strangers if now - time <= MOMENT)

    def clear(self) -> None:
        """Forget every track, as when the camera was closed."""
        self._tracks = []
        self._glimpses.clear()
        self._strangers.clear()

    def _beware(self, before: float) -> None:
        """Find the tracks that must be careful at this look; `before`: when the last one was."""
        now = self._looked_at
        while self._glimpses and now - self._glimpses[0].time > LATELY:
            self._glimpses.popleft()
        while self._strangers and now - self._strangers[0][0] > MOMENT:
            self._strangers.popleft()
        longest = max(AWAY, 1.5 * (now - before))
        for track in self._tracks:
            expected = track.predicted(now)
            others = (glimpse.box for glimpse in self._glimpses if glimpse.track != track.id)
            track.wary = any(_steps(expected, box) < ABOUT for box in others)
            track.away = track.wary and track.confirmed and now - track.last_seen > longest

    def _glimpse(self, detections: Sequence[Detection]) -> None:
        """Remember every face of this look, also those that no track got."""
        now = self._looked_at
        places = [(track.id, track.predicted(now)) for track in self._tracks]
        for detection in detections:
            overlaps = [(box.iou(detection.box), number) for number, box in places]
            overlap, owner = max(overlaps, default=(0.0, 0))
            self._glimpses.append(_Glimpse(now, detection.box, owner if overlap >= self._match_iou else None))

    def _confirm(self) -> None:
        """New tracks that were found often enough count, or are the lost ones that they came back as."""
        now = self._looked_at
        for track in [t for t in self._tracks if not t.confirmed and t.last_seen == now]:
            lost = [t for t in self.tracks if t.wary and t.last_seen != now and _is_near(t, track, now)]
            if track.sure < self._start_hits or (lost and track.hits < RETURN_HITS):
                continue
            newest = Detection("", track.box, track.score)
            same = [t for t in lost if self._overlaps([newest], [t])[0, 0] > 0 and t.moves_like(track)]
            if len(same) == 1:
                self._return(same[0], track)
            else:
                track.confirmed = True

    def _return(self, old: Track, new: Track) -> None:
        old.returns_as(new)
        self._tracks.remove(new)
        for glimpse in self._glimpses:
            if glimpse.track == new.id:
                glimpse.track = old.id

    def _patience(self, track: Track) -> float:
        """A track not yet confirmed must be seen again at once."""
        return self._lost_after if track.confirmed and not track.parted else 0.0

    def _start(self, detections: Sequence[Detection], now: float) -> None:
        for detection in detections:
            self._tracks.append(Track(self._next_id, detection.box, detection.score, now, now))
            self._next_id += 1

    def _match(
        self, detections: list[Detection], tracks: list[Track], before: float, least: float
    ) -> tuple[list[Detection], list[Track]]:
        """Pair detections with tracks, greatest overlap first; what is left of both.

        A pair is left out where a rival, a track without a face of its own, has as good a claim, or where a
        wary track has become two faces. A face that was away gets none, but is a rival.
        """
        if not detections or not tracks:
            return detections, tracks
        overlap = self._overlaps(detections, tracks)
        needed = [max(least, WARY_IOU) if t.wary and least > self._match_iou else least for t in tracks]
        free_tracks, free_detections = set(range(len(tracks))), set(range(len(detections)))
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(detections))
            if overlap[row, column] < least:
                break
            if row not in free_tracks or column not in free_detections:
                continue
            if overlap[row, column] < needed[row] or tracks[row].away or tracks[row].parted:
                continue
            elsewhere = sorted(free_detections - {column})
            rivals = [
                i
                for i in free_tracks
                if i != row
                and not (tracks[i].away and not tracks[row].confirmed)
                and not (overlap[i, elsewhere] >= self._match_iou).any()
            ]
            as_good = any(overlap[i, column] > overlap[row, column] - CLEAR for i in rivals)
            if tracks[row].wary and self._parts(tracks[row], detections[column], tracks):
                tracks[row].parted = as_good = True
            if as_good or self._is_doubtful(
                tracks[row], detections[column], [tracks[i] for i in rivals], before
            ):
                continue
            tracks[row].seen(detections[column], self._looked_at)
            free_tracks.remove(row)
            free_detections.remove(column)
        return [detections[i] for i in sorted(free_detections)], [tracks[i] for i in sorted(free_tracks)]

    def _parts(self, track: Track, face: Detection, tracks: Sequence[Track]) -> bool:
        """Whether another face of this look, sure or not, is as near to where the track's is expected."""
        now = self._looked_at
        expected = track.predicted(now)
        farthest = _steps(expected, face.box) + PARTED
        others = [other for other in tracks if other is not track and not other.away]
        return any(
            _steps(expected, box) < farthest
            and not any(other.predicted(now).iou(box) >= self._match_iou for other in others)
            for box in (found.box for found in self._found if found is not face)
        )

    def _overlaps(self, detections: list[Detection], tracks: list[Track]) -> NDArray[np.float64]:
        """Overlap of every track's predicted box with every detection; 0 where the sizes do not fit."""
        predicted = [track.predicted(self._looked_at) for track in tracks]
        overlap = iou_matrix(edges_of(predicted), edges_of([d.box for d in detections]))
        growth = np.array([[d.box.height / track.height for d in detections] for track in tracks])
        overlap[(growth > MOST_GROWTH) | (growth < 1 / MOST_GROWTH)] = 0.0
        hidden = np.array([self._looked_at - track.last_seen for track in tracks])
        moved = np.array([[_steps(box, d.box) for d in detections] for box in predicted])
        wary = np.array([track.wary for track in tracks])
        overlap[wary[:, None] & (moved > JUMP + DASH * hidden[:, None])] = 0.0
        overlap[overlap < self._match_iou + STRICTER * np.maximum(0, hidden - MOMENT)[:, None]] = 0.0
        return overlap

    def _is_doubtful(
        self, track: Track, detection: Detection, others: Sequence[Track], before: float
    ) -> bool:
        """A face that was out of sight comes back where another one may as well have come back."""
        if track.last_seen == before:
            return False
        return any(_are_near(other.predicted(self._looked_at), detection.box) for other in others)


def _is_near(track: Track, other: Track, now: float) -> bool:
    return _are_near(track.predicted(now), other.predicted(now))


def _are_near(expected: Box, other: Box) -> bool:
    """Whether a face that is expected at the one place may well be at the other."""
    return _steps(expected, other) < DOUBT


def _steps(expected: Box, other: Box) -> float:
    """How far the middles are apart, in widths or heights of the expected face."""
    (x, y), (other_x, other_y) = expected.center, other.center
    return max(abs(x - other_x) / expected.width, abs(y - other_y) / expected.height)

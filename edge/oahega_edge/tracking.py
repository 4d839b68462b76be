"""Faces from frame to frame: which detection is the same face as before.

Two rounds of matching by overlap, as in ByteTrack: first the sure detections, then the unsure ones,
which may keep a track alive but never start one. A track's motion is carried on at constant speed.

Where it is not clear whose face it is, it becomes a new track: one face under two ids is a nuisance, two
faces under one id a falsehood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oahega_edge.detection import Detection
from oahega_edge.geometry import Box, iou_matrix

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
UNSURE_IOU = 0.5
"""Least overlap of an unsure detection: between two faces, detectors are unsure of a box over both."""
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
    """Frames in which it was detected."""
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of the box's middle, in pictures per second."""
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


class Tracker:
    """Keeps the tracks of one label."""

    def __init__(self, *, match_iou: float, start_score: float, start_hits: int, lost_after: float) -> None:
        """`match_iou`: least overlap of one face in two frames; `start_score`: least score to start a track;
        `start_hits`: detections until a track counts, against single false alarms; `lost_after`: seconds
        unseen until it ends.
        """
        self._match_iou = match_iou
        self._start_score = start_score
        self._start_hits = start_hits
        self._lost_after = lost_after
        self._tracks: list[Track] = []
        self._next_id = 1
        self._looked_at = 0.0

    @property
    def tracks(self) -> list[Track]:
        """Confirmed tracks, seen in this frame or not."""
        return [track for track in self._tracks if track.hits >= self._start_hits]

    def update(self, detections: Sequence[Detection], now: float) -> tuple[list[Track], list[Track]]:
        """Confirmed tracks that are seen at `now`, and confirmed tracks that ended."""
        before, self._looked_at = self._looked_at, now
        sure = [d for d in detections if d.score >= self._start_score]
        unsure = [d for d in detections if d.score < self._start_score]
        waiting = list(self._tracks)
        left_over, waiting = self._match(sure, waiting, before, self._match_iou)
        fresh = [track for track in waiting if now - track.last_seen <= MOMENT]
        hidden = [track for track in waiting if now - track.last_seen > MOMENT]
        waiting = hidden + self._match(unsure, fresh, before, max(UNSURE_IOU, self._match_iou))[1]
        self._start(left_over, now)
        ended = [t for t in waiting if now - t.last_seen > self._patience(t)]
        self._tracks = [t for t in self._tracks if t not in ended]
        return self.between(), [t for t in ended if t.hits >= self._start_hits]

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
        another face is or may be: then it is hidden by that one.
        """
        return [
            track
            for track in self.tracks
            if track.last_seen != self._looked_at
            and now - track.last_seen <= most
            and not any(_is_near(track, other, now) for other in self._tracks if other is not track)
        ]

    def clear(self) -> None:
        """Forget every track, as when the camera was closed."""
        self._tracks = []

    def _patience(self, track: Track) -> float:
        """A track not yet confirmed must be seen again at once."""
        return self._lost_after if track.hits >= self._start_hits else 0.0

    def _start(self, detections: Sequence[Detection], now: float) -> None:
        for detection in detections:
            self._tracks.append(Track(self._next_id, detection.box, detection.score, now, now))
            self._next_id += 1

    def _match(
        self, detections: list[Detection], tracks: list[Track], before: float, least: float
    ) -> tuple[list[Detection], list[Track]]:
        """Pair detections with tracks, greatest overlap first; what is left of both.

        A pair is left out where a rival, a track without a face of its own, has as good a claim.
        """
        if not detections or not tracks:
            return detections, tracks
        overlap = self._overlaps(detections, tracks)
        free_tracks, free_detections = set(range(len(tracks))), set(range(len(detections)))
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(detections))
            if overlap[row, column] < least:
                break
            if row not in free_tracks or column not in free_detections:
                continue
            elsewhere = sorted(free_detections - {column})
            rivals = [
                i for i in free_tracks if i != row and not (overlap[i, elsewhere] >= self._match_iou).any()
            ]
            as_good = any(overlap[i, column] > overlap[row, column] - CLEAR for i in rivals)
            if as_good or self._is_doubtful(
                tracks[row], detections[column], [tracks[i] for i in rivals], before
            ):
                continue
            tracks[row].seen(detections[column], self._looked_at)
            free_tracks.remove(row)
            free_detections.remove(column)
        return [detections[i] for i in sorted(free_detections)], [tracks[i] for i in sorted(free_tracks)]

    def _overlaps(self, detections: list[Detection], tracks: list[Track]) -> NDArray[np.float64]:
        """Overlap of every track's predicted box with every detection; 0 where the sizes do not fit."""
        predicted = [track.predicted(self._looked_at) for track in tracks]
        overlap = iou_matrix(_rows(predicted), _rows([d.box for d in detections]))
        growth = np.array([[d.box.height / track.height for d in detections] for track in tracks])
        overlap[(growth > MOST_GROWTH) | (growth < 1 / MOST_GROWTH)] = 0.0
        hidden = np.array([self._looked_at - track.last_seen for track in tracks])
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
    (x, y), (other_x, other_y) = expected.center, other.center
    return abs(x - other_x) < DOUBT * expected.width and abs(y - other_y) < DOUBT * expected.height


def _rows(boxes: Sequence[Box]) -> NDArray[np.float64]:
    return np.array([(b.left, b.top, b.right, b.bottom) for b in boxes])

"""Faces from frame to frame: which detection is the same face as before.

Two rounds of matching by overlap, as in ByteTrack: first the sure detections, then the unsure ones,
which may keep a track alive but never start one. Motion is predicted at constant speed.

Where it is not clear whose face a detection is, it starts a new track: one face under two ids is a nuisance,
two faces under one id a falsehood.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from oahega_edge.chain.detection import Detection
from oahega_edge.chain.geometry import Box, edges_of, iou_matrix

DOUBT = 1.5
"""Widths and heights of a face within which an occluded one may reappear away from its predicted place."""
MOMENT = 0.2
"""Seconds of occlusion after which matching becomes stricter, and an unsure detection no longer matches."""
STRICTER = 0.5
"""Growth of the minimum IoU per second of occlusion beyond MOMENT: ever more other faces may have come."""
STRICTEST = 0.7
"""Largest minimum IoU; beyond it, a long `lost_after` would be without effect."""
PAUSE = 2.0
"""Multiple of the last gap between two looks from which a gap is a pause of the camera."""
FORESEEN = 1.0
"""Seconds for which a face is expected to move on as it did."""
CLEAR = 0.15
"""Least difference between the overlap with a track and with another one that has no face of its own."""
UNSURE_IOU = 0.5
"""Minimum IoU of an unsure detection: between two faces, detectors are unsure of a box over both."""


@dataclass(slots=True, eq=False)
class Track:
    """One face while it is in view. Its id means nothing outside this run of the daemon."""

    id: int
    box: Box
    score: float
    last_seen: float
    """Monotonic seconds."""
    sure_hits: int = 1
    """Frames in which it was detected with at least the starting score."""
    velocity: NDArray[np.float64] = field(default_factory=lambda: np.zeros(2))
    """Of the box's center, in pictures per second."""
    confirmed: bool = False
    """Detected often enough to count."""
    first_seen: float = field(init=False)
    """Monotonic seconds."""

    def __post_init__(self) -> None:
        self.first_seen = self.last_seen

    def predicted(self, now: float) -> Box:
        """Where the face should be at `now`."""
        dx, dy = (self.velocity * min(now - self.last_seen, FORESEEN)).tolist()
        return Box(self.box.left + dx, self.box.top + dy, self.box.right + dx, self.box.bottom + dy)

    def seen(self, detection: Detection, now: float) -> None:
        """Take over a detection as this face's newest box."""
        elapsed = now - self.last_seen
        if elapsed > 0:
            moved = np.subtract(detection.box.center, self.box.center) / elapsed
            self.velocity = 0.5 * self.velocity + 0.5 * moved
        self.box, self.score, self.last_seen = detection.box, detection.score, now


class Tracker:
    """Keeps the tracks of one label."""

    def __init__(self, *, match_iou: float, start_score: float, start_hits: int, lost_after: float) -> None:
        """`match_iou`: minimum IoU of one face in two frames; `start_score`: least score of a sure
        detection; `start_hits`: sure detections before a track counts, against single false alarms;
        `lost_after`: seconds unseen after which it ends, if a look has missed it: between two frames of a
        slow camera nobody is unseen.
        """
        self._match_iou = match_iou
        self._start_score = start_score
        self._start_hits = start_hits
        self._lost_after = lost_after
        self._tracks: list[Track] = []
        self._next_id = 1
        self._looked_at = 0.0
        self._looked_before = 0.0
        self._usual_gap = float("inf")

    @property
    def tracks(self) -> list[Track]:
        """Confirmed tracks, seen in this frame or not."""
        return [track for track in self._tracks if track.confirmed]

    def update(self, detections: Sequence[Detection], now: float) -> tuple[list[Track], list[Track]]:
        """Confirmed tracks that are seen at `now`, and confirmed tracks that ended."""
        self._usual_gap = self._looked_at - self._looked_before or float("inf")
        self._looked_before, self._looked_at = self._looked_at, now
        sure = [d for d in detections if d.score >= self._start_score]
        unsure = [d for d in detections if d.score < self._start_score]
        left_over, missed = self._match(sure, self._tracks, self._match_iou)
        recent = [track for track in missed if self._hidden(track) <= MOMENT]
        self._match(unsure, recent, max(UNSURE_IOU, self._match_iou))
        for track in self._tracks:
            track.sure_hits += track.last_seen == now and track.score >= self._start_score
        self._tracks += [self._started(detection) for detection in left_over]
        for track in self._tracks:
            track.confirmed = track.confirmed or track.sure_hits >= self._start_hits
        ended = [track for track in self._tracks if now - track.last_seen > self._patience(track)]
        self._tracks = [track for track in self._tracks if track not in ended]
        return self.between(), [track for track in ended if track.confirmed]

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
        another track's face may be: then it is hidden by that one, or is that one.
        """
        return [
            track
            for track in self.tracks
            if track.last_seen != self._looked_at
            and now - track.last_seen <= most
            and not any(
                _are_near(track.predicted(now), other.predicted(now))
                for other in self.tracks
                if other is not track
            )
        ]

    def clear(self) -> None:
        """Forget every track, as when the camera was closed."""
        self._tracks = []

    def _hidden(self, track: Track) -> float:
        """Seconds of occlusion; none for a face of the last look, unless the camera made a pause since."""
        gap = self._looked_at - self._looked_before
        in_sight = track.last_seen == self._looked_before and gap <= PAUSE * self._usual_gap
        return 0.0 if in_sight else self._looked_at - track.last_seen

    def _patience(self, track: Track) -> float:
        """A track not yet confirmed must be seen again at once."""
        return self._lost_after if track.confirmed else 0.0

    def _started(self, detection: Detection) -> Track:
        self._next_id += 1
        return Track(self._next_id - 1, detection.box, detection.score, self._looked_at)

    def _match(
        self, detections: Sequence[Detection], tracks: Sequence[Track], least: float
    ) -> tuple[list[Detection], list[Track]]:
        """Pair detections with tracks, greatest overlap first; what is left of both.

        A pair is left out where it is not clear whose face the detection is.
        """
        overlap = self._overlaps(tracks, detections)
        rows, columns = set(range(len(tracks))), set(range(len(detections)))
        for flat in np.argsort(-overlap, axis=None, kind="stable"):
            row, column = divmod(int(flat), len(detections))
            if overlap[row, column] < least:
                break
            if row in rows and column in columns:
                others = overlap[:, sorted(columns - {column})]
                rivals = [i for i in rows - {row} if not (others[i] >= self._match_iou).any()]
                if self._is_clear(overlap[:, column], row, rivals, tracks, detections[column]):
                    tracks[row].seen(detections[column], self._looked_at)
                    rows.remove(row)
                    columns.remove(column)
        return [detections[i] for i in sorted(columns)], [tracks[i] for i in sorted(rows)]

    def _is_clear(
        self,
        overlap: NDArray[np.float64],
        row: int,
        rivals: Sequence[int],
        tracks: Sequence[Track],
        detection: Detection,
    ) -> bool:
        """Whether no rival, a track without a detection of its own, has as good a claim as the one at `row`.

        A face that was out of sight must also not reappear where a rival may as well have reappeared.
        """
        if any(overlap[i] > overlap[row] - CLEAR for i in rivals):
            return False
        return tracks[row].last_seen == self._looked_before or not any(
            _are_near(tracks[i].predicted(self._looked_at), detection.box) for i in rivals
        )

    def _overlaps(self, tracks: Sequence[Track], detections: Sequence[Detection]) -> NDArray[np.float64]:
        """IoU of every track's predicted box with every detection; 0 where it is too small."""
        predicted = edges_of(track.predicted(self._looked_at) for track in tracks)
        overlap = iou_matrix(predicted, edges_of(detection.box for detection in detections))
        hidden = np.array([self._hidden(track) for track in tracks])
        growth = STRICTER * np.maximum(0.0, hidden - MOMENT)
        least = np.minimum(self._match_iou + growth, max(STRICTEST, self._match_iou))
        overlap[overlap < least[:, None]] = 0.0
        return overlap


def _are_near(expected: Box, other: Box) -> bool:
    """Whether a face expected at the one place may well be at the other."""
    (x, y), (other_x, other_y) = expected.center, other.center
    return max(abs(x - other_x) / expected.width, abs(y - other_y) / expected.height) < DOUBT

"""What was seen in the last 24 hours, by the minute, in memory only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MINUTES = 24 * 60
SHOWN = 60
"""Minutes of the chart."""


@dataclass(slots=True)
class Minute:
    """One minute of the clock."""

    start: int
    """Seconds since 1970."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long each emotion was dominant; the rest of the minute nothing is known of."""
    faces: int = 0
    """Most faces at once."""

    def as_json(self) -> dict[str, Any]:
        """For the page."""
        return {
            "time": datetime.fromtimestamp(self.start, UTC).isoformat().replace("+00:00", "Z"),
            "seconds": {emotion: round(seconds, 1) for emotion, seconds in self.seconds.items()},
            "faces": self.faces,
        }


class History:
    """Adds up how long each state lasted. Times are seconds since 1970, and do not go back."""

    def __init__(self) -> None:
        self._minutes: deque[Minute] = deque(maxlen=MINUTES)
        self._now: tuple[str, int] | None = None
        self._since = 0.0

    def state(self, emotion: str, faces: int, now: float) -> None:
        """This holds from now on."""
        self.advance(now)
        self._now = (emotion, faces)
        self._add(now, 0.0)

    def unknown(self, now: float) -> None:
        """Nothing is known from now on: the daemon is away, muted or without a picture."""
        self.advance(now)
        self._now = None

    def advance(self, now: float) -> None:
        """Time has passed. Of a jump by hours, as a clock makes that is set, only the last part counts."""
        since = max(self._since, now - SHOWN * 60)
        self._since = now
        while self._now is not None and since < now:
            end = min(now, (since // 60 + 1) * 60)
            self._add(since, end - since)
            since = end

    def shown(self, now: float) -> list[dict[str, Any]]:
        """The minutes of the chart, oldest first; minutes of which nothing is known are absent."""
        self.advance(now)
        return [minute.as_json() for minute in self._minutes if now - SHOWN * 60 <= minute.start <= now]

    def _add(self, at: float, seconds: float) -> None:
        if self._now is None:
            return
        emotion, faces = self._now
        start = int(at // 60) * 60
        if not self._minutes or self._minutes[-1].start != start:
            self._minutes.append(Minute(start))
        minute = self._minutes[-1]
        minute.seconds[emotion] = minute.seconds.get(emotion, 0.0) + seconds
        minute.faces = max(minute.faces, faces)

"""One visit: how long a face was seen, and which expressions it showed for how long."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Visit:
    """A face from its first frame to its last."""

    seen: float
    """Seconds from the first frame that showed it to the last."""
    read: float
    """Seconds of these in which a label held."""
    shares: Mapping[str, float]
    """Share of the time `read` by label; they sum to 1, or there are none."""
    nearest: float
    """Greatest height of the face, as a share of the picture's."""

    @property
    def dominant(self) -> str | None:
        """The label that held longest; None when none ever held."""
        return max(self.shares, key=lambda label: self.shares[label], default=None)


class VisitTally:
    """Adds up the frames of one face."""

    def __init__(self) -> None:
        self._first: float | None = None
        self._last = 0.0
        self._label: str | None = None
        self._held: defaultdict[str, float] = defaultdict(float)
        self._nearest = 0.0

    def see(self, label: str | None, height: float, now: float) -> None:
        """A frame in which the face was seen.

        `label`: what holds from now on, if anything; `height`: of the face, as a share of the picture's;
        `now`: monotonic seconds.
        """
        if self._first is None:
            self._first = now
        elif self._label is not None:
            self._held[self._label] += now - self._last
        self._label, self._last = label, now
        self._nearest = max(self._nearest, min(1.0, height))

    def visit(self) -> Visit:
        """The visit so far."""
        read = sum(self._held.values())
        shares = {label: held / read for label, held in sorted(self._held.items())} if read else {}
        return Visit(0.0 if self._first is None else self._last - self._first, read, shares, self._nearest)

"""Whether a person is alone in view, so that nobody is taken for somebody else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from oahega_edge.chain.decider import TrackedFace
from oahega_edge.chain.frame import Frame


class Muting(Protocol):
    """What whoever asks people must know of the mute switch."""

    @property
    def muted(self) -> bool:
        """Whether nothing may be seen now."""
        ...

    @property
    def times(self) -> int:
        """How often the device was muted."""
        ...


def obstacle(frame: Frame, faces: Sequence[TrackedFace], least_px: float) -> str | None:
    """Why this frame does not show one face alone: a word of refusals.SENTENCES; None when it does.

    `least_px`: height from which a face is read.
    """
    if len(faces) != 1:
        return "several" if faces else "nobody"
    box = faces[0].box
    is_small = box.height * frame.height < least_px or box.clipped() is None
    return "small" if is_small else None

"""How far two bundles agree on the same faces, and whether the new one may take over."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Literal

from oahega_edge.drift.look import Look
from oahega_edge.drift.tally import Tally
from oahega_edge.shadow.reader import ShadowReader

LEAST_FACES = 50
"""With fewer nothing is judged."""
LEAST_AGREEMENT = 0.6
"""Share of the faces to which both give the same expression. Below, the new one is taken for broken: one that
learned on from the old one agrees on nine of ten (docs/decisions/0054-shadow.md)."""
MOST_DOUBT = 0.25
"""By which its mean confidence may be lower; with less, hardly any decision reaches the threshold."""

State = Literal["running", "passed", "refused", "left"]


@dataclass(slots=True)
class Side:
    """What one of the two bundles said."""

    labels: tuple[str, ...]
    counted: Tally = field(init=False)
    """The faces as the watch on drift counts them."""
    sum: float = 0.0
    """Of the confidences."""

    def __post_init__(self) -> None:
        self.counted = Tally(len(self.labels))

    def add(self, looks: Sequence[Look], hour: int) -> None:
        """Count faces."""
        self.counted.add(looks, hour)
        self.sum += sum(float(look.scores.max()) for look in looks)

    @property
    def confidence(self) -> float | None:
        """Mean probability of the likeliest expression."""
        return self.sum / self.counted.faces if self.counted.faces else None


@dataclass(slots=True)
class ShadowTrial:
    """One new bundle beside the one in use, for a stated time."""

    reader: ShadowReader
    labels: tuple[str, ...]
    """Of the bundle in use."""
    wall: Callable[[], datetime]
    """Now, in the device's time zone."""
    since: datetime
    until: datetime
    state: State = "running"
    agreed: int = 0
    old: Side = field(init=False)
    new: Side = field(init=False)

    def __post_init__(self) -> None:
        self.old, self.new = Side(self.labels), Side(self.reader.labels)

    @property
    def faces(self) -> int:
        """That both have read."""
        return self.old.counted.faces

    @property
    def agreement(self) -> float | None:
        """Share of the faces to which both give the same expression."""
        return self.agreed / self.faces if self.faces else None

    def saw(self, looks: Sequence[Look]) -> None:
        """Count faces that ended; each counts as it was when it was nearest."""
        both = [look for look in looks if look.beside is not None]
        if not both:
            return
        beside = [replace(look, scores=look.beside) for look in both]  # type: ignore[arg-type]
        hour = self.wall().hour
        self.old.add(both, hour)
        self.new.add(beside, hour)
        self.agreed += sum(
            self.labels[int(first.scores.argmax())] == self.reader.labels[int(second.scores.argmax())]
            for first, second in zip(both, beside, strict=True)
        )

    @property
    def problem(self) -> str | None:
        """Why the new bundle must not take over, as far as is known now."""
        if self.reader.problem is not None:
            return self.reader.problem
        agreement, before, after = self.agreement, self.old.confidence, self.new.confidence
        if agreement is None or before is None or after is None or self.faces < LEAST_FACES:
            return None
        if agreement < LEAST_AGREEMENT:
            return (
                f"it gives {self.agreed} of {self.faces} faces the same expression as the bundle in use "
                f"({agreement:.0%}, at least {LEAST_AGREEMENT:.0%} are asked for)"
            )
        if after < before - MOST_DOUBT:
            return (
                f"its mean confidence is {after:.2f}, that of the bundle in use {before:.2f} "
                f"(at most {MOST_DOUBT:g} less is allowed)"
            )
        return None

    def end(self, state: State) -> None:
        """Close the reader; what was counted stays."""
        self.state = state
        self.reader.close()


@dataclass(frozen=True, slots=True)
class Shadowing:
    """How new bundles run in the shadow."""

    open_reader: Callable[[Path], ShadowReader]
    """Opens and self-tests the classifier of the bundle at a path."""
    seconds: float
    wall: Callable[[], datetime]

    def begin(self, path: Path, labels: tuple[str, ...]) -> ShadowTrial:
        """Beside a bundle with these labels. Raises EdgeError where the new one cannot be opened."""
        now = self.wall()
        until = now + timedelta(seconds=self.seconds)
        return ShadowTrial(self.open_reader(path), labels, self.wall, now, until)

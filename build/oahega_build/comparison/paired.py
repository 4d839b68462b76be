"""Two bundles' figures on the same faces or sequences, and the verdict over all sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oahega_build.emotion.metrics import Interval, bootstrap, rounded
from oahega_build.errors import BuildError

MARGIN = 0.01
"""By how much a figure of the new bundle may be worse."""

Figure = Callable[[NDArray[np.intp]], tuple[float, float]]
"""(old, new) over the chosen items; an item may be chosen more than once."""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both bundles on one set."""

    name: str
    """Of the set."""
    figure: str
    items: int
    """Faces, or sequences."""
    old: float
    new: float
    difference: Interval
    """New less old, with the 95 % interval of a paired bootstrap."""

    def cells(self) -> tuple[str, ...]:
        """Of a table's line, in the order of `HEADINGS`."""
        points = (100 * value for value in (self.difference.value, self.difference.low, self.difference.high))
        said = "{:+.1f} [{:+.1f}, {:+.1f}]".format(*points)
        return self.name, self.figure, str(self.items), f"{self.old:.3f}", f"{self.new:.3f}", said


HEADINGS = ("set", "figure", "items", "old", "new", "difference in points [95 %]")


def paired(name: str, figure: str, of: Figure, items: int) -> Row:
    """The row of a figure that can be had of any choice of items."""
    old, new = of(np.arange(items))

    def difference(chosen: NDArray[np.intp]) -> NDArray[np.float64]:
        before, after = of(chosen)
        return np.asarray(after - before)

    low, high = bootstrap(difference, items)
    return Row(
        name,
        figure,
        items,
        rounded(old),
        rounded(new),
        Interval(rounded(new - old), rounded(low), rounded(high)),
    )


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the new bundle may take the old one's place."""

    rows: Sequence[Row]
    absent: Sequence[str] = ()
    """Sentences about what was not compared."""
    margin: float = MARGIN

    def __post_init__(self) -> None:
        if not 0 <= self.margin <= 1:
            raise BuildError(
                f"the margin must be 0 to 1, not {self.margin:g}; give it as a share, 0.01 for one point"
            )

    @property
    def worse(self) -> Sequence[Row]:
        """Where the new one is worse by more than the margin."""
        return [row for row in self.rows if row.difference.value < -self.margin]

    @property
    def better(self) -> Sequence[Row]:
        """Where it is better beyond chance."""
        return [row for row in self.rows if row.difference.low > 0]

    @property
    def holds(self) -> bool:
        """Nowhere worse by more than the margin, and better somewhere beyond its interval."""
        return bool(self.better) and not self.worse

    def sentence(self) -> str:
        """The verdict, for people."""
        points = f"{100 * self.margin:g} points"
        if self.worse:
            where = "; ".join(f"{row.name} {_points(row.difference.value)} points" for row in self.worse)
            return f"the new bundle is worse by more than {points}: {where}"
        if not self.better:
            return "the new bundle is nowhere better by more than chance"
        where = ", ".join(row.name for row in self.better)
        return f"the new bundle is better on {where}, and nowhere worse by more than {points}"

    def lines(self) -> Iterator[str]:
        """The table, what is absent, and the verdict."""
        table = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(len(line[i]) for line in table) for i in range(len(HEADINGS))]
        for line in table:
            yield "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        yield from self.absent
        yield self.sentence()

    def figures(self) -> Mapping[str, Any]:
        """The same for programs."""
        return {
            "holds": self.holds,
            "verdict": self.sentence(),
            "margin": self.margin,
            "rows": self.rows,
            "absent": list(self.absent),
        }


def _points(difference: float) -> str:
    return f"{100 * difference:+.1f}"

"""What could not be used: counted by kind, with the first few names, for the screen and for metrics.json."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

MOST_EXAMPLES = 5
"""Names of a kind of problem that are kept for the report; the rest are counted."""


@dataclass(slots=True)
class Problems:
    """Counts and examples per kind of problem."""

    counts: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, kind: str, name: str, count: int = 1) -> None:
        """`count` more of a `kind` of problem, met in `name`."""
        self.counts[kind] += count
        kept = self.examples.setdefault(kind, [])
        if len(kept) < MOST_EXAMPLES:
            kept.append(printable(name))

    def merge(self, other: Problems) -> None:
        """Take over what another reader or process met."""
        for kind, names in other.examples.items():
            self.counts[kind] += other.counts[kind]
            kept = self.examples.setdefault(kind, [])
            kept.extend(names[: MOST_EXAMPLES - len(kept)])

    def as_dict(self) -> dict[str, dict[str, object]]:
        """For metrics.json."""
        return {kind: {"count": n, "examples": self.examples[kind]} for kind, n in self.counts.items()}

    def sentences(self) -> list[str]:
        """One line per kind, for people."""
        return [f"{n} x {kind}: {', '.join(self.examples[kind])}" for kind, n in self.counts.items()]


def printable(name: str) -> str:
    """A file's name as text; bytes that are no UTF-8 stand as `\\xe9`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")

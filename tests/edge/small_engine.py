"""An engine without models that sees one happy face."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from oahega_edge.contract.events import ModelIdentity
from oahega_edge.contract.messages import AcceleratorHealth, Adjustable
from scripted import LABELS, LEFT, face, pipeline

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


MODEL = ModelIdentity(name="tiny", version="1", sha256="0" * 64)


class FakeEngine:
    """What the daemon needs of an `Engine`."""

    def __init__(self, name: str = "tiny") -> None:
        self.bundle = MODEL.model_copy(update={"name": name, "sha256": name.encode().hex().ljust(64, "0")})
        self.labels = LABELS
        self.emotion = self.untuned = self.overlay = self.read = None
        self.terms = ("drawn",)
        self.pipeline = pipeline(lambda i: [face(LEFT)])
        self.seen_with, self.reference = self.bundle.sha256, None
        self.adjustable = Adjustable(frames=4, threshold=0.6)
        self.closed = False

    def accelerator(self) -> AcceleratorHealth:
        return AcceleratorHealth(active="cpu", wanted="cpu")

    def release(self) -> None:
        pass

    def reclaim(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True


class Clock:
    """Stands until it is moved."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Kept:
    """Remembers without copying."""

    def __init__(self) -> None:
        self.path: Path | None = None
        self.sha256: str | None = None
        self.worked: list[str] = []

    def has_worked(self, sha256: str) -> bool:
        return sha256 in self.worked

    def keep(self, path: Path, sha256: str) -> None:
        self.path, self.sha256 = path, sha256
        self.worked.append(sha256)

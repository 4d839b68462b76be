"""An engine that sees one happy face."""

from __future__ import annotations

from datetime import UTC, datetime

from oahega_edge.contract.events import ModelIdentity
from oahega_edge.contract.messages import AcceleratorHealth, Adjustable
from oahega_edge.service.engines import Engine
from scripted import LABELS, LEFT, face, pipeline

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


MODEL = ModelIdentity(name="tiny", version="1", sha256="0" * 64)


def engine() -> Engine:
    return Engine(
        bundle=MODEL,
        labels=LABELS,
        terms=("drawn",),
        pipeline=pipeline(lambda i: [face(LEFT)]),
        adjustable=Adjustable(frames=4, threshold=0.6),
        accelerator=lambda: AcceleratorHealth(active="cpu", wanted="cpu"),
        close=lambda: None,
    )

"""Events and messages as a device would make them, for the tests of the MQTT side."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from oahega_edge.chain.geometry import Box
from oahega_edge.chain.trigger import Decision, Phase
from oahega_edge.contract.events import Event, EventStamp, ModelIdentity, StampClocks
from oahega_edge.contract.messages import (
    AcceleratorHealth,
    Adjustable,
    CameraHealth,
    Delivery,
    Health,
    Info,
    Latency,
    Showing,
    State,
)
from oahega_edge.contract.summary import IntervalSummary, SummaryStamp
from oahega_edge.publishers.broker import MqttOptions
from oahega_edge.publishers.connection import ReconnectPauses
from oahega_edge.visits.summary import Summary, Tally

DEVICE = "kiosk-1"
BASE = f"oahega/v1/{DEVICE}"
NOON = datetime(2026, 11, 24, 12, 0, 0, 123_000, tzinfo=UTC)
MODEL = ModelIdentity(name="default", version="1.2", sha256="a" * 64)
QUICK = ReconnectPauses(
    first_s=0.1, largest_s=0.3, taken_over_s=0.5, taken_over_largest_s=1.0, random=lambda: 1.0
)


def options(port: int, **changes: object) -> MqttOptions:
    given: dict[str, object] = {
        "host": "127.0.0.1",
        "port": port,
        "device": DEVICE,
        "client_id": f"oahega-{DEVICE}",
        "will_delay_s": 0,
        "session_expiry_s": 5,
    }
    return MqttOptions(**{**given, **changes})  # type: ignore[arg-type]


def decision(track: str = "t1", phase: Phase = "update", emotion: str = "happy") -> Decision:
    return Decision(
        track=track,
        phase=phase,
        emotion=emotion,
        confidence=0.71234,
        scores={"happy": 0.71234, "sad": 0.18766, "neutral": 0.1},
        frames=8,
        window_ms=480,
        threshold=0.6,
        box=Box(0.25, 0.25, 0.5, 0.75),
        taken_at=NOON,
        captured_at=12.5,
    )


def seeded_bytes(seed: str) -> Callable[[int], bytes]:
    """The same bytes for the same seed, other bytes for another."""
    numbers = itertools.count()
    return lambda size: hashlib.sha256(f"{seed} {next(numbers)}".encode()).digest()[:size]


def stamp(device: str = DEVICE, boot_id: str = "boot-1") -> EventStamp:
    moments = (NOON + timedelta(milliseconds=10 * n) for n in itertools.count())
    clocks = StampClocks(lambda: next(moments), seeded_bytes(f"{device} {boot_id}"))
    return EventStamp(device, boot_id, MODEL, clocks)


def event(stamp_of: EventStamp | None = None, track: str = "t1", **changes: object) -> Event:
    maker = stamp_of or stamp()
    return maker.stamp(
        decision(track, **changes),  # type: ignore[arg-type]
        latency_ms=41.23,
        accelerator="cpu",
        degraded=False,
        time_synced=True,
    )


def events(count: int, tracks: int = 1, boot_id: str = "boot-1") -> list[Event]:
    maker = stamp(boot_id=boot_id)
    return [event(maker, f"t{n % tracks}") for n in range(count)]


def summary_stamp(device: str = DEVICE, boot_id: str = "boot-1") -> SummaryStamp:
    return SummaryStamp(
        device, boot_id, StampClocks(lambda: NOON, seeded_bytes(f"summary {device} {boot_id}"))
    )


def summary(stamp_of: SummaryStamp | None = None, **changes: object) -> IntervalSummary:
    """Four visits of five minutes, two of them beside a poster."""
    given: dict[str, object] = {
        "start": NOON - timedelta(minutes=5),
        "end": NOON,
        "all": Tally(4, {"happy": 2, "sad": 1}),
        "lengths": (1, 0, 2, 1, 0, 0, 0),
        "seen": 31.5,
        "read": 20.0,
        "shares": {"happy": 0.75, "sad": 0.25},
        "people": 3,
        "shown": {"poster-a": Tally(2, {"happy": 2})},
        "today": Tally(40, {"happy": 20, "sad": 10}),
    }
    made = Summary(**{**given, **changes})  # type: ignore[arg-type]
    return (stamp_of or summary_stamp()).stamp(made, time_synced=True)


def info(**changes: object) -> Info:
    given: dict[str, object] = {
        "time": NOON,
        "device": DEVICE,
        "release": "0.4.0",
        "boot_id": "boot-1",
        "started": NOON,
        "labels": ("happy", "sad", "neutral"),
        "bundle": MODEL,
        "terms": ("made in a test",),
        "accelerator": "cpu",
        "context": "development",
        "adjustable": Adjustable(frames=8, threshold=0.6),
        "settings": {"smoothing": {"frames": 8}, "trigger": {"threshold": 0.6}},
    }
    return Info(**{**given, **changes})  # type: ignore[arg-type]


def state(**changes: object) -> State:
    given: dict[str, object] = {
        "time": NOON,
        "device": DEVICE,
        "emotion": "happy",
        "confidence": 0.7,
        "faces": 1,
        "people": 2,
    }
    return State(**{**given, **changes})  # type: ignore[arg-type]


def showing() -> Showing:
    return Showing(time=NOON, device=DEVICE, content="poster-7")


def health(**changes: object) -> Health:
    given: dict[str, object] = {
        "time": NOON,
        "device": DEVICE,
        "release": "0.4.0",
        "bundle_sha256": "a" * 64,
        "uptime_s": 12.5,
        "fps": 14.8,
        "stages_ms": {"detect": Latency(p50=31.0, p95=36.5)},
        "camera": CameraHealth(state="live", fps=15.0, expected_fps=15.0),
        "accelerator": AcceleratorHealth(active="cpu", wanted="auto"),
        "delivery": Delivery(connected=True),
        "events": 3,
        "last_event": NOON,
    }
    return Health(**{**given, **changes})  # type: ignore[arg-type]
